"""Writes the greeting's text: the account's template, filled in for the time of day where the account is.

Between the account and TTS, and pure, so that text and audio can be made before the call and cached by day part. A
template is somebody's input: it is parsed, never evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from string import Formatter
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from firstword.agent.accounts.model import GENERIC, GreetingFields

MAX_NAME: Final = 80
"""Most characters of a name that is spoken. A longer name is unusable."""
MAX_TEXT: Final = 400
"""Most characters of a greeting: some 25 s of speech."""


class DayPart(StrEnum):
    """A part of the day that has its own salutation, such as `morning`."""

    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"
    NIGHT = "night"


_BEGINS: Final = ((22, DayPart.NIGHT), (18, DayPart.EVENING), (12, DayPart.AFTERNOON), (5, DayPart.MORNING))
"""Hour of the local clock at which each begins, latest first; before the first it is night."""

# By primary language. Nobody is greeted with "good night": at night it is the evening's word.
_SALUTATIONS: Final[dict[str, tuple[str, str, str, str]]] = {
    "en": ("Good morning", "Good afternoon", "Good evening", "Good evening"),
    "de": ("Guten Morgen", "Guten Tag", "Guten Abend", "Guten Abend"),
    "fr": ("Bonjour", "Bonjour", "Bonsoir", "Bonsoir"),
    "es": ("Buenos días", "Buenas tardes", "Buenas noches", "Buenas noches"),
    "ja": ("おはようございます", "こんにちは", "こんばんは", "こんばんは"),
}
_GENERIC: Final = {
    "en": GENERIC.greeting,
    "de": "Guten Tag! Wie kann ich Ihnen helfen?",
    "fr": "Bonjour ! Comment puis-je vous aider ?",
    "es": "¡Hola! ¿En qué puedo ayudarle?",
    "ja": "お電話ありがとうございます。ご用件をどうぞ。",
}
_INTERRUPTED: Final = {
    "en": "Sorry, our call was interrupted. I am back: how can I go on helping you?",
    "de": "Entschuldigung, unser Gespräch wurde unterbrochen. Ich bin wieder da: Wie kann ich Ihnen weiterhelfen?",
    "fr": "Excusez-moi, notre appel a été interrompu. Je suis de retour : comment puis-je vous aider ?",
    "es": "Disculpe, nuestra llamada se ha interrumpido. Ya estoy aquí: ¿en qué puedo ayudarle?",
    "ja": "申し訳ございません、通話が途切れました。もう一度ご用件をどうぞ。",
}


@dataclass(frozen=True, slots=True)
class GreetingText:
    """The text to say, the part of the day it was written for, and why it is the generic greeting if it is."""

    text: str
    day_part: DayPart | None
    """By the account's clock; None if its time zone is unknown."""
    problem: str | None = None
    """A word for an event, such as `zone_unknown`; None when the account's own template was used."""


class _TemplateError(Exception):
    """The template can't be used; its text is the `problem`."""


def greeting_text(account: GreetingFields, now: float) -> GreetingText:
    """Returns the account's greeting at `now` (Unix time, seconds), or the generic one in its language if that can't be
    made.

    Never raises for the contents of an account: `problem` says what is wrong.
    """
    part = day_part(account.time_zone, now)
    try:
        if part is None:
            raise _TemplateError("zone_unknown")
        return GreetingText(_filled(account, part), part)
    except _TemplateError as error:
        return GreetingText(generic_greeting(account.language), part, str(error))


def opening_of(account: GreetingFields, written: GreetingText) -> str | None:
    """Returns the greeting's salutation as a sentence ("Good morning!") without a name. None if the greeting doesn't
    begin with one.
    """
    if written.problem is not None or written.day_part is None or not account.greeting.startswith("{salutation}"):
        return None
    opening = f"{_salutation(account.language, written.day_part)}!"
    return opening if rest_of(written, opening) else None


def rest_of(written: GreetingText, opening: str) -> str:
    """Returns the text of the greeting that follows its opening."""
    return written.text.removeprefix(opening.rstrip("!")).lstrip(" ,.!;:\u3001\u3002")


def generic_greeting(language: str) -> str:
    """Returns the greeting for a caller nobody knows, in this language (BCP 47) if we have it, else in English."""
    return _GENERIC.get(_primary(language), _GENERIC["en"])


def interrupted_greeting(language: str) -> str:
    """Returns what is said first to a caller whose agent has died, in this language (BCP 47) if we have it, else in
    English. It names nobody.
    """
    return _INTERRUPTED.get(_primary(language), _INTERRUPTED["en"])


def day_part(time_zone: str, now: float) -> DayPart | None:
    """Returns the part of the day at `now` (Unix time, seconds) in an IANA time zone. None if there is no such zone."""
    try:
        hour = datetime.fromtimestamp(now, ZoneInfo(time_zone)).hour
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "../x" is a ValueError, "Europe" (a folder) an OSError
        return None
    return next((part for begin, part in _BEGINS if hour >= begin), DayPart.NIGHT)


def _filled(account: GreetingFields, part: DayPart) -> str:
    try:
        text = "".join(_pieces(account, part))
    except ValueError:  # Formatter's word for a brace without its fellow
        raise _TemplateError("template_broken") from None
    if not text.strip():
        raise _TemplateError("template_empty")
    if len(text) > MAX_TEXT:
        raise _TemplateError("text_too_long")
    return text


def _pieces(account: GreetingFields, part: DayPart) -> Iterator[str]:
    # parse() only splits; format() would follow attributes and indices, as in "{name.__class__}".
    for literal, field, spec, conversion in Formatter().parse(account.greeting):
        yield literal
        if field is None:
            continue
        if spec or conversion or field not in ("name", "salutation"):
            raise _TemplateError("template_field")
        yield _name(account.name) if field == "name" else _salutation(account.language, part)


def _name(name: str) -> str:
    spoken = " ".join(name.split())
    if not spoken or len(spoken) > MAX_NAME or not spoken.isprintable():
        raise _TemplateError("name_unusable")
    return spoken


def _salutation(language: str, part: DayPart) -> str:
    words = _SALUTATIONS.get(_primary(language))
    if words is None:
        raise _TemplateError("language_unknown")
    return words[tuple(DayPart).index(part)]


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
