"""firstword.agent.greeting.text: the account's template for the time of day where the account is."""

import zoneinfo
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstword.agent.accounts import examples
from firstword.agent.accounts.model import GENERIC, Account
from firstword.agent.greeting.text import MAX_NAME, MAX_TEXT, DayPart, day_part, generic_greeting, greeting_text

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()


def account(**changes: str) -> Account:
    plain = replace(GENERIC, name="Ada", time_zone="UTC", greeting="{salutation}, {name}!")
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]  # every change is to a text


@pytest.mark.parametrize(
    ("clock", "part"),
    [
        ("00:00", DayPart.NIGHT),
        ("04:59", DayPart.NIGHT),
        ("05:00", DayPart.MORNING),
        ("11:59", DayPart.MORNING),
        ("12:00", DayPart.AFTERNOON),
        ("17:59", DayPart.AFTERNOON),
        ("18:00", DayPart.EVENING),
        ("21:59", DayPart.EVENING),
        ("22:00", DayPart.NIGHT),
        ("23:59", DayPart.NIGHT),
    ],
)
def test_a_day_part_begins_on_its_hour(clock: str, part: DayPart) -> None:
    """Each border belongs to the part that begins there, also around midnight."""
    assert day_part("UTC", datetime.fromisoformat(f"2026-06-01T{clock}:00+00:00").timestamp()) is part


@pytest.mark.parametrize(
    ("instant", "part"),
    [
        ("2026-03-29T00:59:59+00:00", DayPart.NIGHT),  # 01:59:59 in Berlin, then the clock jumps to 03:00
        ("2026-03-29T03:00:00+00:00", DayPart.MORNING),  # 05:00 already, as summer time has begun
        ("2026-03-28T03:00:00+00:00", DayPart.NIGHT),  # 04:00 the day before
        ("2026-10-25T03:59:59+00:00", DayPart.NIGHT),  # 04:59:59 again in winter time
        ("2026-10-25T04:00:00+00:00", DayPart.MORNING),
    ],
)
def test_the_clock_of_the_account_knows_summer_time(instant: str, part: DayPart) -> None:
    """The same instant falls into another part once the clocks were changed."""
    assert day_part("Europe/Berlin", datetime.fromisoformat(instant).timestamp()) is part


def test_each_example_account_is_greeted_in_its_language_at_its_hour() -> None:
    """At one instant, 12:00 UTC on 1 June, it is another part of the day for each account."""
    said = {one.id: greeting_text(one, NOON) for one in examples.ACCOUNTS}
    assert {id: (greeting.text, greeting.problem) for id, greeting in said.items()} == {
        "1001": ("Good morning, Ada Whitfield! How can I help you today?", None),
        "1002": ("Guten Tag, Jonas Reuter. Was kann ich für Sie tun?", None),
        "1003": ("Bonjour Camille Aubry, que puis-je faire pour vous ?", None),
        "1004": ("Buenos días, Lucía Ferrer. ¿En qué le puedo ayudar?", None),
        "1005": ("こんばんは、佐藤様。ご用件をどうぞ。", None),
        "1006": ("Good afternoon, Priya Raman. Which room may I tell you about?", None),
    }
    assert said["1005"].day_part is DayPart.EVENING


def test_nobody_is_greeted_with_good_night() -> None:
    """At night the evening's word is said."""
    midnight = datetime(2026, 6, 1, 0, tzinfo=UTC).timestamp()
    assert greeting_text(account(), midnight).text == "Good evening, Ada!"


@pytest.mark.parametrize(
    "zone", ["Nowhere/Atlantis", "", "Europe", "../../etc/passwd", "/etc/passwd", "UTC\0", "x" * 999]
)
def test_an_unknown_time_zone_gets_the_generic_greeting_in_the_language(zone: str) -> None:
    """Also a folder of zones, a path and what no file can be called."""
    greeting = greeting_text(account(time_zone=zone, language="de-AT"), NOON)
    assert (greeting.text, greeting.day_part, greeting.problem) == (generic_greeting("de"), None, "zone_unknown")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("Hello {nobody}", "template_field"),
        ("Hello {name.__class__}", "template_field"),
        ("Hello {name[0]}", "template_field"),
        ("Hello {name!r}", "template_field"),
        ("Hello {name:>99999999}", "template_field"),
        ("Hello {}", "template_field"),
        ("Hello {0}", "template_field"),
        ("Hello {name", "template_broken"),
        ("Hello }", "template_broken"),
        ("", "template_empty"),
        (" \n", "template_empty"),
        ("word " * 100, "text_too_long"),
    ],
)
def test_a_bad_template_gets_the_generic_greeting(template: str, problem: str) -> None:
    """Nothing of it is evaluated: no attribute, index, conversion or format."""
    greeting = greeting_text(account(greeting=template), NOON)
    assert (greeting.text, greeting.problem) == (GENERIC.greeting, problem)


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_NAME + 1), "y" * 1_000_000, "Ada\u202eevil", "\ud800", "A\0da"])
def test_a_name_nobody_can_speak_gets_the_generic_greeting(name: str) -> None:
    """Empty, endless, or with characters that aren't letters of anything."""
    assert greeting_text(account(name=name), NOON).problem == "name_unusable"
    assert greeting_text(account(name=name, greeting="Hello there"), NOON).text == "Hello there"


def test_a_name_is_data_and_not_a_template() -> None:
    """Braces in a name stay what they are; line breaks in it become blanks."""
    assert greeting_text(account(name="{salutation}\n{name.x}"), NOON).text == "Good afternoon, {salutation} {name.x}!"


def test_a_language_without_words_can_do_without_the_salutation() -> None:
    """Only a template that asks for one falls back, then to English."""
    assert greeting_text(account(language="sv", greeting="Hej {name}!"), NOON).text == "Hej Ada!"
    fallen = greeting_text(account(language="sv"), NOON)
    assert (fallen.text, fallen.problem) == (GENERIC.greeting, "language_unknown")


def test_the_generic_account_is_greeted_without_a_problem() -> None:
    """The fallback must not itself fall back."""
    assert greeting_text(GENERIC, NOON).problem is None


@given(st.text(), st.text(), st.text(), st.text(), st.floats(min_value=0, max_value=4e9))
def test_no_account_can_break_the_greeting(name: str, language: str, zone: str, template: str, now: float) -> None:
    """Whatever stands in the account, something short is said."""
    greeting = greeting_text(account(name=name, language=language, time_zone=zone, greeting=template), now)
    assert 0 < len(greeting.text) <= MAX_TEXT


def test_time_zones_need_nothing_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alpine, distroless images and Windows have none of their own: everybody would hear the generic greeting."""
    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=[])
    try:
        assert day_part("Europe/Berlin", 0.0) is not None
    finally:
        zoneinfo.reset_tzpath()
