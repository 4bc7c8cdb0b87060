{{/* Values that contradict each other: each fails at render, with what was expected. */}}
{{- define "firstword.checks" -}}
{{- $v := .Values -}}
{{- $own := list "LIVEKIT_URL" "FIRSTWORD_HTTP_HOST" "FIRSTWORD_HTTP_PORT" "FIRSTWORD_DRAIN" "FLAGD_OFFLINE_FLAG_SOURCE_PATH" "OTEL_EXPORTER_OTLP_ENDPOINT" "POD_NAME" "POD_NAMESPACE" "NODE_NAME" -}}
{{- range $name := concat (keys $v.env) $v.secret.keys | uniq | sortAlpha -}}
{{- if has $name $own -}}
{{- fail (printf "%s in env or secret.keys: the chart sets it from another value; expected livekit.url, port, drainSeconds, flags or telemetry.endpoint" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "LIVEKIT_API_KEY" "LIVEKIT_API_SECRET" -}}
{{- if not (has $name $v.secret.keys) -}}
{{- fail (printf "secret.keys has no %s: LiveKit would take no worker; expected it among them" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $v.env -}}
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
{{- range $part := list (list "resources" $v.resources) (list "tuner.resources" $v.tuner.resources) -}}
{{- $asked := dig "requests" "memory" "" (last $part) -}}
{{- $most := dig "limits" "memory" "" (last $part) -}}
{{- if and $most (gt (include "firstword.bytes" $asked | float64) (include "firstword.bytes" $most | float64)) -}}
{{- fail (printf "%s.requests.memory is %v, more than the limit, %v: Kubernetes would make no pod; expected no more" (first $part) $asked $most) -}}
{{- end -}}
{{- end -}}
{{- if and $v.prometheusRule.enabled (not $v.telemetry.endpoint) -}}
{{- fail "prometheusRule.enabled: no worker sends figures, so the alert on no worker would never end; expected telemetry.endpoint" -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.keda.prometheus) -}}
{{- fail "keda.enabled: KEDA asks Prometheus for the number of calls; expected keda.prometheus, its address" -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.telemetry.endpoint) (contains "firstword_" $v.keda.query) -}}
{{- fail "keda.enabled: no worker sends the figures that keda.query asks for; expected telemetry.endpoint, or the query of what an agent of your own serves" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled (not $v.podMonitor.port) -}}
{{- fail "podMonitor.enabled: the shipped worker serves no metrics, it sends them by OTLP; expected podMonitor.port, that of an agent with prometheus_port" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled (has (int $v.podMonitor.port) (list (int $v.port) (int $v.probePort))) -}}
{{- fail "podMonitor.port is the port of the probes; expected another, that of prometheus_port" -}}
{{- end -}}
{{- if and $v.rescue.enabled (ne $v.readiness.path "/readyz") (not $v.rescue.agents) -}}
{{- fail (printf "rescue.enabled with readiness.path %s: the agent is not the shipped one, and its name is not known; expected rescue.agents" $v.readiness.path) -}}
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
{{- if and $v.tuner.enabled (ne $v.readiness.path "/readyz") -}}
{{- fail (printf "tuner.enabled and readiness.path, %s: an agent that is not ours reads no flags; expected /readyz, or no tuner" $v.readiness.path) -}}
{{- end -}}
{{- range $name := list "FIRSTWORD_FLAG_PROVIDER" "FLAGD_RESOLVER" -}}
{{- if and $v.flags.enabled (hasKey $v.env $name) -}}
{{- fail (printf "flags.enabled and env.%s: workers would ask another provider and not read the ConfigMap; expected one of them" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.flags.enabled (hasKey $v.env "FIRSTWORD_PROFILE") -}}
{{- fail "flags.enabled and env.FIRSTWORD_PROFILE: the profile goes before the flags; expected one of them" -}}
{{- end -}}
{{- end -}}

{{/* Bytes of an amount of memory as Kubernetes writes it: 512Mi, 2G, 1073741824. */}}
{{- define "firstword.bytes" -}}
{{- $number := regexFind "^[0-9.]+" (toString .) -}}
{{- $unit := trimPrefix $number (toString .) -}}
{{- $bytes := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf $number (get $bytes $unit | default 1) -}}
{{- end -}}
