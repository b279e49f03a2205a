{{/* The resources that the jobs of the configuration make the master watch in its own cluster, one `group/resource` a line. */}}
{{- define "outrigger.resources" -}}
{{- $config := include "outrigger.givenConfig" . | fromYaml -}}
{{- $outrigger := $config.outrigger | default dict -}}
{{- $found := dict -}}
{{- $elsewhere := dig "kubernetes" "kubeconfig" "" $outrigger -}}
{{- if $outrigger.clusters -}}
{{- $elsewhere = "yes" -}}
{{- range $outrigger.clusters -}}{{- if not .kubeconfig -}}{{- $elsewhere = "" -}}{{- end -}}{{- end -}}
{{- end -}}
{{- if not $elsewhere -}}
{{- range $job := ($config.scrape_configs | default list) -}}
{{- range $sd := ($job.kubernetes_sd_configs | default list) -}}
{{- if not (or $sd.kubeconfig_file $sd.api_server) -}}
{{- $role := $sd.role | default "" | toString | lower -}}
{{- $pods := has $role (list "pod" "endpoints" "endpointslice") -}}
{{- $attach := $sd.attach_metadata | default dict -}}
{{- if eq $role "node" -}}{{- $_ := set $found "/nodes" 1 -}}{{- end -}}
{{- if $pods -}}{{- $_ := set $found "/pods" 1 -}}{{- end -}}
{{- if has $role (list "service" "endpoints" "endpointslice") -}}{{- $_ := set $found "/services" 1 -}}{{- end -}}
{{- if eq $role "endpoints" -}}{{- $_ := set $found "/endpoints" 1 -}}{{- end -}}
{{- if eq $role "endpointslice" -}}{{- $_ := set $found "discovery.k8s.io/endpointslices" 1 -}}{{- end -}}
{{- if eq $role "ingress" -}}{{- $_ := set $found "networking.k8s.io/ingresses" 1 -}}{{- end -}}
{{- if and $pods $attach.node -}}{{- $_ := set $found "/nodes" 1 -}}{{- end -}}
{{- if and (ne $role "node") $attach.namespace -}}{{- $_ := set $found "/namespaces" 1 -}}{{- end -}}
{{- if and $pods $attach.deployment -}}{{- $_ := set $found "apps/replicasets" 1 -}}{{- end -}}
{{- if and $pods $attach.cronjob -}}{{- $_ := set $found "batch/jobs" 1 -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey $outrigger "state_metrics" -}}
{{- range list "/configmaps" "/limitranges" "/namespaces" "/nodes" "/persistentvolumeclaims" "/persistentvolumes"
  "/pods" "/replicationcontrollers" "/resourcequotas" "/secrets" "/services"
  "admissionregistration.k8s.io/mutatingadmissionpolicies"
  "admissionregistration.k8s.io/mutatingadmissionpolicybindings"
  "admissionregistration.k8s.io/mutatingwebhookconfigurations"
  "admissionregistration.k8s.io/validatingadmissionpolicies"
  "admissionregistration.k8s.io/validatingadmissionpolicybindings"
  "admissionregistration.k8s.io/validatingwebhookconfigurations" "apps/daemonsets" "apps/deployments"
  "apps/replicasets" "apps/statefulsets" "autoscaling/horizontalpodautoscalers" "batch/cronjobs" "batch/jobs"
  "certificates.k8s.io/certificatesigningrequests" "coordination.k8s.io/leases" "discovery.k8s.io/endpointslices"
  "networking.k8s.io/ingresses" "networking.k8s.io/networkpolicies" "policy/poddisruptionbudgets"
  "storage.k8s.io/storageclasses" "storage.k8s.io/volumeattachments" -}}{{- $_ := set $found . 1 -}}{{- end -}}
{{- end -}}
{{- with $outrigger.prometheus_operator -}}
{{- range $key, $selector := . -}}{{- if and (hasSuffix "_namespace_selector" $key) $selector -}}{{- $_ := set $found "/namespaces" 1 -}}{{- end -}}{{- end -}}
{{- $endpoints := ternary "discovery.k8s.io/endpointslices" "/endpoints" (eq (lower (.service_discovery_role | default "")) "endpointslice") -}}
{{- if hasKey . "service_monitor_selector" -}}
{{- range list "monitoring.coreos.com/servicemonitors" "/services" "/pods" "/nodes" $endpoints -}}{{- $_ := set $found . 1 -}}{{- end -}}
{{- end -}}
{{- if hasKey . "pod_monitor_selector" -}}
{{- range list "monitoring.coreos.com/podmonitors" "/pods" "/nodes" -}}{{- $_ := set $found . 1 -}}{{- end -}}
{{- end -}}
{{- if hasKey . "probe_selector" -}}
{{- range list "monitoring.coreos.com/probes" "networking.k8s.io/ingresses" -}}{{- $_ := set $found . 1 -}}{{- end -}}
{{- end -}}
{{- if hasKey . "scrape_config_selector" -}}
{{- range list "monitoring.coreos.com/scrapeconfigs" "/nodes" "/pods" "/services" "/endpoints" "discovery.k8s.io/endpointslices" "networking.k8s.io/ingresses" -}}{{- $_ := set $found . 1 -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range keys $found | sortAlpha }}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Rules over the resources in `wanted`, a list of `group/resource`. */}}
{{- define "outrigger.watchRules" -}}
{{- $groups := dict -}}
{{- range . -}}
{{- $parts := splitList "/" . -}}
{{- $group := first $parts -}}
{{- $_ := set $groups $group (append (default list (get $groups $group)) (last $parts)) -}}
{{- end -}}
{{- range $group := keys $groups | sortAlpha }}
- apiGroups: [{{ $group | quote }}]
  resources: [{{ get $groups $group | join ", " }}]
  verbs: [list, watch]
{{- end -}}
{{- end -}}
