"""Events that come before their handlers."""

from __future__ import annotations

import pytest
from livekit import rtc

from firstword.agent.conversation import events as module
from firstword.agent.conversation.events import Events


def _watched(*names: str) -> tuple[Events, rtc.EventEmitter[str]]:
    events, emitter = Events(), rtc.EventEmitter[str]()
    events.watch(emitter, names)
    return events, emitter


def test_replay_in_order() -> None:
    """What happened before the handlers came is handed to them first, in order, then what happens; nothing twice."""
    events, emitter = _watched("item", "key")
    got: list[tuple[str, int]] = []
    emitter.emit("key", 1)
    emitter.emit("item", 2)
    emitter.emit("key", 3)

    def item(number: int) -> None:
        got.append(("item", number))

    def key(number: int) -> None:
        got.append(("key", number))

    events.deliver_to({"item": item, "key": key})
    emitter.emit("item", 4)
    assert got == [("key", 1), ("item", 2), ("key", 3), ("item", 4)]


def test_event_during_replay() -> None:
    """An event that a handler causes while old ones are replayed comes after them."""
    events, emitter = _watched("item")
    got: list[int] = []

    def handler(number: int) -> None:
        if number == 1:
            emitter.emit("item", 3)
        got.append(number)

    emitter.emit("item", 1)
    emitter.emit("item", 2)
    events.deliver_to({"item": handler})
    assert got == [1, 2, 3]


def test_failing_handler(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails is logged and costs nobody else an event."""
    events, emitter = _watched("item")
    got: list[int] = []

    def handler(number: int) -> None:
        if number == 1:
            raise ValueError
        got.append(number)

    emitter.emit("item", 1)
    emitter.emit("item", 2)
    events.deliver_to({"item": handler})
    emitter.emit("item", 1)
    emitter.emit("item", 3)
    assert got == [2, 3]
    assert [record.message for record in caplog.records] == ["the handler of item failed"] * 2


def test_event_without_handler() -> None:
    """An event that nobody handles is no error, before and after."""
    events, emitter = _watched("item")
    emitter.emit("item", 1)
    events.deliver_to({})
    emitter.emit("item", 2)


def test_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Only so many events are kept: the oldest, and one warning says so."""
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    events, emitter = _watched("item")
    for number in range(5):
        emitter.emit("item", number)
    got: list[int] = []
    events.deliver_to({"item": got.append})
    assert got == [0, 1]
    assert len(caplog.records) == 1


def test_handlers_once() -> None:
    """The handlers come once."""
    events, _ = _watched("item")
    events.deliver_to({})
    with pytest.raises(RuntimeError, match="already"):
        events.deliver_to({})


def test_what_is_only_counted_is_not_kept() -> None:
    """A participant may send packets of 15 KB as fast as the network takes them."""
    events, emitter = Events(), rtc.EventEmitter[str]()
    events.count(emitter, ["data"])
    for _ in range(5_000):
        emitter.emit("data", bytes(15_000))
    assert events.counts == {"data": 5_000}
