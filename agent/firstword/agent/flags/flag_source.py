"""Draws the flags, so that a changed file reaches running workers and a broken one costs no caller anything.

First in the way of the data, before `firstword.agent.flags.improvements`. By default a file in flagd's format, read by
flagd's own evaluator:

    the file ──> LastGoodKeeper, in the worker's main process ──> the last good copy ──> FlagSource, where jobs run

A configuration that can't be used turns nothing on: what was last good counts, else all is off.

flagd's file watcher is not used: it is a thread in each process, and logs a traceback at each poll of a broken file.
Any other OpenFeature provider can be configured. Importing this costs 30 ms: do it only if no profile overrides the
source.
"""

from __future__ import annotations

import hmac
import logging
import os
import pkgutil
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, GeneralError, OpenFeatureError, TypeMismatchError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails
from openfeature.provider import AbstractProvider, FeatureProvider, Metadata

from firstword.agent.failures import Failing
from firstword.agent.flags.flag_file import FlagFileError, parse
from firstword.agent.flags.flag_set import ALL_OFF
from firstword.agent.flags.improvements import Subject
from firstword.agent.flags.location import flag_file, last_good_copy, named_file, signature

logger = logging.getLogger("firstword")

MakeProvider = Callable[[], FeatureProvider]
T = TypeVar("T")
_THE_SAME_FOR_ALL = frozenset({"static", "default", "disabled", "error"})
"""Reasons of an answer that does not depend on who asks."""


class FlagSourceError(Exception):
    """Raised for a variable that names no flag source. The message says which variable, what it was and what was
    expected.
    """


def other_provider(spec: str | None) -> MakeProvider | None:
    """Returns the factory of the OpenFeature provider that is configured, or None if the flag file is used. Raises
    FlagSourceError.

    spec: `module:factory`, where the factory takes no arguments and returns an OpenFeature provider. Without it
    FLAGD_RESOLVER decides, whose `rpc` and `in-process` are flagd's own. It imports the factory and opens nothing.
    """
    if spec:
        try:
            return cast("MakeProvider", pkgutil.resolve_name(spec))
        except (ImportError, AttributeError, ValueError) as error:
            raise FlagSourceError(
                f"FIRSTWORD_FLAG_PROVIDER is {spec!r}; expected module:factory; possible cause: {error}"
            ) from None
    resolver = os.environ.get("FLAGD_RESOLVER") or "file"
    # flagd's rule: a file that is named makes its in-process resolver read that file
    if resolver == "file" or (resolver == "in-process" and named_file()):
        return None
    if resolver not in ("rpc", "in-process"):
        raise FlagSourceError(f"FLAGD_RESOLVER is {resolver!r}; expected `file`, `rpc` or `in-process`")
    from openfeature.contrib.provider.flagd import FlagdProvider  # gRPC and more, for those who want it

    return FlagdProvider


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One flag as it was drawn for a process or session: on or off, why, and by which provider."""

    flag: str
    on: bool
    reason: str
    """In OpenTelemetry's words: `static`, `default`, `targeting_match`, `disabled`, `error` and so on."""
    provider: str
    error: str | None = None

    def attributes(self) -> dict[str, str]:
        """Returns the attributes of the standard event `feature_flag.evaluation`.

        `context.id` is left out, since that may be an account.
        """
        return {
            "feature_flag.key": self.flag,
            "feature_flag.result.variant": "on" if self.on else "off",
            "feature_flag.result.reason": self.reason,
            "feature_flag.provider.name": self.provider,
            **({"error.type": self.error} if self.error else {}),
        }


