{{- define "llama-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-." -}}
{{- end -}}

{{/* Name of all objects: the release's, where that already says what it is. Helm takes a release with dots, which no Service may have. */}}
{{- define "llama-operator.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := include "llama-operator.name" . -}}
{{- $name = contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) -}}
{{- end -}}
{{- $name | replace "." "-" | trunc 50 | trimAll "-" -}}
{{- end -}}

{{/* Names are quoted wherever they stand alone: YAML reads a release or a namespace 123 as a number, and on as a yes. */}}
{{- define "llama-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "llama-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of every object. A key stands once: what is given wins, but for the labels by which pods are selected. */}}
{{- define "llama-operator.labels" -}}
{{- include "llama-operator.labelled" (list . .Values.commonLabels) -}}
{{- end -}}

{{/* The same of the context `0`, with the maps of labels that follow it; a later one wins. */}}
{{- define "llama-operator.labelled" -}}
{{- $given := dict -}}
{{- range rest . -}}
{{- $given = mergeOverwrite $given (. | default dict) -}}
{{- end -}}
{{- with first . -}}
{{ include "llama-operator.selectorLabels" . }}
{{- range $own := list
  (list "app.kubernetes.io/version" .Chart.AppVersion)
  (list "app.kubernetes.io/part-of" "llama-operator")
  (list "app.kubernetes.io/managed-by" .Release.Service)
  (list "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")) }}
{{- if not (hasKey $given (first $own)) }}
{{ first $own }}: {{ last $own | quote }}
{{- end }}
{{- end }}
{{- with $given }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "llama-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "llama-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false: name the ServiceAccount that is there" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "llama-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The operator ends at once where its own times of the Lease contradict each other; the defaults are its own. */}}
{{- define "llama-operator.leaseTimes" -}}
{{- $duration := int (default 15 (.Values.settings).leaseDurationSeconds) -}}
{{- $renew := int (default 10 (.Values.settings).leaseRenewSeconds) -}}
{{- $retry := int (default 2 (.Values.settings).leaseRetrySeconds) -}}
{{- if not (and (lt $retry $renew) (lt $renew $duration)) -}}
{{- fail (printf "settings: leaseRetrySeconds < leaseRenewSeconds < leaseDurationSeconds must hold, found %d, %d, %d; set all three" $retry $renew $duration) -}}
{{- end -}}
{{- end -}}

{{/* CEL: user name of the operator. */}}
{{- define "llama-operator.admission.operator" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "llama-operator.serviceAccountName" . }}'
{{- end -}}

{{/* Variables of a policy: who asks, and what for. */}}
{{- define "llama-operator.admission.users" -}}
- name: user
  expression: request.userInfo.username
- name: operator
  expression: "variables.user == {{ include "llama-operator.admission.operator" . }}"
- name: kuberay
  expression: "variables.user == 'system:serviceaccount:{{ .Values.kuberay.namespace }}:{{ .Values.kuberay.serviceAccount }}'"
# Garbage collection, deletion of namespaces, and migration of stored versions.
- name: kubernetes
  expression: >-
    variables.user in [
    'system:kube-controller-manager',
    'system:serviceaccount:kube-system:generic-garbage-collector',
    'system:serviceaccount:kube-system:namespace-controller',
    'system:serviceaccount:kube-system:storage-version-migrator-controller']
- name: exempt
  expression: >-
    variables.user in {{ toJson .Values.admission.trustedUsers }} ||
    (has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ toJson .Values.admission.breakGlassGroups }}))
# Not the status.
- name: wholeObject
  expression: request.?subResource.orValue('') == ''
{{- end -}}

{{/* CEL: user name of the autoscaler of the RayCluster whose name is the CEL expression `.`: KubeRay gives it a service
     account of the cluster's name, of which it keeps the last 50 characters, the first one made a letter. */}}
{{- define "llama-operator.admission.autoscaler" -}}
'system:serviceaccount:' + request.namespace + ':' +
[{{ . }}].map(n, n.size() > 50 ? n.substring(n.size() - 50) : n).map(n, n.matches('^[a-z]') ? n : 'r' + n.substring(1))[0]
{{- end -}}

{{/* CEL: whether every worker group is as it was but for the fields that the list `.` names. */}}
{{- define "llama-operator.admission.groupsDifferOnlyIn" -}}
variables.groups.all(g, variables.groupsBefore.exists(b, b.groupName == g.groupName &&
[g, b].all(o, o.all(k, k in {{ . }} || g[?k] == b[?k]))))
{{- end -}}

