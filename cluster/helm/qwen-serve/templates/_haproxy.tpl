{{/* HAProxy's wrapper and its answer where no replica is; see files/haproxy.sh. */}}
{{- define "qwen-serve.haproxyFiles" -}}
haproxy.sh: |
  {{- .Files.Get "files/haproxy.sh" | trim | nindent 2 }}
500.http: |
  {{- .Files.Get "files/503.http" | trim | nindent 2 }}
{{- end }}
