{{/* Ships the audit beside each ingress. Two that read one folder send each record under the same id. */}}
{{- define "qwen-serve.filebeatContainer" -}}
- name: filebeat
  image: {{ .Values.filebeat.image.repository }}:{{ .Values.filebeat.image.tag }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  command: [filebeat]
  args:
    - -e
    - --strict.perms=false
    - -c
    - /etc/filebeat/filebeat.yml
    - --path.data
    - /var/lib/filebeat
    - --path.logs
    - /var/lib/filebeat/logs
  env:
    - {name: QWEN_SERVE_AUDIT_DIRECTORY, value: {{ include "qwen-serve.stateFolder" . }}/audit}
    - {name: ELASTICSEARCH_URL, value: {{ required "set filebeat.elasticsearchUrl" .Values.filebeat.elasticsearchUrl | quote }}}
    - name: ELASTICSEARCH_API_KEY
      valueFrom:
        secretKeyRef:
          name: {{ required "filebeat needs secrets.elasticsearch.name" .Values.secrets.elasticsearch.name }}
          key: {{ .Values.secrets.elasticsearch.key }}
  resources:
    {{- toYaml .Values.filebeat.resources | nindent 4 }}
  volumeMounts:
    - {name: filebeat, mountPath: /etc/filebeat, readOnly: true}
    - {name: filebeat-data, mountPath: /var/lib/filebeat}
    - {name: state, mountPath: {{ include "qwen-serve.stateFolder" . }}, readOnly: true}
{{- end }}
