"""Answers requests to send something besides sound: data, keys pressed, transcripts, texts, bytes, RPC calls."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc

from firstword.agent.testing.agenda import later
from firstword.agent.testing.native import Buffer, Done, Fields, Native, read
from firstword.agent.testing.participant import Participant
from firstword.agent.testing.room import Delays

_LOST = "room disconnected while the stream was open"


@dataclass(eq=False)
class _Reader:
    """A stream at one receiver: what has come before it reads is kept."""

    send: Callable[[Fields], None]
    reading: bool = False
    kept: list[Fields] = field(default_factory=list[Fields])

    def take(self, detail: Fields) -> None:
        if self.reading:
            self.send(detail)
        else:
            self.kept.append(detail)

    def read(self) -> None:
        self.reading = True
        for detail in self.kept:
            self.send(detail)
        self.kept.clear()


@dataclass(eq=False)
class _Writer:
    """A stream at its sender."""

    sender: Participant
    readers: list[_Reader]
    delays: Delays

    def write(self, content: str | bytes) -> None:
        self._later({"chunk_received": {"content": content}})

    def close(self, attributes: dict[str, str], error: str | None = None) -> None:
        eos: Fields = {"attributes": attributes}
        self._later({"eos": eos if error is None else {**eos, "error": {"description": error}}})

    def _later(self, detail: Fields) -> None:
        for reader in self.readers:
            later(self.delays.message, lambda reader=reader: reader.take(detail))


@dataclass(eq=False)
class _Call:
    """An RPC that goes on."""

    done: Done
    over: bool = False

    def end(self, **fields: Any) -> None:
        if not self.over:
            self.over = True
            self.done(**fields)


def _receivers(sender: Participant, identities: Iterable[str]) -> list[Participant]:
    """Who a message of theirs is for: those of these identities, or everybody else."""
    wanted = set(identities)
    others = [each for each in sender.room.participants.values() if each is not sender]
    return [each for each in others if not wanted or each.identity in wanted]


def register(native: Native, delays: Delays) -> None:
    """Registers the answers to requests that send messages with the fake native client."""
    _register_packets(native, delays)
    _register_streams(native, delays)
    _register_calls(native, delays)


def _register_packets(native: Native, delays: Delays) -> None:
    def send(request: Any, identities: Iterable[str], done: Done, message: Callable[[], Fields]) -> None:
        sender: Participant = native.object(request.local_participant_handle)
        if sender.info.permission.can_publish_data:
            for receiver in _receivers(sender, identities):
                packet = {"participant_identity": sender.identity, **message()}
                later(delays.message, lambda receiver=receiver, packet=packet: receiver.event(**_as_event(packet)))
        done()

    def _as_event(packet: Fields) -> Fields:
        return {"transcription_received": packet} if "segments" in packet else {"data_packet_received": packet}

    def data(request: Any, done: Done) -> None:
        content = read(request.data_ptr, request.data_len)
        kind = rtc.DataPacketKind.KIND_RELIABLE if request.reliable else rtc.DataPacketKind.KIND_LOSSY

        def message() -> Fields:
            buffer = Buffer(content)
            owned = {
                "handle": native.owned(buffer),
                "data": {"data_ptr": buffer.address, "data_len": buffer.size},
            }
            return {"kind": kind, "user": {"data": owned, "topic": request.topic}}

        send(request, request.destination_identities, done, message)

    def dtmf(request: Any, done: Done) -> None:
        key = {"code": request.code, "digit": request.digit}
        identities = request.destination_identities
        send(request, identities, done, lambda: {"kind": rtc.DataPacketKind.KIND_RELIABLE, "sip_dtmf": key})

    def transcription(request: Any, done: Done) -> None:
        message = {"track_sid": request.track_id, "segments": list(request.segments)}
        send(request, (), done, lambda: {**message, "participant_identity": request.participant_identity})

    native.performs("publish_data", data)
    native.performs("publish_sip_dtmf", dtmf)
    native.performs("publish_transcription", transcription)


def _register_streams(native: Native, delays: Delays) -> None:
    def open_stream(kind: str, request: Any, length: int | None, **more: Any) -> tuple[_Writer, Fields]:
        options, sender = request.options, native.object(request.local_participant_handle)
        info: Fields = {
            "stream_id": options.id or secrets.token_hex(8),
            "timestamp": round(time.time() * 1e3),
            "topic": options.topic,
            "attributes": options.attributes,
            **more,
        }
        if length is not None:
            info["total_length"] = length
        readers: list[_Reader] = []
        for receiver in _receivers(sender, options.destination_identities):
            reader, handle = _reader(kind)
            readers.append(reader)
            opened = {"reader": {"handle": {"id": handle}, "info": info}, "participant_identity": sender.identity}
            later(
                delays.message,
                lambda receiver=receiver, opened=opened: receiver.event(**{f"{kind}_stream_opened": opened}),
            )
        return _Writer(sender, readers, delays), info

    def _reader(kind: str) -> tuple[_Reader, int]:
        reader = _Reader(send=lambda _: None)
        handle = native.handle(reader)
        reader.send = lambda detail: native.emit(**{f"{kind}_stream_reader_event": {"reader_handle": handle, **detail}})
        return reader, handle

    def send_whole(kind: str, request: Any, content: str | bytes, done: Done, **more: Any) -> None:
        length = len(content.encode() if isinstance(content, str) else content)
        writer, info = open_stream(kind, request, length, **more)
        writer.write(content)
        writer.close({})
        later(delays.message, lambda: done(info=info))

    def as_text(request: Any) -> Fields:
        return {"mime_type": "text/plain", "reply_to_stream_id": request.options.reply_to_stream_id}

    def as_bytes(request: Any) -> Fields:
        mime_type = request.options.mime_type or "application/octet-stream"
        return {"mime_type": mime_type, "name": request.options.name or "unknown"}

    def opened(kind: str, more: Callable[[Any], Fields]) -> Callable[[Any, Done], None]:
        def begin(request: Any, done: Done) -> None:
            length = request.options.total_length or None if kind == "byte" else None
            writer, info = open_stream(kind, request, length, **more(request))
            later(delays.message, lambda: done(writer={"handle": native.owned(writer), "info": info}))

        return begin

    def write(what: str) -> Callable[[Any, Done], None]:
        def written(request: Any, done: Done) -> None:
            writer: _Writer = native.object(request.writer_handle)
            if writer.sender.left:
                done(error={"description": _LOST})
                return
            writer.write(getattr(request, what))
            later(delays.message, done)

        return written

    def close(request: Any, done: Done) -> None:
        native.object(request.writer_handle).close(dict(request.attributes))
        later(delays.message, done)

    def read_on(request: Any) -> None:
        native.object(request.reader_handle).read()

    native.performs(
        "send_text", lambda request, done: send_whole("text", request, request.text, done, **as_text(request))
    )
    native.performs(
        "send_bytes", lambda request, done: send_whole("byte", request, request.bytes, done, **as_bytes(request))
    )
    for kind, what, more in (("text", "text", as_text), ("byte", "bytes", as_bytes)):
        native.performs(f"{kind}_stream_open", opened(kind, more))
        native.performs(f"{kind}_stream_write", write(what), event=f"{kind}_stream_writer_write")
        native.performs(f"{kind}_stream_close", close, event=f"{kind}_stream_writer_close")
        native.answers(f"{kind}_read_incremental", read_on)


def _register_calls(native: Native, delays: Delays) -> None:
    def call(request: Any, done: Done) -> None:
        caller: Participant = native.object(request.local_participant_handle)
        pending = _Call(done)
        callee = caller.room.participants.get(request.destination_identity)
        timeout = (request.response_timeout_ms or 15_000) / 1e3
        if callee is None:
            patience = request.max_round_trip_latency_ms / 1e3 or delays.rpc_answers
            later(patience, lambda: pending.end(error=_error(rtc.RpcError.ErrorCode.CONNECTION_TIMEOUT)))
            return
        invocation = {
            "local_participant_handle": callee.handle,
            "invocation_id": native.handle(pending),
            "method": request.method,
            "request_id": secrets.token_hex(8),
            "caller_identity": caller.identity,
            "payload": request.payload,
            "response_timeout_ms": round(timeout * 1e3),
        }
        later(delays.message, lambda: native.emit(rpc_method_invocation=invocation))
        later(timeout, lambda: pending.end(error=_error(rtc.RpcError.ErrorCode.RESPONSE_TIMEOUT)))

    def respond(request: Any) -> None:
        pending: _Call = native.object(request.invocation_id)
        answer = {"error": request.error} if request.HasField("error") else {"payload": request.payload}
        later(delays.message, lambda: pending.end(**answer))

    native.performs("perform_rpc", call)
    native.answers("register_rpc_method", lambda _: None)
    native.answers("unregister_rpc_method", lambda _: None)
    native.answers("rpc_method_invocation_response", respond)


def _error(code: int) -> Any:
    return rtc.RpcError._built_in(rtc.RpcError.ErrorCode(code))._to_proto()  # pyright: ignore[reportPrivateUsage]
