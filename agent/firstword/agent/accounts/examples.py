"""Example accounts: a fresh SQLite store is filled with them, and rehearsals call as them.

Invented people in five languages and six time zones, one of them with half-hour offset, one with much to know.
"""

from __future__ import annotations

from typing import Final

from firstword.agent.accounts.model import Account, LastSession

_INSTRUCTIONS: Final = (
    "You are the voice assistant of {business}. Speak {language}, in one or two short sentences at a time, "
    "without lists or markup. Look things up before you answer; if you don't know, say so and offer a person."
)
_TOOLS: Final = ("look_up", "current_time", "end_call")


def _hotel_knowledge() -> tuple[str, ...]:
    """A text for each room of a hotel: some 60 kB, so that reading the whole account is felt."""
    beds = ("one double bed", "two single beds", "a double bed and a cot", "a bunk bed for children")
    views = ("the harbour", "the old town", "the inner courtyard", "the park and the tram stop")
    return tuple(
        f"Room {floor}{number:02}: floor {floor}, {beds[number % 4]}, a view of {views[(floor + number) % 4]}. "
        f"{95 + 7 * floor + 3 * (number % 5)} euros a night with breakfast, {12 + floor} euros for a dog. "
        "Free cancellation until six in the evening of the day before arrival; check-in from three, check-out until "
        "eleven. Towels are changed daily on request, the minibar holds water only, and the window opens."
        for floor in range(1, 8)
        for number in range(1, 25)
    )


ACCOUNTS: Final = (
    Account(
        id="1001",
        name="Ada Whitfield",
        language="en-US",
        time_zone="America/New_York",
        voice="aura-2-andromeda-en",
        greeting="{salutation}, {name}! How can I help you today?",
        instructions=_INSTRUCTIONS.format(business="Brook Street Dental", language="English"),
        tools=_TOOLS,
        knowledge=(
            "Open Monday to Friday from eight to five, Saturday until noon.",
            "A check-up takes thirty minutes; a cleaning takes forty-five.",
        ),
    ),
    Account(
        id="1002",
        name="Jonas Reuter",
        language="de-DE",
        time_zone="Europe/Berlin",
        voice="aura-2-aurelia-de",
        greeting="{salutation}, {name}. Was kann ich für Sie tun?",
        instructions=_INSTRUCTIONS.format(business="Stadtwerke Ahlen", language="German"),
        tools=_TOOLS,
        knowledge=(
            "Zählerstände nehmen wir bis zum Monatsletzten an.",
            "Der Bereitschaftsdienst ist immer erreichbar.",
        ),
    ),
    Account(
        id="1003",
        name="Camille Aubry",
        language="fr-FR",
        time_zone="Europe/Paris",
        voice="aura-2-agathe-fr",
        greeting="{salutation} {name}, que puis-je faire pour vous ?",
        instructions=_INSTRUCTIONS.format(business="Librairie du Quai", language="French"),
        tools=_TOOLS,
        knowledge=("Les commandes arrivent en deux jours ouvrés.",),
    ),
    Account(
        id="1004",
        name="Lucía Ferrer",
        language="es-MX",
        time_zone="America/Mexico_City",
        voice="aura-2-diana-es",
        greeting="{salutation}, {name}. ¿En qué le puedo ayudar?",
        instructions=_INSTRUCTIONS.format(business="Taller Ferrer", language="Spanish"),
        tools=_TOOLS,
        knowledge=("La verificación cuesta lo mismo todo el año.",),
    ),
    Account(
        id="1005",
        name="佐藤",
        language="ja-JP",
        time_zone="Asia/Tokyo",
        voice="aura-2-ama-ja",
        greeting="{salutation}、{name}様。ご用件をどうぞ。",
        instructions=_INSTRUCTIONS.format(business="Minato Ryokan", language="Japanese"),
        tools=_TOOLS,
        knowledge=("夕食は六時から八時までです。",),
    ),
    Account(
        id="1006",
        name="Priya Raman",
        language="en-IN",
        time_zone="Asia/Kolkata",
        voice="aura-2-thalia-en",
        greeting="{salutation}, {name}. Which room may I tell you about?",
        instructions=_INSTRUCTIONS.format(business="Hotel Anker", language="English"),
        tools=_TOOLS,
        knowledge=_hotel_knowledge(),
    ),
)

LAST_SESSIONS: Final = {
    "1001": LastSession(
        ended=1_790_000_000.0,
        summary="Asked to move a cleaning to another day.",
        left_open="Wanted to call back with a date in the second week of the month.",
    ),
    "1002": LastSession(ended=1_790_086_400.0, summary="Gave a meter reading.", left_open=""),
}
"""The last session of some of them, by account id."""
