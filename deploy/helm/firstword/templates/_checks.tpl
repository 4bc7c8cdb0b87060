{{/* Values that contradict each other: each fails at render, with what was expected. */}}
{{- define "firstword.checks" -}}
{{- $v := .Values -}}
{{- $own := list "LIVEKIT_URL" "FIRSTWORD_HTTP_HOST" "FIRSTWORD_HTTP_PORT" "FIRSTWORD_DRAIN" "FLAGD_OFFLINE_FLAG_SOURCE_PATH" -}}
{{- range $name, $_ := $v.env -}}
{{- if has $name $own -}}
{{- fail (printf "env.%s: the chart sets it from another value; expected livekit.url, port, drainSeconds or flags" $name) -}}
{{- end -}}
{{- if or (has $name $v.secret.keys) (regexMatch "(SECRET|PASSWORD|_KEY|STORE_URL|CACHE_URL)$" $name) -}}
{{- fail (printf "env.%s: a value there can be read by who may read the pod; expected it in the Secret, and its name in secret.keys" $name) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.image.tag "latest" -}}
{{- fail "image.tag: latest names another image tomorrow; expected a version or image.digest" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled $v.keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled: two scalers would undo each other's work; expected one of them" -}}
{{- end -}}
{{- range $name := list "autoscaling" "keda" -}}
{{- $scaler := get $v $name -}}
{{- if gt (int $scaler.minReplicas) (int $scaler.maxReplicas) -}}
{{- fail (printf "%s.minReplicas is %v, more than maxReplicas, %v; expected no more" $name $scaler.minReplicas $scaler.maxReplicas) -}}
{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (ge (int $v.autoscaling.cpuPercent) 70) -}}
{{- fail (printf "autoscaling.cpuPercent is %v: at 70 LiveKit gives a worker no more jobs, so none would be added in time; expected less than 70" $v.autoscaling.cpuPercent) -}}
{{- end -}}
{{- $limit := dig "limits" "cpu" "" $v.resources -}}
{{- if and $limit (ne (toString $limit) (toString (dig "requests" "cpu" "" $v.resources))) -}}
{{- fail (printf "resources.limits.cpu is %v, and the request is another: a throttled worker speaks late; expected no CPU limit, or one equal to the request" $limit) -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.keda.prometheus) -}}
{{- fail "keda.enabled: KEDA asks Prometheus for the number of calls; expected keda.prometheus, its address" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled (not $v.podMonitor.port) -}}
{{- fail "podMonitor.enabled: the shipped worker serves no metrics, it sends them by OTLP; expected podMonitor.port, that of an agent with prometheus_port" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled (eq (int $v.podMonitor.port) (int $v.port)) -}}
{{- fail "podMonitor.port is the port of the probes; expected another, that of prometheus_port" -}}
{{- end -}}
{{- if and $v.tuner.enabled (not $v.flags.enabled) -}}
{{- fail "tuner.enabled: workers would not read the flags that the tuner writes; expected flags.enabled" -}}
{{- end -}}
{{- if and $v.tuner.enabled (not $v.tuner.jaeger) -}}
{{- fail "tuner.enabled: the tuner reads traces; expected tuner.jaeger, the address of Jaeger's query API" -}}
{{- end -}}
{{- if and $v.tuner.enabled (not $v.telemetry.endpoint) -}}
{{- fail "tuner.enabled: no worker sends traces; expected telemetry.endpoint" -}}
{{- end -}}
{{- if and $v.flags.enabled (hasKey $v.env "FIRSTWORD_PROFILE") -}}
{{- fail "flags.enabled and env.FIRSTWORD_PROFILE: the profile goes before the flags; expected one of them" -}}
{{- end -}}
{{- end -}}
