"""firstword.agent.conversation.conversation: what the account's next session is told of this one."""

from __future__ import annotations

from typing import Any, cast

from livekit.agents import AgentSession, ConversationItemAddedEvent, ErrorEvent, llm

from firstword.agent.conversation.conversation import REMEMBERED, Conversation

ENDED = 1_700_000_000.0


def conversation(*said: tuple[str, str]) -> Conversation:
    """One in which this was said: (role, text)."""
    talk = Conversation(cast(AgentSession[Any], None), "caller")
    for role, text in said:
        message = llm.ChatMessage(role=cast(llm.ChatRole, role), content=[text])
        talk.handlers()["conversation_item_added"](ConversationItemAddedEvent(item=message))
    return talk


def test_a_caller_who_said_nothing_leaves_the_last_session_as_it_was() -> None:
    """The agent's own words are nothing to remember."""
    assert conversation().last_session(ENDED) is None
    assert conversation(("assistant", "Good morning!")).last_session(ENDED) is None
    assert conversation(("user", " \n")).last_session(ENDED) is None


def test_turns_and_errors_are_counted() -> None:
    """A message of either side is a turn."""
    talk = conversation(("user", "Hello"), ("assistant", "Good morning!"))
    talk.handlers()["error"](ErrorEvent(error=RuntimeError("away"), source=cast(Any, None)))
    assert (talk.turns, talk.errors) == (2, 1)


def test_the_callers_last_words_are_remembered() -> None:
    """On one line and cut between words, however long they were."""
    last = conversation(("user", "Hello"), ("user", "Move my\ncleaning."), ("assistant", "Done.")).last_session(ENDED)
    assert last is not None
    assert last.summary == "The last words of the caller were: Move my cleaning."
    assert last.left_open == ""
    assert last.ended == ENDED
    long = conversation(("user", "word " * 1000)).last_session(ENDED)
    assert long is not None
    assert len(long.summary) < REMEMBERED + 50
