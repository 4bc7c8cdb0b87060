"""Runs one job of the shipped worker: one call, from the job to the point where LiveKit's session goes on by itself.

The one module that knows both the plan and the call: it draws the flags, shapes the plan, makes run and call, and
performs them.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields
from functools import partial

from livekit.agents import JobContext

from firstword.agent import livekit_private, startup
from firstword.agent.account_call import account_ending
from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.account_call.identification import identify, link_sender, note_account
from firstword.agent.account_call.session_options import audio_input
from firstword.agent.accounts.identity import Identity, Trust, job_identity
from firstword.agent.call import console, ending
from firstword.agent.call_settings import CallSettings
from firstword.agent.dispatch_end import delete_dispatch_at_end
from firstword.agent.flags.assignment import Assignment, draw_session
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.interruption import is_interrupted
from firstword.agent.process.job_process import Process
from firstword.agent.process.log_redaction import REDACTION
from firstword.agent.settings import Settings, account_sources
from firstword.agent.unheard import Unheard
from firstword.telemetry.clock import Clock, session_clock
from firstword.telemetry.livekit import start_of
from firstword.telemetry.vocabulary import FLAG_EVENT, INTERRUPTED

AFTERWARDS_S = 10.0
"""Seconds for tasks that begin after the first word and need no provider. A start that never ends would never be
exported.
"""
SPOKEN_S = 60.0
"""Seconds for writing and synthesising greetings for later calls."""


async def conduct(job: JobContext, process: Process, *, clock: Clock | None = None) -> None:
    """Runs one call: connects, greets the caller, and leaves the session to LiveKit. Otherwise ends the job, with the
    reason on its trace.

    clock: the run's, for tests; by default a new one of this session. If it is cancelled, the start is exported as
    failed.
    """
    clock = clock or session_clock()
    config, room = process.settings, job.job.room.name
    trust = Trust(account_sources(config.account_sources), config.claim_key, room, now=clock() / 1e9)
    identity = job_identity(job.job.metadata, trust)
    drawn = draw_session(config, process.drawn, identity.account, room)
    flags = _possible(drawn.flags)
    if console.here():
        console.prepare(job)
        flags = Flags(flags.on - {Improvement.LIGHT_CONNECT})
    call = _compose(job, process, trust, identity, flags, clock)
    secret = config.livekit_api_secret.get_secret_value()
    call.interrupted = is_interrupted(job.job.metadata, room, secret, now=trust.now)
    if call.interrupted:
        call.run.attributes[INTERRUPTED] = True
    _introduce(call, drawn)

    async def close(reason: str) -> None:  # LiveKit takes functions and methods only
        await account_ending.close(call, reason)

    call.at_end(process.aclose)
    delete_dispatch_at_end(job)
    job.add_shutdown_callback(close)
    try:
        await ending.perform(call)
    finally:
        account_ending.send_figures(call)


def _compose(
    job: JobContext, process: Process, trust: Trust, identity: Identity, flags: Flags, clock: Clock
) -> AccountCall:
    """The job's call: the plan in the flags' shape, a run of it, and the state that its tasks share."""
    settings = process.settings
    conditions = {**flags.as_conditions(), startup.ACCOUNT_IN_METADATA: identity.account is not None}
    run, trace = start_of(
        job,
        startup.plan.shape(conditions, in_order=Improvement.PARALLEL_INIT not in flags),
        process.exporting,
        given={"process": process, "call": None},
        slow=settings.slow,
        clock=clock,
        deadlines={
            "account": settings.account_deadline,
            "assistant": settings.account_deadline,
            "upgrade": settings.account_deadline,
            "resumption": settings.store_deadline,
            "analytics": settings.store_deadline,
            "session": settings.start_timeout,
            "background_audio": AFTERWARDS_S,
            "metrics": AFTERWARDS_S,
            "greeting_cache": SPOKEN_S,
            "next_greeting": SPOKEN_S,
        },
        flags=flags.variants(),
        join_window=settings.join_window,
    )
    call = AccountCall(
        job=job,
        settings=_call_settings(settings),
        light=Improvement.LIGHT_CONNECT in flags,
        audio_input=audio_input(settings),
        process=process,
        flags=flags,
        identity=identity,
        trust=trust,
        run=run,
        trace=trace,
        unheard=Unheard(job.job.id),
        began=run.clock() / 1e9,
        caller=asyncio.get_running_loop().create_future(),
    )
    call.on_arrival = partial(identify, call)
    run.give("call", call)  # the call knows its run, and the run's tasks take the call
    return call


def _possible(flags: Flags) -> Flags:
    """The flags, without `light-connect` where LiveKit's private audio output or input has moved."""
    return flags if livekit_private.audio_is_known() else Flags(flags.on - {Improvement.LIGHT_CONNECT})


def _call_settings(settings: Settings) -> CallSettings:
    return CallSettings(**{field.name: getattr(settings, field.name) for field in fields(CallSettings)})


def _introduce(call: AccountCall, drawn: Assignment) -> None:
    """Name the call in the log and on its trace: whose it is, who sent it, by what its flags were drawn."""
    REDACTION.hide(call.job.job.room.name, call.identity.account)
    trace_id = f"{call.trace.context.trace_id:032x}"
    call.job.log_context_fields = {**call.job.log_context_fields, "trace_id": trace_id}
    call.run.attributes.update(drawn.attributes)
    note_account(call, call.identity)
    link_sender(call, call.identity)
    for event in drawn.events:
        call.run.event(FLAG_EVENT, event)
