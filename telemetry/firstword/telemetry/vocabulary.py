"""Defines every span name and attribute key of a start's trace, once: the contract between who writes a trace and who
reads it.

Standard names (OpenTelemetry's semantic conventions, LiveKit's `lk.*`) are used where there are any; ours begin with
`startup.`.
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
"""Until the worker accepted the job."""
ASSIGNMENT: Final = "assignment"
"""Until the server assigned the job to this worker, and to no other that had accepted it too."""
PROCESS_WAIT: Final = "process_wait"
"""Until the process that was to run the job began to start; nothing if one was idle."""
PROCESS_START: Final = "process_start"
"""Until that process was ready; nothing if one was idle."""
ENTRYPOINT: Final = "entrypoint"
"""From the hand-over to the process until the plan's first step."""
STAGE_PREFIX: Final = f"{DISPATCH}."

# Phases; the dispatch is the first
CONNECT: Final = "connect"
WAIT: Final = "wait"
GREET: Final = "greet"

# How the critical path was found
METHOD: Final = "startup.method"
"""On the root: one of the three below."""
EXACT: Final = "exact"
"""From the declared plan, which says what needed what."""
OBSERVED: Final = "observed"
"""From the event loop, which says what woke what."""
GUESSED: Final = "guessed"
"""From the times of spans alone."""

# Kinds of observed pieces, beside `EVENT_LOOP`
KIND: Final = "startup.kind"
"""On a piece of an observed path: one of `KINDS`."""
COMPUTING: Final = "computing"
TIMER: Final = "timer"
NETWORK: Final = "network"
THREAD: Final = "thread"
CALLER_SOUND: Final = "caller sound"
OUTSIDE: Final = "outside"
KINDS: Final = (COMPUTING, EVENT_LOOP, TIMER, NETWORK, THREAD, CALLER_SOUND, OUTSIDE)
LOOP_IS_HELD: Final = (COMPUTING, EVENT_LOOP)
"""Kinds of pieces in which the event loop waits for nothing: something holds it."""

# OpenTelemetry's source code attributes, on a piece of an observed path: the user's line that waited or computed
FILE: Final = "code.file.path"
"""Relative to the folder of the file that was started, with `/`."""
LINE: Final = "code.line.number"
"""From 1."""
FUNCTION: Final = "code.function.name"
"""Qualified, as `MyAgent.on_enter`."""

BESIDE: Final = "startup.beside"
"""On the root of an observed start: what was made beside the path and needed on it, `begin+length-delay>needed` with blanks between, µs
from the root's begin. The delay is how much of the length is the event loop's."""
UNOBSERVED: Final = "startup.unobserved"
"""On the root of a start that could not be observed to its end: why, in words. Its method is `guessed`."""
INSIDE: Final = "startup.inside"
"""On a piece of an observed path: the qualified name of the library's function that was at work for the line."""

# On the root
OUTCOME: Final = "startup.outcome"
TTFW: Final = "startup.ttfw"
DURATION: Final = "startup.duration"
SLOW: Final = "startup.slow"
DISPATCH_KIND: Final = "startup.dispatch"
CRITICAL_TASK: Final = "startup.critical_task"
FLAG_PREFIX: Final = "startup.flag."
FALLBACKS: Final = "startup.fallbacks"
ACCOUNT_RESULT: Final = "startup.account.result"
ACCOUNT_HASH: Final = "startup.account.hash"
CLOCK_SKEW: Final = "startup.clock_skew"
INTERRUPTED: Final = "startup.interrupted"
"""On the root, true, if the job takes up a call whose agent has died."""
CONNECTED_BEFORE: Final = "startup.connected_before"
"""On the root if the agent joined the room by itself before `speak_first`. Seconds until then from the hand-over to the
process or, if LiveKit does not say when that was, from the job's receipt.
"""
DECLARED: Final = "startup.declared"
"""On the root of an observed start that also has a declared plan: the trace id, in hex, of the same start by that plan.
"""
FLAGS_BY: Final = "startup.flags_by"
"""By what the flags of the session were drawn: `account` or `room`. Absent if a profile overrides the flags."""
FLAGS_BY_PROCESS: Final = "startup.flags_by_process"
"""Names, with commas between, of the flags that were drawn by process instead."""

SAMPLING_PERCENT: Final = "startup.sampling.percent"
"""Added by the collector: the percent that it kept of the starts that were neither slow nor failed."""

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
LOOP_HOLDS: Final = "startup.loop_holds"
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
EDGE_DECLARED: Final = "declared"

# LiveKit's own (its room name and participant identity are marked `pii`, so we leave them out)
ROOM_SID: Final = "lk.room_sid"
JOB_ID: Final = "lk.job_id"
AGENT_NAME: Final = "lk.agent_name"
PARTICIPANT_KIND: Final = "lk.participant_kind"
