"""Every span name and attribute key of a start-up trace, once: the contract between who writes a trace and who reads it.

Standard names (OpenTelemetry's semantic conventions, LiveKit's `lk.*`) are used where there are any; ours begin with `startup.`.
"""

from typing import Final

# Spans
ROOT: Final = "session.startup"
DISPATCH: Final = "dispatch"
DETACHED: Final = "detached"
READY: Final = "session.ready"
CRITICAL_PREFIX: Final = "critical "
DEFERRED_PREFIX: Final = "deferred."

# Pieces of the critical path that are no task's
EVENT_LOOP: Final = "event loop"
ABSENT_CALLER: Final = "absent caller"

# Stages of the dispatch, in order: each is a piece `critical dispatch.STAGE` under the phase `dispatch`
OFFER: Final = "offer"
"""From the caller's joining until the server offered the job to this worker."""
ACCEPTANCE: Final = "acceptance"
"""Until the worker took it."""
ASSIGNMENT: Final = "assignment"
"""Until the server gave it to this worker, and to no other that took it too."""
PROCESS_WAIT: Final = "process_wait"
"""Until the process that was to run it began to start; nothing where one was idle."""
PROCESS_START: Final = "process_start"
"""Until that process was ready; nothing where one was idle."""
ENTRYPOINT: Final = "entrypoint"
"""From the hand-over to the process until the plan's first step."""
STAGE_PREFIX: Final = f"{DISPATCH}."

# Phases, of which the first is the dispatch
CONNECT: Final = "connect"
WAIT: Final = "wait"
GREET: Final = "greet"

# On the root
OUTCOME: Final = "startup.outcome"
TTFW: Final = "startup.ttfw"
RAW: Final = "startup.raw"
SLOW: Final = "startup.slow"
DISPATCH_KIND: Final = "startup.dispatch"
CRITICAL_TASK: Final = "startup.critical_task"
FLAG_PREFIX: Final = "startup.flag."
FALLBACKS: Final = "startup.fallbacks"
ACCOUNT_RESULT: Final = "startup.account.result"
ACCOUNT_HASH: Final = "startup.account.hash"
CLOCK_SKEW: Final = "startup.clock_skew"
DRAWN_BY: Final = "startup.drawn_by"
"""By what the flags of the session were drawn: `account` or `room`. Absent where a profile overrides the flags."""
DRAWN_BY_PROCESS: Final = "startup.drawn_by.process"
"""Names, with commas between, of the flags that were drawn by process instead."""

SAMPLING_PERCENT: Final = "startup.sampling.percent"
"""Put there by the collector: of the starts that were neither slow nor failed, how many it kept."""

# OpenTelemetry's feature flags
FLAG_EVENT: Final = "feature_flag.evaluation"
FLAG_KEY: Final = "feature_flag.key"
FLAG_VARIANT: Final = "feature_flag.result.variant"

# On a task
PHASE: Final = "startup.phase"
NEEDS: Final = "startup.needs"
CRITICAL: Final = "startup.critical"
SLACK: Final = "startup.slack"
DRAG: Final = "startup.drag"
CONTENTION: Final = "startup.contention"
LOOP_TIME: Final = "startup.loop_time"
STEPS: Final = "startup.steps"
"""When it held the loop: `begin+length` with blanks between, µs from the task's begin; steps near each other may be one."""
READY_DELAY: Final = "startup.ready_delay"
CACHE: Final = "startup.cache"
DEFERRED: Final = "startup.deferred"
ERROR_TYPE: Final = "error.type"

# On a piece
TASK: Final = "startup.task"
HELD_BY: Final = "startup.held_by"

# On session.ready
INIT: Final = "startup.init"

# On a link
EDGE: Final = "startup.edge"
EDGE_NEEDS: Final = "needs"
EDGE_ORDER: Final = "order"
EDGE_TASK: Final = "task"
EDGE_JOB: Final = "job"
EDGE_CALLER: Final = "caller"

# LiveKit's own (its room name and participant identity are marked `pii`, so we leave them out)
ROOM_SID: Final = "lk.room_sid"
JOB_ID: Final = "lk.job_id"
AGENT_NAME: Final = "lk.agent_name"
PARTICIPANT_KIND: Final = "lk.participant_kind"
