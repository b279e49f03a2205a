{{- define "outrigger.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "outrigger.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "outrigger.name" . -}}
{{- if contains $name .Release.Name -}}{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "outrigger.selector" -}}
app.kubernetes.io/name: {{ include "outrigger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "outrigger.image" -}}
{{- $image := .Values.image -}}
{{- if not $image.repository -}}
{{- fail "image.repository is empty, and the project publishes no image yet: build one with deploy/Dockerfile, push it to a registry of your own, and set image.repository to where it is" -}}
{{- end -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}
{{- else -}}{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}{{- end -}}
{{- end -}}

{{- define "outrigger.masterAccount" -}}
{{- default (printf "%s-master" (include "outrigger.fullname" .)) .Values.master.serviceAccount.name -}}
{{- end -}}

{{- define "outrigger.workerAccount" -}}
{{- default (printf "%s-worker" (include "outrigger.fullname" .)) .Values.worker.serviceAccount.name -}}
{{- end -}}

{{- define "outrigger.centreService" -}}{{ include "outrigger.fullname" . }}-centre{{- end -}}
{{- define "outrigger.tokenSecret" -}}
{{- default (printf "%s-worker-token" (include "outrigger.fullname" .)) .Values.token.existingSecret -}}
{{- end -}}

{{- define "outrigger.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}{{ .Values.tls.secretName }}
{{- else -}}{{ include "outrigger.fullname" . }}-centre-tls{{- end -}}
{{- end -}}

{{- define "outrigger.keySecret" -}}
{{- if eq .Values.stateEncryption.mode "secret" -}}{{ .Values.stateEncryption.secretName }}
{{- else -}}{{ include "outrigger.fullname" . }}-state-key{{- end -}}
{{- end -}}

{{- define "outrigger.centreDomain" -}}
{{ include "outrigger.centreService" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* Whether the masters' page is served by TLS. */}}
{{- define "outrigger.webTls" -}}
{{- if or .Values.web.tls .Values.web.clientCA (include "outrigger.externalMetric" .) -}}yes{{- end -}}
{{- end -}}

{{- define "outrigger.externalMetric" -}}
{{- if or .Values.externalMetric.enabled .Values.autoscaling.hpa -}}yes{{- end -}}
{{- end -}}

{{/* Whether workers have client certificates. */}}
{{- define "outrigger.workerCertificates" -}}
{{- $tls := .Values.tls -}}
{{- if and (eq $tls.mode "secret") $tls.workerSecretName -}}yes{{- end -}}
{{- if and (eq $tls.mode "certManager") $tls.certManager.workerCertificates -}}yes{{- end -}}
{{- end -}}

{{/* What the schema cannot say: values that do not fit together. */}}
{{- define "outrigger.check" -}}
{{- $v := .Values -}}
{{- $centre := dig "outrigger" "centre" dict (include "outrigger.givenConfig" . | fromYaml) | default dict -}}
{{- if and (gt (int $v.master.replicas) 1) (not $v.etcd.endpoints) (not $centre.etcd) -}}
{{- fail "master.replicas is more than 1, and the masters have nowhere to agree on who leads: set etcd.endpoints to the URLs of an etcd (not that of the cluster that is watched), or master.replicas to 1" -}}
{{- end -}}
{{- if hasKey $v.files "outrigger.yml" -}}
{{- fail "files has outrigger.yml, which is the name of the configuration itself: write it as config, or give the file another name" -}}
{{- end -}}
{{- if and (eq $v.tls.mode "secret") (not $v.tls.secretName) -}}
{{- fail "tls.mode is secret and tls.secretName is empty: name the Secret with the masters' tls.crt, tls.key and ca.crt" -}}
{{- end -}}
{{- if and $v.tls.secretName (ne $v.tls.mode "secret") -}}
{{- fail (printf "tls.secretName is set and tls.mode is %s, so it would not be used: set tls.mode to secret" $v.tls.mode) -}}
{{- end -}}
{{- if and $v.tls.workerSecretName (ne $v.tls.mode "secret") -}}
{{- fail (printf "tls.workerSecretName is set and tls.mode is %s, so it would not be used: set tls.mode to secret" $v.tls.mode) -}}
{{- end -}}
{{- if and (eq $v.tls.mode "certManager") (not $v.tls.certManager.issuerRef.name) -}}
{{- fail "tls.mode is certManager and tls.certManager.issuerRef.name is empty: name the Issuer or ClusterIssuer" -}}
{{- end -}}
{{- if and (eq $v.stateEncryption.mode "secret") (not $v.stateEncryption.secretName) -}}
{{- fail "stateEncryption.mode is secret and stateEncryption.secretName is empty: name the Secret with the key `key`" -}}
{{- end -}}
{{- if and (include "outrigger.webTls" .) (eq $v.tls.mode "none") -}}
{{- fail "web.tls, web.clientCA, externalMetric and autoscaling.hpa need a certificate, and tls.mode is none: choose another tls.mode" -}}
{{- end -}}
{{- if and (include "outrigger.externalMetric" .) (eq $v.tls.mode "secret") (not $v.externalMetric.caBundle) -}}
{{- fail "externalMetric.caBundle is empty: give the PEM of the authority that signed the certificate in tls.secretName" -}}
{{- end -}}
{{- if and $v.autoscaling.hpa $v.autoscaling.keda -}}
{{- fail "autoscaling.hpa and autoscaling.keda are both true: keep one of the two, KEDA makes a HorizontalPodAutoscaler of its own" -}}
{{- end -}}
{{- if and $v.autoscaling.keda (include "outrigger.webTls" .) -}}
{{- fail "autoscaling.keda reads the masters' page without a certificate: set web.tls and externalMetric.enabled to false and web.clientCA to empty" -}}
{{- end -}}
{{- if and (or $v.autoscaling.keda $v.autoscaling.hpa) (not $v.worker.enabled) -}}
{{- fail "autoscaling has nothing to scale: worker.enabled is false" -}}
{{- end -}}
{{- if gt (int $v.autoscaling.min) (int $v.autoscaling.max) -}}
{{- fail "autoscaling.min is greater than autoscaling.max" -}}
{{- end -}}
{{- if and $v.etcd.username (not $v.etcd.passwordSecretName) -}}
{{- fail "etcd.username is set and etcd.passwordSecretName is empty: name the Secret with the key password" -}}
{{- end -}}
{{- end -}}
