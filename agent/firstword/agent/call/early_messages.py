"""Keeps what participants send before anybody listens, and hands it over in order once its handler is registered.

Between the connect and LiveKit's session, which registers its handlers when it starts. The agent is active before that,
and a client sends a stream or calls a method once. Keys and data packets are room events
(`firstword.agent.conversation.events`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

from livekit import rtc

logger = logging.getLogger("firstword")

SESSION_TOPICS = ("lk.chat", "lk.agent.session")
"""Topics of the streams that LiveKit's session itself takes (livekit-agents 1.8.9)."""

MOST_KEPT = 100
"""Most streams that are kept of one topic. Later ones are dropped."""

_Handler = Callable[[Any, str], object]


class _Register(Protocol):
    def __call__(self, topic: str, handler: Any) -> None: ...


class EarlyMessages:
    """Keeps streams of some topics and calls of some RPC methods until each has a handler.

    A handler is registered later with the room's own methods, and first gets what was kept. LiveKit's session registers
    its handlers before it can answer: streams on `SESSION_TOPICS` wait until `session_runs`.
    """

    def __init__(self, topics: Collection[str], methods: Collection[str]) -> None:
        self._topics = (*SESSION_TOPICS, *topics)
        self._methods = methods
        self._waiting: list[Callable[[], None]] | None = []
        """What hands over the streams that wait for the session; None once it runs."""

    def keep_streams(self, room: rtc.Room) -> None:
        """Begins to keep byte and text streams of the topics that have no handler yet. Call this before the connect."""
        room.register_byte_stream_handler = self._kept_until_registered(
            room.register_byte_stream_handler, room.unregister_byte_stream_handler
        )
        room.register_text_stream_handler = self._kept_until_registered(
            room.register_text_stream_handler, room.unregister_text_stream_handler
        )

    def session_runs(self) -> None:
        """Hands the streams that were kept for LiveKit's session to its handlers. Call this once the session can
        answer.
        """
        waiting, self._waiting = self._waiting or [], None
        for hand_over in waiting:
            hand_over()

    def keep_calls(self, participant: rtc.LocalParticipant) -> None:
        """Begins to keep calls of the methods. Call this right after the connect: LiveKit takes no method before it."""
        register = participant.register_rpc_method
        handlers: dict[str, asyncio.Future[Callable[[rtc.RpcInvocationData], Any]]] = {}

        def registered(method_name: str, handler: Any = None) -> Any:
            if handler is None:  # used as a decorator
                return lambda function: registered(method_name, function)  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]
            register(method_name, handler)
            if (waiting := handlers.pop(method_name, None)) is not None:
                waiting.set_result(handler)
            return handler

        for method in self._methods:
            handlers[method] = asyncio.get_running_loop().create_future()
            register(method, _answer_later(handlers[method]))
        participant.register_rpc_method = registered

    def _kept_until_registered(self, register: _Register, unregister: Callable[[str], None]) -> _Register:
        """Keeps the streams of the topics; returns what takes the place of `register`."""
        kept: dict[str, list[tuple[Any, str]]] = {topic: [] for topic in self._topics}

        def keep(topic: str) -> _Handler:
            def take(reader: Any, identity: str) -> None:
                if len(kept[topic]) < MOST_KEPT:
                    kept[topic].append((reader, identity))
                else:
                    logger.warning("a stream of %s is dropped: %d came before its handler", topic, MOST_KEPT)

            return take

        def registered(topic: str, handler: _Handler) -> None:
            def hand_over() -> None:
                unregister(topic)
                register(topic, handler)
                for reader, identity in kept.pop(topic):
                    handler(reader, identity)

            if topic not in kept:
                register(topic, handler)
            elif topic in SESSION_TOPICS and self._waiting is not None:
                self._waiting.append(hand_over)
            else:
                hand_over()

        for topic in self._topics:
            try:
                register(topic, keep(topic))
            except ValueError:  # it has its handler already
                del kept[topic]
        return registered


def _answer_later(
    handler: asyncio.Future[Callable[[rtc.RpcInvocationData], Any]],
) -> Callable[[rtc.RpcInvocationData], Any]:
    async def answer(call: rtc.RpcInvocationData) -> str | None:
        try:
            async with asyncio.timeout(call.response_timeout):
                found = await asyncio.shield(handler)
        except TimeoutError:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, "no handler was registered in time") from None
        answered = found(call)
        return await answered if asyncio.iscoroutine(answered) else answered

    return answer