{{/* Rules for what the operator writes, beside status. */}}
{{- define "llama-operator.admission.written" -}}
- apiGroups: [""]
  apiVersions: ["*"]
  resources: [services, persistentvolumeclaims]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [networking.k8s.io]
  apiVersions: ["*"]
  resources: [networkpolicies, ingresses]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [gateway.networking.k8s.io]
  apiVersions: ["*"]
  resources: [httproutes]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [apps]
  apiVersions: ["*"]
  resources: [controllerrevisions]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [batch]
  apiVersions: ["*"]
  resources: [jobs]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [ray.io]
  apiVersions: ["*"]
  resources: [rayservices]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{/* Variables of a policy: the pods that a Job or a RayService makes. */}}
{{- define "llama-operator.admission.pods" -}}
- name: ray
  expression: "object != null && request.resource.resource == 'rayservices' ? [object.spec.rayClusterConfig] : []"
- name: pods
  expression: >-
    variables.ray.map(c, c.headGroupSpec.template.spec) +
    (variables.ray.size() > 0 ? variables.ray[0].?workerGroupSpecs.orValue([]).map(g, g.template.spec) : []) +
    (object != null && request.resource.resource == 'jobs' ? [object.spec.template.spec] : [])
# Lists of them. Options of the autoscaler have the fields of a container: KubeRay makes one of them.
- name: containers
  expression: >-
    variables.pods.map(p, p.containers) + variables.pods.map(p, p.?initContainers.orValue([])) +
    variables.ray.map(c, [c.?autoscalerOptions.orValue({})])
{{- end -}}

{{/* Params of a policy: the RayClusters of LlamaDeployments in the namespace of the request. */}}
{{- define "llama-operator.admission.ourClusters" -}}
selector:
  matchExpressions:
    - {key: llama-operator.io/deployment, operator: Exists}
parameterNotFoundAction: Allow
{{- end -}}

{{/* Part of a binding: the namespaces that are managed. */}}
{{- define "llama-operator.admission.namespaces" -}}
{{- with .Values.namespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end -}}
{{- end -}}

{{/* JSON: what a team may set in spec.pods, with the service accounts that admission lists. */}}
{{- define "llama-operator.podRules" -}}
{{- $lists := dict "metadataKeys" list "env" list "extendedResources" list -}}
{{- merge (dict "serviceAccounts" .Values.admission.podServiceAccounts) (.Values.podRules | default dict) $lists | toJson -}}
{{- end -}}

{{/* JSON: the accounts that pods run under, those of podDefaults too. */}}
{{- define "llama-operator.podServiceAccounts" -}}
{{- $names := .Values.admission.podServiceAccounts -}}
{{- with (.Values.podDefaults).serviceAccountName -}}
{{- $names = append $names . -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* JSON: the Secrets that pods read, those of podDefaults too; an empty list where admission lists none. */}}
{{- define "llama-operator.podSecrets" -}}
{{- $names := .Values.admission.tokenSecrets -}}
{{- if $names -}}
{{- range $section := list (.Values.podDefaults | default dict) ((.Values.podDefaults).head | default dict) ((.Values.podDefaults).workers | default dict) -}}
{{- range $section.imagePullSecrets -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{/* CEL: whether the text `0` is one of the patterns `1`; a star at their end or beginning stands for the rest. */}}
{{- define "llama-operator.admission.matches" -}}
{{- $text := index . 0 -}}
{{ toJson (index . 1) }}.exists(p, p.endsWith('*') ? {{ $text }}.startsWith(p.substring(0, p.size() - 1)) : p.startsWith('*') ? {{ $text }}.endsWith(p.substring(1)) : p == {{ $text }})
{{- end -}}

{{/* JSON: fields of a LlamaDeployment's spec that name a Secret which its pods read, beside those of spec.pods. */}}
{{- define "llama-operator.secretFields" -}}
{{- list "weights.?tokenSecret.?name" "weights.?storeSecret.?name" "usageStore.?secret" "headStore.?passwordSecret.?name" "headStore.?tls.?authority.?secret" "headStore.?tls.?clientSecret" "access.?keys.?secret" | toJson -}}
{{- end -}}

{{/* CEL: what the fields of the JSON list `1` say in the spec of the object `0`; empty texts for those that are not set. */}}
{{- define "llama-operator.said" -}}
{{- $object := index . 0 -}}
[{{ range $at, $field := index . 1 }}{{ if $at }}, {{ end }}{{ $object }}.spec.?{{ $field }}.orValue(''){{ end }}]
{{- end -}}
