"""Stands in for LiveKit's native client: takes its requests, sends its events, owns its handles.

All of `livekit.rtc` above it is LiveKit's own code. The other modules of this package register what they answer. A
request that nobody registered (resampler, mixer) goes to the real library, which needs no server for it.

Private to LiveKit, livekit 1.1.21: `rtc._ffi_client` and the messages in `rtc._proto`.
tests/agent/testing/test_livekit.py runs the same tests on this and on a real server.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeVar, cast

from livekit.rtc import _ffi_client as ffi
from livekit.rtc._proto.ffi_pb2 import FfiEvent, FfiRequest, FfiResponse

_FIRST_HANDLE = 1 << 40
"""The real library counts from 1, so a handle says whose it is."""

Fields = dict[str, Any]
_Message = TypeVar("_Message", FfiEvent, FfiResponse)
Done = Callable[..., None]
"""Function that sends the event which ends a request, with these fields."""


class Native:
    """The fake of LiveKit's native client, as `livekit.rtc` sees it between `install` and `remove`."""

    def __init__(self) -> None:
        self.queue: ffi.FfiQueue[FfiEvent] = ffi.FfiQueue()
        self._pid = os.getpid()
        self._ffi_lib = _Library(self)
        self._answers: dict[str, Callable[[Any], Fields | None]] = {}
        self._handles, self._ids = count(_FIRST_HANDLE), count(1)
        self._objects: dict[int, object] = {}
        self._real: ffi.FfiClient | None = None

    # --- who answers

    def answers(self, name: str, answer: Callable[[Any], Fields | None]) -> None:
        """Registers `answer` for requests of this name. It returns the fields of the response, which is sent at once."""
        self._answers[name] = answer

    def performs(self, name: str, perform: Callable[[Any, Done], None], *, event: str | None = None) -> None:
        """Registers `perform` for requests of this name, which are ended later by an event.

        `perform` is given the request and a function that sends that event. event: its name, if it differs from the
        request's.
        """

        def answer(request: Any) -> Fields:
            number = next(self._ids)

            def done(**fields: Any) -> None:
                self.emit(**{event or name: {"async_id": number, **fields}})

            perform(request, done)
            return {"async_id": number}

        self._answers[name] = answer

    def emit(self, **message: Any) -> None:
        """Sends an event with these fields to everybody who listens."""
        self.queue.put(_made(FfiEvent, message))

    # --- handles

    def handle(self, of: object) -> int:
        """Returns a new handle for this object."""
        handle = next(self._handles)
        self._objects[handle] = of
        return handle

    def owned(self, of: object) -> Fields:
        """Returns a new handle for this object in the form that messages have: `{"id": HANDLE}`."""
        return {"id": self.handle(of)}

    def object(self, handle: int) -> Any:
        """Returns the object that a handle stands for. Raises KeyError for a handle that was dropped."""
        return self._objects[handle]

    def drop(self, handle: int) -> bool:
        """Forgets a handle, and calls `dropped` of its object if it has such a method. Returns whether the handle was
        dropped.
        """
        if handle < _FIRST_HANDLE:
            return bool(self._library()._ffi_lib.livekit_ffi_drop_handle(ctypes.c_uint64(handle)))  # pyright: ignore[reportPrivateUsage]
        gone = self._objects.pop(handle, None)
        if (dropped := getattr(gone, "dropped", None)) is not None:
            cast("Callable[[], None]", dropped)()
        return True

    # --- as FfiClient

    def request(self, request: FfiRequest) -> FfiResponse:
        """Answers a request of LiveKit's Python: by what is registered, else by the real native library."""
        name = request.WhichOneof("message") or ""
        if name not in self._answers:
            return self._library().request(request)
        fields = self._answers[name](getattr(request, name))
        return _made(FfiResponse, {name: fields or {}})

    def install(self) -> None:
        """Takes the place of LiveKit's native client."""
        before = ffi.FfiClient._instance  # pyright: ignore[reportPrivateUsage]
        self._real = None if isinstance(before, _Unneeded) else before
        ffi.FfiClient._instance = cast("ffi.FfiClient", self)  # pyright: ignore[reportPrivateUsage]

    def remove(self) -> None:
        """Gives the place back to LiveKit's native client. Handles of ours that somebody still holds are not dropped
        any more.
        """
        ffi.FfiClient._instance = self._real or cast("ffi.FfiClient", _Unneeded())  # pyright: ignore[reportPrivateUsage]
        for held in _held():
            if held.handle >= _FIRST_HANDLE:
                held.mark_consumed()

    def _library(self) -> ffi.FfiClient:
        if self._real is None:
            self._real = ffi.FfiClient()
        return self._real


def _held() -> list[ffi.FfiHandle]:
    """The handles that somebody still holds. livekit 1.1.21 lists them; before that only the garbage collector knows."""
    listed: Iterable[ffi.FfiHandle] | None = getattr(ffi, "_live_handles", None)
    if listed is not None:
        return list(listed)
    return [each for each in gc.get_objects() if type(each) is ffi.FfiHandle]


def _made(message: type[_Message], fields: Fields) -> _Message:
    """A message of these fields; nested ones may be plain dictionaries, which its type stubs don't say."""
    return cast("Any", message)(**fields)


class _Library:
    """The one function of the native library that is called past the client."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def livekit_ffi_drop_handle(self, handle: ctypes.c_uint64) -> bool:
        return self._native.drop(handle.value)


class _Unneeded:
    """Takes the place of a native client that nobody has needed yet. When a fake's rooms are garbage collected they unsubscribe here, and
    no client starts. Whoever subscribes or asks starts one.
    """

    _ffi_disposed = False

    @property
    def queue(self) -> _Unneeded:
        return self

    def unsubscribe(self, queue: object) -> None:
        """Nobody has subscribed."""

    def subscribe(self, *arguments: Any, **options: Any) -> Any:
        return _started().queue.subscribe(*arguments, **options)

    def request(self, request: FfiRequest) -> FfiResponse:
        return _started().request(request)


def _started() -> ffi.FfiClient:
    ffi.FfiClient._instance = None  # pyright: ignore[reportPrivateUsage]
    return ffi.FfiClient.instance


class Buffer:
    """Bytes in memory at a fixed address, for as long as their handle is held."""

    def __init__(self, data: bytes) -> None:
        self._data = ctypes.create_string_buffer(data, max(len(data), 1))
        self.size = len(data)

    @property
    def address(self) -> int:
        """Returns the address of the bytes in memory."""
        return ctypes.addressof(self._data)


def read(address: int, size: int) -> bytes:
    """Returns `size` bytes at an address in memory that LiveKit's Python handed over."""
    return ctypes.string_at(address, size) if size else b""
