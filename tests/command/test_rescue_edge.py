"""firstword.command.rescuer.livekit_rooms: what it makes of what LiveKit's API says, or does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from livekit import api
from livekit.protocol.agent import JobType

from firstword.command.rescuer.livekit_rooms import Answer, LiveKitError, LiveKitRooms, open_rooms

KIND = api.ParticipantInfo.Kind
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def rooms_of(handler: Handler) -> AsyncGenerator[LiveKitRooms]:
    """The rooms of a server that answers so."""
    app = web.Application()
    app.router.add_post("/twirp/{service}/{method}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with open_rooms(f"http://127.0.0.1:{runner.addresses[0][1]}", "key", "s" * 32) as rooms:
            yield rooms
    finally:
        await runner.cleanup()


def says(message: Any) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=message.SerializeToString(), content_type="application/protobuf")

    return answer


def fails(status: int, code: str, words: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"code": code, "msg": f"twirp error unknown: {words}"}, status=status)

    return answer


@pytest.mark.parametrize(
    ("status", "code", "words", "answer"),
    [
        (400, "invalid_argument", "RpcError 1400: Method not supported at destination", Answer.ALIVE),
        (408, "canceled", "RpcError 1501: Connection timeout", Answer.SILENT),
        (408, "canceled", "RpcError 1502: Response timeout", Answer.SILENT),
        (500, "internal", "transport failure", Answer.SILENT),
        (500, "internal", "data channel is not available", Answer.JOINING),
        (404, "not_found", "participant does not exist", Answer.ABSENT),
        (500, "internal", "something new", Answer.UNKNOWN),
    ],
)
async def test_what_the_server_says_of_an_agent(status: int, code: str, words: str, answer: Answer) -> None:
    """In the words of livekit-server 1.11.0."""
    async with rooms_of(fails(status, code, words)) as rooms:
        assert await rooms.answer("room", "agent") is answer


async def test_a_server_without_rpc_is_asked_once() -> None:
    asked: list[str] = []

    async def unknown(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"code": "bad_route", "msg": ""}, status=404)

    async with rooms_of(unknown) as rooms:
        assert [await rooms.answer("room", "agent") for _ in range(3)] == [Answer.UNKNOWN] * 3
    assert asked == ["/twirp/livekit.RoomService/PerformRpc"]


async def test_a_silence_that_is_told_late_is_the_servers() -> None:
    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(2.1)
        return web.json_response({"code": "canceled", "msg": "RpcError 1501"}, status=408)

    async with rooms_of(late) as rooms:
        assert await rooms.answer("room", "agent") is Answer.UNKNOWN


@pytest.mark.parametrize(("status", "refused"), [(401, True), (403, True), (500, False), (404, False)])
async def test_a_server_that_refuses(status: int, refused: bool) -> None:
    """Nothing of a room's name, which LiveKit may repeat, is in the message."""
    async with rooms_of(fails(status, "unauthenticated", "room +49 30 1234567")) as rooms:
        with pytest.raises(LiveKitError) as raised:
            await rooms.rooms()
    assert raised.value.refused == refused
    assert "1234567" not in str(raised.value)


async def test_a_server_that_is_away() -> None:
    async with open_rooms("http://127.0.0.1:9", "key", "s" * 32) as rooms:
        with pytest.raises(LiveKitError, match="possible cause: it is down"):
            await rooms.rooms()
        assert await rooms.answer("room", "agent") is Answer.UNKNOWN
        with pytest.raises(LiveKitError):
            await rooms.delete("room", "AD_1")


async def test_what_is_gone_is_deleted() -> None:
    async with rooms_of(fails(404, "not_found", "")) as rooms:
        await rooms.delete("room", "AD_1")
        await rooms.remove("room", "agent")


async def test_who_is_a_caller_and_who_an_agent() -> None:
    """As firstword.agent.call.role has it; and nobody's attributes make an agent of them."""
    claims = {"firstword.claim": "token", "firstword.rescue": "x", "lk.agent.state": "failed"}
    info = api.ParticipantInfo
    people = [
        info(identity="web", attributes=claims),
        info(identity="telephone", kind=KIND.SIP, attributes={"sip.callStatus": "active"}),
        info(identity="ringing", kind=KIND.SIP, attributes={"sip.callStatus": "ringing"}),
        info(identity="listener", permission=api.ParticipantPermission(can_publish=False)),
        info(identity="recorder", kind=KIND.EGRESS),
        info(identity="hidden", permission=api.ParticipantPermission(can_publish=True, hidden=True)),
        info(identity="agent", kind=KIND.AGENT),
        info(identity="avatar", kind=KIND.AGENT, attributes={"lk.publish_on_behalf": "agent"}),
        info(identity="gone", state=info.State.DISCONNECTED),
    ]
    async with rooms_of(says(api.ListParticipantsResponse(participants=people))) as rooms:
        found = await rooms.participants("room")
    assert [each.identity for each in found if each.caller] == ["web", "telephone"]
    assert [each.identity for each in found if each.agent] == ["agent"]
    assert [each.claim for each in found if each.claim] == ["token"]
    assert "gone" not in [each.identity for each in found]


async def test_dispatches_are_oldest_first_and_of_the_room() -> None:
    """Not those that were deleted, and no job of one participant."""
    new, old = api.AgentDispatch(id="AD_new", agent_name="a"), api.AgentDispatch(id="AD_old", metadata="{}")
    new.state.created_at, old.state.created_at = 2_000_000_000, 1_000_000_000
    for kind, identity in ((JobType.JT_ROOM, "agent"), (JobType.JT_PUBLISHER, "listener")):
        new.state.jobs.add(type=kind).state.participant_identity = identity
    deleted = api.AgentDispatch(id="AD_deleted")
    deleted.state.deleted_at = 1
    async with rooms_of(says(api.ListAgentDispatchResponse(agent_dispatches=[new, deleted, old]))) as rooms:
        found = await rooms.dispatches("room")
    assert [(each.id, each.created, each.agents) for each in found] == [
        ("AD_old", 1.0, ()),
        ("AD_new", 2.0, ("agent",)),
    ]
