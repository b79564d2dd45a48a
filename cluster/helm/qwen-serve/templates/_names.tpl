{{/* The release's own name; KubeRay adds to it, and takes 41 characters of a RayService at most. */}}
{{- define "qwen-serve.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 38 | trimSuffix "-" -}}
{{- end }}

{{/* Labels of every object. `app.kubernetes.io/name` is not set on pods: KubeRay's services select by it. */}}
{{- define "qwen-serve.labels" -}}
{{ include "qwen-serve.selector" . }}
app.kubernetes.io/part-of: qwen-serve
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What all pods of a release share, and nobody else has. */}}
{{- define "qwen-serve.selector" -}}
qwen-serve/release: {{ include "qwen-serve.name" . }}
{{- end }}

{{- define "qwen-serve.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Where Kubernetes mounts what the application reads and writes. */}}
{{- define "qwen-serve.secretsFolder" -}}/etc/qwen-serve/secrets{{- end }}
{{- define "qwen-serve.configFolder" -}}/etc/qwen-serve/config{{- end }}
{{- define "qwen-serve.haproxyFolder" -}}/etc/qwen-serve/haproxy{{- end }}
{{- define "qwen-serve.stateFolder" -}}/var/lib/qwen-serve{{- end }}
{{- define "qwen-serve.cacheFolder" -}}/var/cache/qwen-serve{{- end }}

{{/* Service that KubeRay makes for the ingress: it follows the cluster that serves. */}}
{{- define "qwen-serve.serveService" -}}
{{ include "qwen-serve.name" . }}-serve-svc
{{- end }}

{{- define "qwen-serve.tlsSecret" -}}
{{ .Values.entrance.tls.secretName | default (printf "%s-tls" (include "qwen-serve.name" .)) }}
{{- end }}

{{/* The claim with the audit and, where it is SQLite, the store. */}}
{{- define "qwen-serve.stateClaim" -}}
{{ .Values.state.existingClaim | default (printf "%s-state" (include "qwen-serve.name" .)) }}
{{- end }}

{{/* Worker groups that are switched on, the ingress's own first. */}}
{{- define "qwen-serve.gpuGroups" -}}
{{- $groups := dict -}}
{{- range $name, $group := .Values.gpuGroups -}}
{{- if $group.enabled -}}{{- $_ := set $groups $name $group -}}{{- end -}}
{{- end -}}
{{ toYaml $groups }}
{{- end }}
