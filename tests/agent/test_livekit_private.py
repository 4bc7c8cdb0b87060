"""What we take from LiveKit unpublished: fails here, by name, when an upgrade moves it."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
from functools import partial

import pytest
from livekit import local_inference
from livekit.agents import AgentServer
from livekit.agents.ipc import supervised_proc
from livekit.agents.log import logger
from livekit.rtc._ffi_client import FfiClient

from firstword.agent import livekit_private
from firstword.agent.livekit_private import noise_cancellation, start_native_runtime


def test_the_turn_detector_is_not_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit loads it unless told not to; what the shell says stays."""
    loaded: list[str] = []
    for name in ("vad", "eot"):
        monkeypatch.setattr(local_inference, f"init_{name}", partial(loaded.append, name))
    variable = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"
    monkeypatch.setenv(variable, "1")
    livekit_private.preload_no_turn_detector()
    assert os.environ[variable] == "1"
    monkeypatch.delenv(variable)
    preload = importlib.reload(importlib.import_module("livekit.agents.ipc._preload"))
    assert loaded[-2:] == ["vad", "eot"]
    loaded.clear()
    livekit_private.preload_no_turn_detector()
    importlib.reload(preload)
    assert not loaded


def test_start_native_runtime() -> None:
    """It makes the one native client of the process; a second call makes no other."""
    start_native_runtime()
    made = FfiClient._instance  # pyright: ignore[reportPrivateUsage]
    assert made is not None
    start_native_runtime()
    assert FfiClient.instance is made


def test_noise_cancellation_is_an_extra() -> None:
    """Without the extra it says so by ImportError, when it is asked for and not before."""
    with pytest.raises(ImportError):
        noise_cancellation()


def test_a_lost_connection_is_left_to_who_catches_it(caplog: pytest.LogCaptureFixture) -> None:
    """LiveKit's logger says nothing of it inside the block, all else there, and all of it afterwards."""

    def fail(text: str) -> None:
        try:
            raise RuntimeError(text)
        except RuntimeError:
            logger.exception("worker failed")

    caplog.set_level(logging.ERROR, logger.name)
    with livekit_private.lost_connection_unlogged():
        fail("failed to connect to livekit after 16 attempts")
        assert not caplog.records
        fail("worker is already running")
        assert len(caplog.records) == 1
    fail("failed to connect to livekit after 16 attempts")
    assert len(caplog.records) == 2


def test_a_worker_registers_in_a_task_of_its_own() -> None:
    """Ours has it wait: under another name it would not."""
    assert inspect.iscoroutinefunction(AgentServer._connection_task)  # pyright: ignore[reportPrivateUsage]


def test_a_process_is_started_under_a_mask_of_livekits() -> None:
    """Ours takes its place: under another name the worker would be deaf to Ctrl-C again."""
    assert inspect.isgeneratorfunction(inspect.unwrap(supervised_proc._mask_ctrl_c))  # pyright: ignore[reportPrivateUsage]
    assert "with _mask_ctrl_c():" in inspect.getsource(supervised_proc.SupervisedProc)


def test_each_name_has_its_reason() -> None:
    """Each function says what it takes and from where."""
    for name, function in inspect.getmembers(livekit_private, inspect.isfunction):
        if function.__module__ == livekit_private.__name__:
            assert inspect.getdoc(function), name
