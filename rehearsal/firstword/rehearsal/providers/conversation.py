"""Decides what the simulated language model answers: pure functions from a chat request to a reply. Below `openai.py`.

It repeats what it heard and says how many tools it was offered ("You said: hello. I have 3 tools."). So a test can tell
the full assistant from the minimal one. It calls a tool when the user's words contain a word of at least four letters
of the tool's name. "what time is it" calls `current_time`. Then it says what the tool returned. A tool that is required
it calls whatever was said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

_SHORTEST_TRIGGER = 4


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called, with its arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer: a text, as tokens that join without spaces between them; or a tool call."""

    tokens: tuple[str, ...]
    call: ToolCall | None
    heard: int
    """Number of words in the request, for the usage."""


def reply(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], tool_choice: object) -> Reply:
    """Answers a chat request, whose `messages`, `tools` and `tool_choice` are as OpenAI's client sends them.

    Raises KeyError, IndexError, TypeError or AttributeError for what isn't of that shape.
    """
    heard = sum(len(_text(message).split()) for message in messages)
    last = messages[-1]
    said = next((_text(message) for message in reversed(messages) if message["role"] == "user"), "")
    if (forced := _forced(tools, tool_choice)) is not None:
        return Reply((), ToolCall(forced["name"], _arguments(forced, said)), heard)
    if last["role"] == "tool":
        return Reply(_tokens(f"The answer is: {_text(last)}."), None, heard)
    if last["role"] == "user" and tool_choice != "none":
        for tool in tools:
            function = tool["function"]
            if _triggers(function["name"], said):
                return Reply((), ToolCall(function["name"], _arguments(function, said)), heard)
    greeting = f"You said: {said}." if said else "Hello, how can I help you?"
    return Reply(_tokens(f"{greeting} I have {len(tools)} {'tool' if len(tools) == 1 else 'tools'}."), None, heard)


def _forced(tools: Sequence[Mapping[str, Any]], tool_choice: object) -> Mapping[str, Any] | None:
    """The function that must be called: the one that is named, or any."""
    if isinstance(tool_choice, Mapping):
        name = cast("Mapping[str, Any]", tool_choice)["function"]["name"]
        return {tool["function"]["name"]: tool["function"] for tool in tools}[name]
    return tools[0]["function"] if tool_choice == "required" else None


def _text(message: Mapping[str, Any]) -> str:
    """A message's text, which is a string, a list of parts, or nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\S+\s*", text))


def _triggers(name: str, said: str) -> bool:
    words = set(re.findall(r"[a-z]+", said.lower()))
    return any(word in words for word in re.findall(r"[a-z]+", name.lower()) if len(word) >= _SHORTEST_TRIGGER)


def _arguments(function: Mapping[str, Any], said: str) -> str:
    """Something of the right type for each property of the tool's JSON schema that must be there."""
    schema: dict[str, Any] = function.get("parameters") or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    return json.dumps({name: _value(properties[name], said) for name in schema.get("required") or ()})


def _value(schema: Mapping[str, Any], said: str) -> object:
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type") or [option.get("type") for option in schema.get("anyOf", ())]
    if not kinds or "null" in kinds:  # without a type it is a reference, which is not looked up
        return None
    values: dict[str, object] = {"string": said, "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    return values.get(kinds if isinstance(kinds, str) else kinds[0])
