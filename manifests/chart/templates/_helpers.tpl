{{- define "pykaito.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pykaito.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "pykaito.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "pykaito.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pykaito.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "pykaito.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "pykaito.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pykaito.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pykaito.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "pykaito.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image reference. Takes (dict "image" VALUES "root" $). */}}
{{- define "pykaito.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Service, webhook configuration and, with -tls, the Secret of the webhook. */}}
{{- define "pykaito.webhookName" -}}
{{- printf "%s-webhook" (include "pykaito.fullname" . | trunc 51 | trimSuffix "-") }}
{{- end }}

{{/* Environment of azure_arm: what is set, under the names that it reads. */}}
{{- define "pykaito.azureEnv" -}}
{{- $names := dict
  "subscriptionId" "ARM_SUBSCRIPTION_ID"
  "resourceGroup" "ARM_RESOURCE_GROUP"
  "clusterName" "AZURE_CLUSTER_NAME"
  "connectedClusterId" "AZURE_CONNECTED_CLUSTER_ID"
  "subnetId" "AZURE_VNET_SUBNET_ID"
  "osDiskType" "AZURE_OS_DISK_TYPE"
  "osSku" "AZURE_OS_SKU" -}}
{{- range $value, $name := $names }}
{{- with index $.Values.azure $value }}
- name: {{ $name }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
