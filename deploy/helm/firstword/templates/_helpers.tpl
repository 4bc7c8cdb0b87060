{{- define "firstword.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change: a Deployment's selector can't. Takes (list root component). */}}
{{- define "firstword.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "firstword.labels" -}}
{{- $root := first . -}}
{{ include "firstword.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "firstword.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end -}}

{{/* What every pod of ours is held to. Takes (list root component). */}}
{{- define "firstword.pod" -}}
{{- $root := first . -}}
serviceAccountName: {{ include "firstword.name" $root }}{{ if eq (last .) "tuner" }}-tuner{{ end }}
automountServiceAccountToken: {{ eq (last .) "tuner" }}
enableServiceLinks: false
# Process 1 ignores SIGTERM until it says otherwise, so a worker that still imports would not end.
shareProcessNamespace: true
securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "firstword.container" -}}
image: {{ include "firstword.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where LiveKit and the collector are, and who we are in traces. Takes (list root keys), `keys` of the Secret. */}}
{{- define "firstword.env" -}}
{{- $root := first . -}}
- {name: LIVEKIT_URL, value: {{ required "livekit.url is missing; expected the address of your LiveKit server, such as wss://livekit.example.com" $root.Values.livekit.url | quote }}}
{{- range last . }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secret.name }}, key: {{ . }}}}
{{- end }}
{{- include "firstword.telemetry" $root }}
{{- end -}}

{{- define "firstword.telemetry" }}
{{- $own := .Values.env.OTEL_RESOURCE_ATTRIBUTES -}}
{{- with .Values.telemetry.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)%s" (empty $own | ternary "" (printf ",%s" $own)) | quote }}
{{- end }}
{{- end -}}
