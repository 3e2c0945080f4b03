{{- define "argoproxy.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "argoproxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "argoproxy.labels" -}}
{{ include "argoproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* What the chart's own Secret holds, as JSON. */ -}}
{{- define "argoproxy.secret" -}}
{{- $secret := deepCopy .Values.secret }}
{{- with .Values.redis.url }}{{ $_ := set $secret "REDIS_URL" . }}{{ end }}
{{- with .Values.database.url }}{{ $_ := set $secret "DATABASE_URL" . }}{{ end }}
{{- toJson $secret }}
{{- end }}

{{- /* How many replicas there are at most: among them limits are divided while Redis can't be used. */ -}}
{{- define "argoproxy.replicas" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ .Values.replicaCount }}{{ end }}
{{- end }}