class FlagSource:
    """Draws flags, per process and per session. A process has one, for all its threads. Drawing never raises.

    A flag that the source doesn't name, or disables, is off. So is one for which it gives no answer.
    """

    def __init__(
        self,
        *,
        per_process: Collection[str],
        per_session: Collection[str],
        deadline: float,
        provider: MakeProvider | None = None,
        secret: str = "",
        folder: Path | None = None,
    ) -> None:
        """Opens the source. per_process, per_session: names of the flags that `draw_process` and `draw_session` draw.

        deadline: seconds for a provider's start and for each draw; a file needs none. provider: see `other_provider`.
        secret: accounts and rooms are hashed with it before another provider is told of them. folder: see
        `last_good_copy`.
        """
        self._per_process = tuple(map(str, per_process))
        self._per_session = tuple(map(str, per_session))
        self._deadline = deadline
        self._secret = secret.encode()
        self._key = secrets.token_hex(8)  # made here: a module's would be the same in all that fork from it
        self._failing = Failing("flag source")
        self._hanging: Future[Any] | None = None
        """What the provider was asked and has not answered within the deadline: until it has, nothing else is asked."""
        self._file: _File | None = None
        if provider is None:
            file = flag_file()
            subjects: dict[str, Subject] = dict.fromkeys(self._per_process, "process")
            subjects |= dict.fromkeys(self._per_session, "session")
            opened = self._file = _File((last_good_copy(file, folder), file), subjects)
            api.set_provider_and_wait(opened, "firstword")
        elif (opened := self._in_time(provider)) is not None:
            self._in_time(lambda: api.set_provider_and_wait(opened, "firstword"))
        self._name = opened.get_metadata().name if opened else None
        self._client = api.get_client("firstword")

    def draw_process(self) -> tuple[Evaluation, ...]:
        """Draws the flags that act before any session, by a random key of this process. The result is the same until
        the source changes.
        """
        return self._draw(self._per_process, EvaluationContext(self._key))

    def possible(self) -> frozenset[str]:
        """Returns the names of the flags that act before any session and may be on for some process."""
        if self._file is None:
            answers = self.draw_process()
            return frozenset(each.flag for each in answers if each.on or each.reason not in _THE_SAME_FOR_ALL)
        self._file.refresh()
        return self._file.flags.possible.intersection(self._per_process)

    def draw_session(self, account: str | None, room: str) -> tuple[Evaluation, ...]:
        """Draws the other flags for one session: by account if the job's metadata names one, else by room. Rules know
        both by these names.

        Another provider, which may be somebody else's server, is told only their hashes (docs/flags.md).
        """
        if self._file is None:
            account, room = account and self._hash(account), self._hash(room)
        facts = {"room": room} if account is None else {"room": room, "account": account}
        return self._draw(self._per_session, EvaluationContext(account or room, facts))

    def _hash(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()[:32]

    def _draw(self, names: tuple[str, ...], context: EvaluationContext) -> tuple[Evaluation, ...]:
        def answers() -> list[FlagEvaluationDetails[bool]]:
            return [self._client.get_boolean_details(name, False, context) for name in names]

        if self._file is not None:
            self._file.refresh()
            answered = answers()
        else:
            answered = self._in_time(answers) if self._name else None
        if answered is None:
            return tuple(self._off(name, "timeout") for name in names)
        if not any(_is_error(answer) for answer in answered):
            self._failing.works()
        return tuple(map(self._evaluation, answered))

    def _evaluation(self, answer: FlagEvaluationDetails[bool]) -> Evaluation:
        name, code = answer.flag_key, answer.error_code
        if code is None or code is ErrorCode.FLAG_NOT_FOUND:
            reason = "default" if code else str(answer.reason or "unknown").lower()
            return Evaluation(name, answer.value, reason, self._name or "none")
        self._failed(f"{name}: {answer.error_message or code.value}")
        return self._off(name, code.value.lower())

    def _off(self, name: str, error: str) -> Evaluation:
        return Evaluation(name, False, "error", self._name or "none", error)

    def _in_time(self, work: Callable[[], T]) -> T | None:
        """What another's provider answers within the deadline; None, and a warning, when it doesn't.

        A provider that hangs holds one thread, however often it is asked.
        """
        if self._hanging is not None and not self._hanging.done():
            self._failed(f"{self._deadline} s")
            return None
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=run, name="flags", daemon=True).start()  # daemon: who hangs doesn't hold the process
        try:
            return done.result(self._deadline)
        except TimeoutError:
            self._hanging = done
            self._failed(f"TimeoutError, {self._deadline} s")
        except Exception as error:
            self._failed(str(error) or type(error).__name__)
        return None

    def _failed(self, why: str) -> None:
        line = f"the flag source gives no answer ({why}); its flags are off meanwhile"
        self._failing.failed("no answer", line)


def _is_error(answer: FlagEvaluationDetails[bool]) -> bool:
    """Whether it is no answer; that the source does not know the flag is one."""
    return answer.error_code not in (None, ErrorCode.FLAG_NOT_FOUND)


class _File(AbstractProvider):
    """An OpenFeature provider of the last good copy, else of the file itself; what is loaded stays until something good replaces it."""

    def __init__(self, files: tuple[Path, ...], subjects: Mapping[str, Subject]) -> None:
        """files: in the order in which they count. subjects: see `parse`."""
        super().__init__()
        self._files = files
        self._subjects = subjects
        self._lock = threading.Lock()
        self._seen: object = None
        self.flags = ALL_OFF
        self.refresh()

    def refresh(self) -> None:
        """Load what has changed, from the first file that is good."""
        with self._lock:
            for file in self._files:
                try:
                    seen = (file, signature(file))
                    if seen != self._seen:
                        self.flags = self.flags.followed_by(parse(file.read_bytes(), self._subjects))
                        self._seen = seen
                except (OSError, FlagFileError):  # the keeper has said so
                    continue
                return

    def get_metadata(self) -> Metadata:
        return Metadata("flagd")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        try:
            return self.flags.core.resolve_boolean_value(flag_key, default_value, evaluation_context)
        except OpenFeatureError:
            raise
        except Exception as error:  # of a rule's operands; the SDK would log a traceback for each session
            raise GeneralError(type(error).__name__) from error

    def _not_boolean(self, *_: object, **__: object) -> NoReturn:
        raise TypeMismatchError("the flags are boolean")

    resolve_string_details = resolve_integer_details = resolve_float_details = resolve_object_details = _not_boolean
