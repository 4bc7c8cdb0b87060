"""Where the flags come from, so that a changed file reaches running workers and a broken one costs no caller anything.

First in the way of the data, before `firstword.agent.flags.improvements`. By default a file in flagd's format, read by flagd's own evaluator:

    the file ──> LastGoodKeeper, in the worker's main process ──> the last good copy ──> FlagSource, where jobs run

flagd's file watcher is not used: it is a thread in each process, and logs a traceback at each poll of a broken file.
Any other OpenFeature provider by configuration. Importing this costs 30 ms: do it where no profile overrides the source.
"""

from __future__ import annotations

import hmac
import logging
import os
import pkgutil
import secrets
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, GeneralError, OpenFeatureError, TypeMismatchError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails
from openfeature.provider import AbstractProvider, FeatureProvider, Metadata

from firstword.agent import folders
from firstword.agent.failures import Failing
from firstword.agent.flags.flag_set import FlagFileError, FlagSet, parse

logger = logging.getLogger("firstword")

MakeProvider = Callable[[], FeatureProvider]
T = TypeVar("T")
_THE_SAME_FOR_ALL = frozenset({"static", "default", "disabled", "error"})
"""Reasons of an answer that does not depend on who asks."""


class FlagSourceError(Exception):
    """A variable that names no flag source; the message says which, what it was and what it may be."""


def flag_file() -> Path:
    """The file that holds the flags: FLAGD_OFFLINE_FLAG_SOURCE_PATH, else the one shipped."""
    named = os.environ.get("FLAGD_OFFLINE_FLAG_SOURCE_PATH")
    return Path(named) if named else shipped_file()


def shipped_file() -> Path:
    """`deploy/flags.json`, which a wheel carries as package data and a checkout as it lies."""
    package = Path(__file__).parents[1]
    packaged = package / "data" / "flags.json"
    return packaged if packaged.exists() else package.parents[2] / "deploy" / "flags.json"


def other_provider(spec: str | None) -> MakeProvider | None:
    """What makes the provider that is configured instead of the file; None: the file it is. Raises FlagSourceError.

    spec: `module:factory`, where the factory takes nothing and returns an OpenFeature provider. Without it FLAGD_RESOLVER
    decides, whose `rpc` and `in-process` are flagd's own. Imports what is named, opens nothing.
    """
    if spec:
        try:
            return cast("MakeProvider", pkgutil.resolve_name(spec))
        except (ImportError, AttributeError, ValueError) as error:
            raise FlagSourceError(f"FIRSTWORD_FLAG_PROVIDER is {spec!r}; it may be: module:factory ({error})") from None
    resolver = os.environ.get("FLAGD_RESOLVER") or "file"
    # flagd's rule: a file that is named makes its in-process resolver read that file
    if resolver == "file" or (resolver == "in-process" and os.environ.get("FLAGD_OFFLINE_FLAG_SOURCE_PATH")):
        return None
    if resolver not in ("rpc", "in-process"):
        raise FlagSourceError(f"FLAGD_RESOLVER is {resolver!r}; it may be: `file`, `rpc` or `in-process`")
    from openfeature.contrib.provider.flagd import FlagdProvider  # gRPC and more, for those who want it

    return FlagdProvider


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One flag as it was drawn."""

    flag: str
    on: bool
    reason: str
    """OpenTelemetry's word: `static`, `default`, `targeting_match`, `disabled`, `error` and so on."""
    provider: str
    error: str | None = None

    def attributes(self) -> dict[str, str]:
        """Of the standard event `feature_flag.evaluation`; without `context.id`, since that may be an account."""
        return {
            "feature_flag.key": self.flag,
            "feature_flag.result.variant": "on" if self.on else "off",
            "feature_flag.result.reason": self.reason,
            "feature_flag.provider.name": self.provider,
            **({"error.type": self.error} if self.error else {}),
        }


class FlagSource:
    """Draws flags, per process and per session; one a process, for any of its threads. Drawing never raises.

    A flag that the source doesn't name, or disables, is off. Where it gives no answer the shipped file does.
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
        """Open it. per_process, per_session: names of the flags that `draw_process` and `draw_session` draw.

        deadline: seconds for a provider's start and for each draw; a file needs none. provider: see `other_provider`.
        secret: what accounts and rooms are hashed with before another provider is told of them.
        folder: see `last_good_copy`. Raises FlagFileError, OSError when the shipped file is no good.
        """
        self._per_process = tuple(map(str, per_process))
        self._per_session = tuple(map(str, per_session))
        self._deadline = deadline
        self._secret = secret.encode()
        self._key = secrets.token_hex(8)  # made here: a module's would be the same in all that fork from it
        self._failing = Failing("flag source")
        self._hanging: Future[Any] | None = None
        """What the provider was asked and has not answered within the deadline: until it has, nothing else is asked."""
        names = {*self._per_process, *self._per_session}
        self._defaults = _Files((shipped_file(),), names)
        self._file: _Files | None = None
        if provider is None:
            file = flag_file()
            opened = self._file = _Files((last_good_copy(file, folder), file, shipped_file()), names)
            api.set_provider_and_wait(opened, "firstword")
        elif (opened := self._in_time(provider)) is not None:
            self._in_time(lambda: api.set_provider_and_wait(opened, "firstword"))
        self._name = opened.get_metadata().name if opened else None
        self._client = api.get_client("firstword")

    def draw_process(self) -> tuple[Evaluation, ...]:
        """The flags that act before any session, by a random key of this process: the same until the source changes."""
        return self._draw(self._per_process, EvaluationContext(self._key))

    def possible(self) -> frozenset[str]:
        """Those flags that act before any session and may be on for some process: worth preparing for."""
        if self._file is None:
            answers = self.draw_process()
            return frozenset(each.flag for each in answers if each.on or each.reason not in _THE_SAME_FOR_ALL)
        self._file.refresh()
        return self._file.flags.possible.intersection(self._per_process)

    def draw_session(self, account: str | None, room: str) -> tuple[Evaluation, ...]:
        """The flags of one session, by account where the job's metadata names it, else by room; rules know them as these.

        Another provider, which may be somebody else's server, is told only of their hashes (docs/flags.md).
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
            return tuple(self._shipped(name, context, "timeout") for name in names)
        if not any(_is_error(answer) for answer in answered):
            self._failing.works()
        return tuple(self._evaluation(answer, context) for answer in answered)

    def _evaluation(self, answer: FlagEvaluationDetails[bool], context: EvaluationContext) -> Evaluation:
        name, code = answer.flag_key, answer.error_code
        if code is None or code is ErrorCode.FLAG_NOT_FOUND:
            reason = "default" if code else str(answer.reason or "unknown").lower()
            return Evaluation(name, answer.value, reason, self._name or "none")
        self._failed(f"{name}: {answer.error_message or code.value}")
        return self._shipped(name, context, code.value.lower())

    def _shipped(self, name: str, context: EvaluationContext, error: str) -> Evaluation:
        files = self._defaults
        on = name in files.flags.named and files.resolve_boolean_details(name, False, context).value
        return Evaluation(name, on, "error", self._name or "none", error)

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
        line = f"the flag source gives no answer ({why}); the shipped flags count meanwhile"
        self._failing.failed("no answer", line)


