{{/*
A pod template of the Ray cluster. Called with: root, component (head, ingress or gpu), group (its name) and spec
(its values). KubeRay writes the command (`ray start ...`), from `rayStartParams` and `resources` of the group.
*/}}
{{- define "qwen-serve.podTemplate" -}}
{{- $root := .root -}}
{{- $spec := .spec -}}
{{- $gpu := eq .component "gpu" -}}
metadata:
  labels:
    {{- include "qwen-serve.selector" $root | nindent 4 }}
    app.kubernetes.io/part-of: qwen-serve
    app.kubernetes.io/component: {{ .component }}
    qwen-serve/group: {{ .group }}
  annotations:
    # A changed script restarts nothing by itself; as a part of the pod it makes KubeRay roll the cluster.
    qwen-serve/haproxy: {{ include "qwen-serve.haproxyFiles" $root | sha256sum | trunc 16 | quote }}
spec:
  {{- /* The head's is KubeRay's own, by which the autoscaler changes the number of pods. */}}
  {{- if not (and (eq .component "head") $root.Values.autoscaling.enabled) }}
  automountServiceAccountToken: false
  {{- end }}
  enableServiceLinks: false
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $spec.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "qwen-serve.gracePeriod" . }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with $spec.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $spec.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .component "ingress" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "qwen-serve.selector" $root | nindent 10 }}
          app.kubernetes.io/component: ingress
  {{- end }}
  containers:
    - name: ray-{{ ternary "head" "worker" (eq .component "head") }}
      image: {{ include "qwen-serve.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      env:
        {{- include "qwen-serve.environment" . | nindent 8 }}
      ports:
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: 8000}
        {{- if eq .component "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
        {{- end }}
      resources:
        requests:
          {{- toYaml $spec.resources.requests | nindent 10 }}
          {{- if $gpu }}
          {{ $root.Values.gpuResourceName }}: {{ $spec.gpus }}
          {{- end }}
        limits:
          {{- toYaml $spec.resources.limits | nindent 10 }}
          {{- if $gpu }}
          {{ $root.Values.gpuResourceName }}: {{ $spec.gpus }}
          {{- end }}
      {{- include "qwen-serve.probes" . | nindent 6 }}
      volumeMounts:
        - {name: shared-mem, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
        - {name: ray-logs, mountPath: /tmp/ray}
        - {name: home, mountPath: /home/qwen}
        - {name: secrets, mountPath: {{ include "qwen-serve.secretsFolder" $root }}, readOnly: true}
        {{- if $root.Values.serve.haproxy }}
        - {name: haproxy, mountPath: {{ include "qwen-serve.haproxyFolder" $root }}, readOnly: true}
        {{- end }}
        {{- if eq .component "ingress" }}
        - {name: config, mountPath: {{ include "qwen-serve.configFolder" $root }}, readOnly: true}
        - {name: state, mountPath: {{ include "qwen-serve.stateFolder" $root }}}
        {{- end }}
        {{- if $gpu }}
        - {name: model-cache, mountPath: {{ include "qwen-serve.cacheFolder" $root }}}
        {{- end }}
        {{- with $spec.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- if and $root.Values.filebeat.enabled (eq .component "ingress") }}
    {{- include "qwen-serve.filebeatContainer" $root | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "qwen-serve.volumes" . | nindent 4 }}
{{- end }}

{{/* The head holds no requests, and is never idle: waiting for that would only keep the next one from starting. */}}
{{- define "qwen-serve.gracePeriod" -}}
{{ ternary 60 (int .root.Values.serve.terminationGracePeriodSeconds) (eq .component "head") }}
{{- end }}

{{/* No environment variable holds a secret's value: where one is needed, it refers to a Secret. */}}
{{- define "qwen-serve.environment" -}}
{{- $root := .root -}}
- {name: HOME, value: /home/qwen}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
# Clients steer Serve by headers otherwise; see serve_app/proxy.py.
- {name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, value: "serve_app.proxy:middlewares"}
# On SIGTERM Ray drains the node: Serve moves its replicas, and requests in hand end. Kubernetes waits a little longer.
- {name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, value: {{ max 1 (sub (include "qwen-serve.gracePeriod" . | int) 30) | quote }}}
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: {{ ternary "1" "0" $root.Values.serve.haproxy | quote }}}
{{- if $root.Values.serve.haproxy }}
- {name: RAY_SERVE_HAPROXY_BINARY_PATH, value: {{ include "qwen-serve.haproxyFolder" $root }}/haproxy.sh}
{{- end }}
{{- if eq .component "gpu" }}
- {name: VLLM_NO_USAGE_STATS, value: "1"}
- {name: HF_HOME, value: {{ include "qwen-serve.cacheFolder" $root }}/huggingface}
{{- if $root.Values.secrets.hub.name }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ $root.Values.secrets.hub.name }}, key: {{ $root.Values.secrets.hub.key }}}
{{- end }}
{{- end }}
{{- with concat $root.Values.extraEnv (.spec.extraEnv | default list) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Ray's own health for all; a worker takes requests once Serve's proxy answers on it. KubeRay's probes of the same
would run a shell and wget in the image.
*/}}
{{- define "qwen-serve.probes" -}}
startupProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 12
readinessProbe:
  {{- if eq .component "head" }}
  httpGet: {path: /api/healthz, port: 52365}
  {{- else }}
  httpGet: {path: /-/healthz, port: serve}
  {{- end }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}
