{{/* Names and labels are Flux's, so that what selects them still fits: patches, policies, dashboards. */}}

{{/* Labels of an object. Takes a dict: root, component. */}}
{{- define "fluvial.labels" -}}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Namespace }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: flux
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
control-plane: controller
{{- end }}

{{/* "-<shard>", or nothing for the main set. */}}
{{- define "fluvial.suffix" -}}
{{- if . }}-{{ . }}{{ end }}
{{- end }}

{{/* Which objects are a set's. Takes a dict: root, shard. */}}
{{- define "fluvial.selector" -}}
{{- if .shard -}}
- --watch-label-selector=sharding.fluxcd.io/key={{ .shard }}
{{- else if .root.Values.shards -}}
- --watch-label-selector=!sharding.fluxcd.io/key
{{- end }}
{{- end }}

{{/*
The leases that a controller's sets compete for, as a list in JSON: each label selector has one of
its own, named after it; notification-controller is not sharded. Takes a dict: root, name,
controller (its values).
*/}}
{{- define "fluvial.leases" -}}
{{- $base := printf "%s-leader-election" .name }}
{{- $selectors := list "" }}
{{- if and .root.Values.shards (ne .name "notification-controller") }}
{{- $selectors = list "!sharding.fluxcd.io/key" }}
{{- range .root.Values.shards }}
{{- $selectors = append $selectors (printf "sharding.fluxcd.io/key=%s" .) }}
{{- end }}
{{- end }}
{{- range .controller.extraArgs }}
{{- if hasPrefix "--watch-label-selector=" . }}
{{- $selectors = list (trimPrefix "--watch-label-selector=" .) }}
{{- end }}
{{- end }}
{{- $names := list }}
{{- range $selectors }}
{{- $names = append $names (ternary $base (printf "%s-%s" $base (sha256sum . | trunc 8)) (eq . "")) }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* The first arguments, in the order that people patch by index. Takes the root. */}}
{{- define "fluvial.args" -}}
- --events-addr={{ if .Values.notificationController.enabled }}http://notification-controller.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}./{{ end }}
{{ include "fluvial.base-args" . }}
{{- end }}

{{- define "fluvial.base-args" -}}
- --watch-all-namespaces={{ .Values.watchAllNamespaces }}
- --log-level={{ .Values.logLevel }}
- --log-encoding=json
- --enable-leader-election
{{- end }}

{{/* Takes a dict: root, image. */}}
{{- define "fluvial.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* What the pods of all controllers have. Takes a dict: root, controller (its values). */}}
{{- define "fluvial.pod" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .controller.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .controller.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .controller.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  fsGroup: 1337
{{- end }}

{{- define "fluvial.container-security" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Takes the values of the controller. */}}
{{- define "fluvial.env" -}}
- name: RUNTIME_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A name in no namespace of its own: <name>-<namespace>. Takes a dict: root, name. */}}
{{- define "fluvial.cluster-name" -}}
{{ .name }}-{{ .root.Release.Namespace }}
{{- end }}

{{/* A controller's own rights, beside those on its kinds. */}}
{{- define "fluvial.common-rules" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]  # whether another installation runs
  verbs: [get, list]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]  # whether a kind that is waited for has come
  verbs: [list, watch]
- nonResourceURLs: [/livez/ping]
  verbs: [get, head]
{{- end }}
