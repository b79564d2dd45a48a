{{/* What a pod writes to, and the secrets that its component needs, no others. */}}
{{- define "qwen-serve.volumes" -}}
{{- $root := .root -}}
- name: shared-mem
  emptyDir: {medium: Memory, sizeLimit: {{ .spec.sharedMemory }}}
- name: tmp
  emptyDir: {sizeLimit: {{ $root.Values.scratch.tmp }}}
# KubeRay gives the autoscaler's container the volume of this name.
- name: ray-logs
  emptyDir: {sizeLimit: {{ $root.Values.scratch.rayLogs }}}
- name: home
  emptyDir: {sizeLimit: {{ $root.Values.scratch.home }}}
- name: secrets
  projected:
    # The group may read: the application refuses a secret that is open to others.
    defaultMode: 0440
    sources:
      {{- include "qwen-serve.secretSources" . | trim | nindent 6 }}
{{- if $root.Values.serve.haproxy }}
- name: haproxy
  configMap: {name: {{ include "qwen-serve.name" $root }}-haproxy, defaultMode: 0555}
{{- end }}
{{- if eq .component "ingress" }}
- name: config
  configMap: {name: {{ include "qwen-serve.name" $root }}-config}
- name: state
  persistentVolumeClaim: {claimName: {{ include "qwen-serve.stateClaim" $root }}}
{{- if $root.Values.filebeat.enabled }}
- name: filebeat
  configMap: {name: {{ include "qwen-serve.name" $root }}-filebeat}
- name: filebeat-data
  emptyDir: {sizeLimit: 256Mi}
{{- end }}
{{- end }}
{{- if eq .component "gpu" }}
- name: model-cache
  {{- include "qwen-serve.modelCache" (.spec.modelCache | default $root.Values.modelCache) | nindent 2 }}
{{- end }}
{{- with .spec.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where weights lie: a folder of the machine, a volume of the pod, or a claim that several share. */}}
{{- define "qwen-serve.modelCache" -}}
{{- if eq .type "hostPath" -}}
hostPath: {path: {{ .hostPath }}, type: Directory}
{{- else if eq .type "ephemeral" -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests: {storage: {{ .size }}}
{{- else if eq .type "claim" -}}
persistentVolumeClaim: {claimName: {{ .claimName }}}
{{- else -}}
emptyDir: {sizeLimit: {{ .size }}}
{{- end -}}
{{- end }}

{{/* Serve builds the application on any node, and that reads the signing secret: all pods have it. */}}
{{- define "qwen-serve.secretSources" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $chosen := dict "signing" $secrets.signing -}}
{{- if eq .component "ingress" -}}
{{- $_ := set $chosen "audit-key" $secrets.auditKey -}}
{{- $_ := set $chosen "database" $secrets.database -}}
{{- $_ := set $chosen "limits-redis" $secrets.limitsRedis -}}
{{- $_ := set $chosen "elasticsearch" $secrets.elasticsearch -}}
{{- end -}}
{{- if eq .component "gpu" -}}
{{- $_ := set $chosen "s3" $secrets.s3 -}}
{{- end -}}
{{- range $path, $secret := $chosen }}
{{- if $secret.name }}
- secret:
    name: {{ $secret.name }}
    items: [{key: {{ $secret.key }}, path: {{ $path }}}]
{{- end }}
{{- end }}
{{- end }}
