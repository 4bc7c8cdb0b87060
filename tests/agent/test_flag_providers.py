"""firstword.agent.flags.flag_source with another provider: any can be named, and one without an answer is waited for no longer than the deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import FeatureProvider
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from firstword.agent.flags.flag_source import Evaluation, FlagSourceError, MakeProvider, other_provider
from tests.agent.flag_files import FILE, Place, drawn
from tests.agent.flag_files import place as place
from tests.agent.flag_files import said as said


def memory() -> FeatureProvider:
    """As a factory in a user's module makes one."""
    variants = {"on": True, "off": False}
    return InMemoryProvider(
        {"parallel-init": InMemoryFlag("off", variants), "component-pool": InMemoryFlag("on", variants)}
    )


over = threading.Event()
"""The test is over: what hangs may end."""


@pytest.fixture(autouse=True)
def hanging() -> Iterator[None]:
    over.clear()
    yield
    over.set()


class Hangs(InMemoryProvider):
    """A provider that answers too late."""

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        over.wait(60)
        return FlagResolutionDetails(default_value)


class Fails(InMemoryProvider):
    """A provider that has no answer."""

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        raise GeneralError("no connection")


def hangs_at_its_start() -> FeatureProvider:
    over.wait(60)
    return memory()


def fails_at_its_start() -> FeatureProvider:
    raise OSError("no route")


def test_any_provider_can_be_named(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """By module and factory; the file is then not read."""
    place.file.write_text("{")
    made = other_provider(f"{__name__}:memory")
    assert made is memory
    source = place.source(provider=made)
    assert source.draw_process() == (Evaluation("component-pool", True, "static", "In-Memory Provider"),)
    assert drawn(source) == {"parallel-init": False, "deferred-setup": False}
    assert source.possible() == {"component-pool"}


@pytest.mark.parametrize(("reason", "possible"), [("STATIC", False), ("TARGETING_MATCH", True), ("SPLIT", True)])
def test_another_provider_says_by_its_reason_what_is_possible(place: Place, reason: str, possible: bool) -> None:
    """Off for this process is on for another, unless the answer is the same for all."""

    class Splits(InMemoryProvider):
        def resolve_boolean_details(
            self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
        ) -> FlagResolutionDetails[bool]:
            return FlagResolutionDetails(False, reason=reason)

    assert bool(place.source(provider=lambda: Splits({})).possible()) == possible


def test_flagd_s_own_resolvers_are_chosen_by_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rpc` and `in-process` are flagd's provider; a file that is named wins over `in-process`, as in flagd."""
    monkeypatch.delenv(FILE, raising=False)
    assert other_provider(None) is None
    for resolver in ("rpc", "in-process"):
        monkeypatch.setenv("FLAGD_RESOLVER", resolver)
        made = other_provider(None)
        assert made is not None
        assert getattr(made, "__name__", "") == "FlagdProvider"
    monkeypatch.setenv(FILE, "flags.json")
    assert other_provider(None) is None


@pytest.mark.parametrize("spec", ["nowhere:factory", "firstword.agent.flags.improvements:nothing", "not a module"])
def test_a_provider_that_is_not_there_is_a_wrong_setting(spec: str) -> None:
    """One line that names the variable, what it was and what it may be."""
    with pytest.raises(FlagSourceError, match=f"FIRSTWORD_FLAG_PROVIDER is '{spec}'; expected module:factory"):
        other_provider(spec)


def test_a_resolver_nobody_knows_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise."""
    monkeypatch.setenv("FLAGD_RESOLVER", "grpc")
    with pytest.raises(FlagSourceError, match="FLAGD_RESOLVER is 'grpc'; expected `file`, `rpc` or `in-process`"):
        other_provider(None)


@pytest.mark.parametrize(
    ("provider", "deadline", "error"),
    [
        (lambda: Hangs({}), 0.05, "timeout"),
        (lambda: Fails({}), 60, "general"),
        (hangs_at_its_start, 0.05, "timeout"),
        (fails_at_its_start, 0.05, "timeout"),
    ],
    ids=["hangs", "fails", "hangs at its start", "fails at its start"],
)
def test_a_provider_without_an_answer_is_not_waited_for(
    place: Place, said: pytest.LogCaptureFixture, provider: MakeProvider, deadline: float, error: str
) -> None:
    """A draw takes no longer than the deadline, and the flags are off; one warning a process."""
    source = place.source(provider=provider, deadline=deadline)
    for _ in range(2):
        evaluations = source.draw_session(None, "room")
        assert [(each.flag, each.on, each.error) for each in evaluations] == [
            (name, False, error) for name in place.names[:2]
        ]
    assert [(record.levelname, record.exc_info) for record in said.records] == [("WARNING", None)]


def test_flagd_away_is_one_warning(
    place: Place, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flagd's remote resolver, with nobody at the port: all off, within the deadline."""
    monkeypatch.setenv("FLAGD_RESOLVER", "rpc")
    monkeypatch.setenv("FLAGD_PORT", "9")
    monkeypatch.setenv("FLAGD_DEADLINE_MS", "50")
    source = place.source(provider=other_provider(None), deadline=0.3)
    assert drawn(source) == dict.fromkeys(place.names[:2], False)
    assert drawn(source) == dict.fromkeys(place.names[:2], False)
    assert [record.levelname for record in said.records if record.name == "firstword"] == ["WARNING"]


def test_a_provider_that_hangs_holds_one_thread(place: Place, said: pytest.LogCaptureFixture) -> None:
    """However often it is asked; when it answers again it is asked again, and a line says so."""
    answer = threading.Event()

    class Waits(InMemoryProvider):
        def resolve_boolean_details(
            self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
        ) -> FlagResolutionDetails[bool]:
            answer.wait(30)
            return FlagResolutionDetails(True, reason="STATIC")  # meanwhile they are off

    source = place.source(provider=lambda: Waits({}), deadline=0.05)
    for _ in range(20):
        source.draw_session(None, "room")
    assert [thread.name for thread in threading.enumerate()].count("flags") == 1
    answer.set()
    until = time.monotonic() + 10
    while not all(drawn(source).values()) and time.monotonic() < until:
        time.sleep(0.01)
    assert set(drawn(source).values()) == {True}
    assert [record.levelname for record in said.records if record.name == "firstword"] == ["WARNING", "INFO"]


def test_another_provider_is_told_no_account_and_no_room(place: Place) -> None:
    """A room's name may be a telephone number, an account too: it gets hashes, the same for the same, under our key."""
    told: list[EvaluationContext] = []

    class Listens(InMemoryProvider):
        def resolve_boolean_details(
            self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
        ) -> FlagResolutionDetails[bool]:
            told.append(evaluation_context or EvaluationContext())
            return FlagResolutionDetails(True, reason="STATIC")

    source = place.source(provider=lambda: Listens({}))
    for account in (None, "+4930901820455"):
        source.draw_session(account, "call-_+4930901820455_x")
        source.draw_session(account, "call-_+4930901820455_x")
    assert "4930901820455" not in str([(each.targeting_key, each.attributes) for each in told])
    assert len({each.targeting_key for each in told}) == 2
