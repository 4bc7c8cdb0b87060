"""Lists the attributes of LiveKit's that may leave the process: an allow-list, so that a new one is a decision.

For `firstword.telemetry.redaction`. LiveKit marks what is personal with `pii`, but not all of it: identities in RPC
spans, and whatever a telephone's carrier puts into `sip.*`. livekit-agents 1.8.9; tests/telemetry/test_redaction.py
holds the list against LiveKit's own.
"""

from __future__ import annotations

import re
from typing import Final

PREFIX: Final = "lk."
"""Prefix of the attributes that LiveKit names itself."""
KEPT: Final = frozenset(
    {
        "lk.decision_error_count",
        "lk.agent_label",
        "lk.agent_name",
        "lk.amd.category",
        "lk.amd.delay",
        "lk.amd.speech_duration",
        "lk.blocking.count",
        "lk.blocking.cpu_time",
        "lk.blocking.duration",
        "lk.blocking.gc_time",
        "lk.blocking.import",
        "lk.blocking.max_duration",
        "lk.blocking.severity",
        "lk.blocking.stack",
        "lk.blocking.suppressed",
        "lk.blocking.task",
        "lk.blocking.threshold",
        "lk.blocking.total_duration",
        "lk.callback.name",
        "lk.close.drain",
        "lk.close_reason",
        "lk.cloud_agent_id",
        "lk.connection_state",
        "lk.deployment_id",
        "lk.disconnect_reason",
        "lk.dispatch_id",
        "lk.e2e_latency",
        "lk.end_of_turn_delay",
        "lk.eou.detection_delay",
        "lk.eou.endpointing_delay",
        "lk.eou.from_cache",
        "lk.eou.language",
        "lk.eou.not_committed_count",
        "lk.eou.outcome",
        "lk.eou.probability",
        "lk.eou.rearm_count",
        "lk.eou.resume_count",
        "lk.eou.source",
        "lk.eou.unlikely_threshold",
        "lk.eou.wait_duration",
        "lk.fallback.index",
        "lk.fallback.label",
        "lk.fallback.recovery",
        "lk.first_frame_delay",
        "lk.function_tool.id",
        "lk.function_tool.is_error",
        "lk.function_tool.name",
        "lk.function_tools",
        "lk.generation_count",
        "lk.generation_id",
        "lk.input.base_span_id",
        "lk.input.delta",
        "lk.input.dropped_from_base",
        "lk.interrupted",
        "lk.interruption.detection_delay",
        "lk.interruption.prediction_duration",
        "lk.interruption.probability",
        "lk.interruption.source",
        "lk.interruption.total_duration",
        "lk.is_interruption",
        "lk.job.accept_latency",
        "lk.job.agent_id",
        "lk.job.assignment_latency",
        "lk.job.dispatch_latency",
        "lk.job.entrypoint_latency",
        "lk.job.launch_latency",
        "lk.job.worker_id",
        "lk.job_id",
        "lk.keyterms.added",
        "lk.keyterms.count",
        "lk.keyterms.removed",
        "lk.llm_metrics",
        "lk.new_state",
        "lk.old_state",
        "lk.on_user_turn_completed_delay",
        "lk.parent_generation_id",
        "lk.participant_id",
        "lk.participant_kind",
        "lk.playout.position",
        "lk.pre_connect_audio.duration",
        "lk.previous_agent_label",
        "lk.provider_request_ids",
        "lk.provider_tools",
        "lk.realtime_model_metrics",
        "lk.response.ttfb",
        "lk.response.ttft",
        "lk.retry_count",
        "lk.room.auto_subscribe",
        "lk.room.e2ee",
        "lk.room.remote_participant_count",
        "lk.room_io.participant_filter",
        "lk.room_sid",
        "lk.rpc.error_code",
        "lk.rpc.handler_registered",
        "lk.rpc.payload_size",
        "lk.rpc.response_size",
        "lk.rpc.response_timeout",
        "lk.shutdown.reason",
        "lk.shutdown.user_initiated",
        "lk.speech.queue_wait",
        "lk.speech_id",
        "lk.stt.events",
        "lk.tool_sets",
        "lk.track_sid",
        "lk.track_source",
        "lk.transcript_confidence",
        "lk.transcription_delay",
        "lk.tts.label",
        "lk.tts.streaming",
        "lk.tts_metrics",
    }
)
"""Numbers, words of LiveKit's or of the worker's code, and ids that LiveKit gives."""
KEPT_IDS: Final = frozenset({"lk.sip.callID", "lk.sip.ruleID", "lk.sip.trunkID"})
"""Ids that join with a telephone's trace. The SIP service writes them, and a token may: kept only if they look like
LiveKit's ids.
"""
LIVEKIT_ID: Final = re.compile(r"[A-Z]{2,3}_[A-Za-z0-9]{8,24}")


def kept(key: str, value: object) -> bool:
    """Returns whether an attribute that LiveKit wrote may leave the process, because it is on our list of those that
    hold nothing personal.
    """
    if key in KEPT_IDS:
        return isinstance(value, str) and LIVEKIT_ID.fullmatch(value) is not None
    return key in KEPT or not key.startswith(PREFIX)
