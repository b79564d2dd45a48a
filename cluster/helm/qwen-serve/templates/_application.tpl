{{/*
Our arguments of the Serve application: what follows from other values, and `application` over it, which is the
tree of docs/configuration.md.
*/}}
{{- define "qwen-serve.arguments" -}}
{{- $secrets := include "qwen-serve.secretsFolder" . -}}
{{- $state := include "qwen-serve.stateFolder" . -}}
{{- $accelerators := dict -}}
{{- range $name, $group := include "qwen-serve.gpuGroups" . | fromYaml -}}
{{- $kind := dict "gpus_per_node" $group.gpus "memory_gib" $group.memoryGib -}}
{{- $_ := set $accelerators $group.accelerator $kind -}}
{{- end -}}
{{- $audit := dict "directory" (printf "%s/audit" $state) "signing_key_file" (printf "%s/audit-key" $secrets) -}}
{{- $args := dict
  "accelerators" $accelerators
  "auth" (dict "secret_file" (printf "%s/signing" $secrets))
  "audit" $audit
  "store" (dict "url" (printf "sqlite:///%s/store.db" $state))
  "weights" (dict "cache_dir" (printf "%s/weights" (include "qwen-serve.cacheFolder" .)))
  "ingress" (dict
    "num_replicas" (int .Values.ingress.serveReplicas)
    "trusted_proxies" (concat (list "127.0.0.1/32" "::1/128") .Values.network.trustedProxies))
-}}
{{- if .Values.secrets.database.name -}}
{{- $_ := set $args.store "password_file" (printf "%s/database" $secrets) -}}
{{- end -}}
{{- if .Values.secrets.limitsRedis.name -}}
{{- $ledger := dict "kind" "redis" "redis_url_file" (printf "%s/limits-redis" $secrets) -}}
{{- $_ := set $args "limits" (dict "ledger" $ledger) -}}
{{- end -}}
{{- if .Values.secrets.s3.name -}}
{{- $_ := set $args.weights "s3" (dict "credentials_file" (printf "%s/s3" $secrets)) -}}
{{- end -}}
{{- if and .Values.secrets.elasticsearch.name (not .Values.filebeat.enabled) -}}
{{- $_ := set $args.audit "elasticsearch" (dict "api_key_file" (printf "%s/elasticsearch" $secrets)) -}}
{{- end -}}
{{ toYaml (mergeOverwrite $args (deepCopy .Values.application)) }}
{{- end }}

{{/* Ray Serve's configuration, which `qwen-serve check` takes as it is. */}}
{{- define "qwen-serve.serveConfig" -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
  keep_alive_timeout_s: {{ .Values.serve.keepAliveTimeoutSeconds }}
logging_config:
  encoding: JSON
  log_level: {{ .Values.serve.logLevel }}
  enable_access_log: false
applications:
  - name: qwen-serve
    route_prefix: /
    import_path: serve_app.app:build_app
    autoscaling_policy:
      policy_function: deployments.autoscaler:FleetAutoscaler
    # Both hold secrets and state: only the ingress's pods have these.
    deployments:
      - name: Ingress
        ray_actor_options: {num_cpus: {{ .Values.ingress.cpusPerReplica }}, resources: {qwen_serve_ingress: 0.001}}
      - name: Registry
        ray_actor_options: {num_cpus: {{ .Values.ingress.cpusOfRegistry }}, resources: {qwen_serve_ingress: 0.001}}
    args:
      {{- include "qwen-serve.arguments" . | nindent 6 }}
{{- end }}
