{{/* The user's configuration as YAML, however it is given. */}}
{{- define "outrigger.givenConfig" -}}
{{- if kindIs "string" .Values.config -}}
{{- $parsed := fromYaml .Values.config -}}
{{- if hasKey $parsed "Error" -}}{{- fail (printf "config is not a YAML mapping: %s" $parsed.Error) -}}{{- end -}}
{{- toYaml $parsed -}}
{{- else -}}
{{- toYaml (default dict .Values.config) -}}
{{- end -}}
{{- end -}}

{{- define "outrigger.masterConfig" -}}
{{- $given := include "outrigger.givenConfig" . | fromYaml -}}
{{- $scheme := ternary "http" "https" (eq .Values.tls.mode "none") -}}
{{- $centre := dict
  "listen" (printf "%s:9441" (include "outrigger.listenHost" .))
  "advertise" (printf "%s://${POD_NAME}.%s:9441" $scheme (include "outrigger.centreDomain" .))
  "tokens" (list (dict "credentials_file" "/etc/outrigger/token/token")) -}}
{{- if eq .Values.tls.mode "none" -}}
{{- $_ := set $centre "listen_without_authentication" true -}}
{{- else -}}
{{- $tls := dict "cert_file" "/etc/outrigger/tls/tls.crt" "key_file" "/etc/outrigger/tls/tls.key" -}}
{{- if include "outrigger.workerCertificates" . -}}
{{- $_ := set $tls "client_ca_file" "/etc/outrigger/tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $centre "tls" $tls -}}
{{- end -}}
{{- with .Values.etcd -}}
{{- if .endpoints -}}
{{- $etcd := dict "endpoints" .endpoints "prefix" .prefix -}}
{{- if .tlsSecretName -}}
{{- $tls := dict "ca_file" "/etc/outrigger/etcd-tls/ca.crt" -}}
{{- if .clientCertificate -}}
{{- $_ := set $tls "cert_file" "/etc/outrigger/etcd-tls/tls.crt" -}}
{{- $_ := set $tls "key_file" "/etc/outrigger/etcd-tls/tls.key" -}}
{{- end -}}
{{- $_ := set $etcd "tls_config" $tls -}}
{{- end -}}
{{- if .username -}}
{{- $_ := set $etcd "basic_auth" (dict "username" .username "password_file" "/etc/outrigger/etcd-password/password") -}}
{{- end -}}
{{- $_ := set $centre "etcd" $etcd -}}
{{- end -}}
{{- end -}}
{{- $own := merge (dict "centre" $centre) (include "outrigger.bothConfig" . | fromYaml) -}}
{{- toYaml (mergeOverwrite (dict "outrigger" $own) $given) -}}
{{- end -}}

{{- define "outrigger.workerConfig" -}}
{{- $scheme := ternary "http" "https" (eq .Values.tls.mode "none") -}}
{{- $masters := .Values.worker.masters -}}
{{- if not $masters -}}
{{- range $index := until (int .Values.master.replicas) -}}
{{- $masters = append $masters (printf "%s://%s-master-%d.%s:9441" $scheme (include "outrigger.fullname" $) $index (include "outrigger.centreDomain" $)) -}}
{{- end -}}
{{- end -}}
{{- $worker := dict
  "name" "${POD_NAME}"
  "advertise" "http://${POD_IP}:9440"
  "weight" .Values.worker.weight
  "masters" $masters
  "authorization" (dict "credentials_file" "/etc/outrigger/token/token") -}}
{{- if or .Values.worker.zone .Values.worker.zoneLabel -}}
{{- $_ := set $worker "zone" (default "${POD_ZONE}" .Values.worker.zone) -}}
{{- end -}}
{{- if ne .Values.tls.mode "none" -}}
{{- $tls := dict "ca_file" "/etc/outrigger/tls/ca.crt" -}}
{{- if include "outrigger.workerCertificates" . -}}
{{- $_ := set $tls "cert_file" "/etc/outrigger/worker-tls/tls.crt" -}}
{{- $_ := set $tls "key_file" "/etc/outrigger/worker-tls/tls.key" -}}
{{- end -}}
{{- $_ := set $worker "tls_config" $tls -}}
{{- end -}}
{{- toYaml (dict "outrigger" (merge (dict "worker" $worker) (include "outrigger.bothConfig" . | fromYaml))) -}}
{{- end -}}

{{/* The part of `outrigger` that masters and workers share. */}}
{{- define "outrigger.bothConfig" -}}
{{- $both := dict -}}
{{- if ne .Values.stateEncryption.mode "none" -}}
{{- $_ := set $both "state_encryption_key_file" "/etc/outrigger/key/key" -}}
{{- end -}}
{{- with .Values.selfMetrics -}}{{- $_ := set $both "self_metrics" . -}}{{- end -}}
{{- toYaml $both -}}
{{- end -}}

{{/* An IPv6 address in brackets. */}}
{{- define "outrigger.listenHost" -}}
{{- if contains ":" .Values.web.listen -}}[{{ .Values.web.listen | trimPrefix "[" | trimSuffix "]" }}]
{{- else -}}{{ .Values.web.listen }}{{- end -}}
{{- end -}}

{{/* Secrets that the chart makes itself: those in the cluster if there are any, so that an upgrade keeps them. Computed
once for all templates, because a certificate and its authority go to different objects. */}}
{{- define "outrigger.generate" -}}
{{- if not (hasKey .Values "_generated") -}}
{{- $fullname := include "outrigger.fullname" . -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (printf "%s-centre-tls" $fullname) -}}
{{- $data := dict -}}
{{- if and $found $found.data (index $found.data "ca.crt") (index $found.data "tls.crt") (index $found.data "tls.key") -}}
{{- $_ := set $data "tls" $found.data -}}
{{- else -}}
{{- $service := include "outrigger.centreService" . -}}
{{- $names := list (include "outrigger.centreDomain" .) (printf "*.%s" (include "outrigger.centreDomain" .)) (printf "%s.%s.svc" $fullname .Release.Namespace) (printf "%s.%s.svc.%s" $fullname .Release.Namespace .Values.clusterDomain) -}}
{{- $authority := genCA (printf "%s authority" $fullname) 3650 -}}
{{- $certificate := genSignedCert $service nil $names 3650 $authority -}}
{{- $_ := set $data "tls" (dict "ca.crt" (b64enc $authority.Cert) "tls.crt" (b64enc $certificate.Cert) "tls.key" (b64enc $certificate.Key)) -}}
{{- end -}}
{{- $found = lookup "v1" "Secret" .Release.Namespace (printf "%s-worker-token" $fullname) -}}
{{- $_ := set $data "token" (dig "data" "token" (randAlphaNum 48 | b64enc) ($found | default dict)) -}}
{{- $found = lookup "v1" "Secret" .Release.Namespace (printf "%s-state-key" $fullname) -}}
{{- $_ := set $data "key" (dig "data" "key" (randBytes 32 | b64enc) ($found | default dict)) -}}
{{- $_ := set .Values "_generated" $data -}}
{{- end -}}
{{- end -}}