def _is_error(answer: FlagEvaluationDetails[bool]) -> bool:
    """Whether it is no answer; that the source does not know the flag is one."""
    return answer.error_code not in (None, ErrorCode.FLAG_NOT_FOUND)


def last_good_copy(file: Path, folder: Path | None = None) -> Path:
    """Where the copy of this file lies: in `folder`, else in the worker's cache folder."""
    name = sha256(os.fsencode(file.absolute())).hexdigest()[:16]
    return (folder or folders.cache_folder()) / f"flags-{name}.json"


class LastGoodKeeper:
    """Looks at the file while the worker runs: good flags become the copy that jobs read, bad ones get one warning.

    A context manager of the worker's main process, around all that starts others, so that the first of them finds a copy.
    """

    def __init__(self, names: Collection[str], *, folder: Path | None = None, every: float = 1.0) -> None:
        """names: of all flags. folder: see `last_good_copy`. every: seconds between two looks."""
        self._names = frozenset(map(str, names))
        self._file = flag_file()
        self._copy = last_good_copy(self._file, folder)
        self._every = every
        self._seen: object = None
        self._content = b""
        self._broken = False
        self._unknown: tuple[str, ...] = ()
        self._unkept = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flag file", daemon=True)

    def __enter__(self) -> LastGoodKeeper:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Take what the file says now, if it has changed and is good."""
        try:
            seen = _signature(self._file)
            if seen != self._seen:
                self._seen = seen
                content = self._file.read_bytes()
                self._good(content, parse(content, self._names))
        except FlagFileError as error:
            self._bad(str(error))
        except OSError as error:
            self._seen = None  # may be readable next time without having changed
            self._bad(error.strerror or type(error).__name__)
        if self._content and not os.path.exists(self._copy):  # somebody has cleaned the cache folder
            self._keep()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.look()

    def _good(self, content: bytes, flags: FlagSet) -> None:
        if self._broken:
            logger.info("the flags in %s are good again", self._file)
        self._broken = False
        unknown = tuple(sorted(flags.named - self._names))
        if unknown and unknown != self._unknown:
            named = [", nearest is ".join([name, *get_close_matches(name, self._names, n=1)]) for name in unknown]
            logger.warning("no flag is named %s; in %s", "; ".join(named), self._file)
        self._unknown = unknown
        self._content = content
        self._keep()

    def _bad(self, why: str) -> None:
        if not self._broken:
            meanwhile = "last good" if os.path.exists(self._copy) else "shipped"
            logger.warning("the flags in %s can't be taken (%s); the %s ones count", self._file, why, meanwhile)
        self._broken = True

    def _keep(self) -> None:
        new = self._copy.with_suffix(f".{os.getpid()}.new")
        try:
            folders.make_private(self._copy.parent)
            with open(new, "wb", opener=_for_this_user) as file:
                file.write(self._content)
            new.replace(self._copy)
            self._unkept = False
        except OSError as error:
            if not self._unkept:
                logger.warning("no copy of the flags can be kept in %s (%s)", self._copy.parent, error.strerror)
            self._unkept = True


class _Files(AbstractProvider):
    """An OpenFeature provider of the first file that is good; what is loaded stays until something good replaces it."""

    def __init__(self, files: tuple[Path, ...], names: Collection[str]) -> None:
        """files: in the order in which they count; the last is the shipped one, which counts while no other has been good."""
        super().__init__()
        *self._files, shipped = files
        self._names = names
        self._lock = threading.Lock()
        self._seen: object = None
        if not self.refresh():
            self.flags = parse(shipped.read_bytes(), names)

    def refresh(self) -> bool:
        """Load what has changed; False when no file is good."""
        with self._lock:
            for file in self._files:
                try:
                    seen = (file, _signature(file))
                    if seen != self._seen:
                        self.flags = parse(file.read_bytes(), self._names)
                        self._seen = seen
                except (OSError, FlagFileError):  # the keeper has said so
                    continue
                return True
            return False

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


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _signature(file: Path) -> object:
    """Changes whenever the file does: replaced, rewritten, or another behind the same link."""
    now = file.stat()
    return now.st_ino, now.st_mtime_ns, now.st_size
