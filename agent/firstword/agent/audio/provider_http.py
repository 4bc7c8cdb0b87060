"""The HTTP session for a provider's plugin. It checks each answer before the plugin uses it.

Deepgram's plugin (livekit-plugins-deepgram 1.8.9) takes the body of any 200 for audio. And a voice or language that the
provider refuses fails each request of the session anew. Plugins accept a session of ours; it has those methods of
aiohttp's that they use.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from livekit.agents.utils import http_context
from yarl import URL

from firstword.agent.audio.refusals import REMEMBERED_S, Refusals

logger = logging.getLogger("firstword")

REFUSED: Final = frozenset({400, 403, 404, 422})
"""HTTP statuses by which a provider may say that it has no such voice or language, or not for this key.

Not among them: 401 and 402 (the key itself), 429 and 5xx (an outage), which say nothing of what was asked for.
"""
_AUDIO: Final = ("audio/", "application/octet-stream")
"""Media types of audio: its own, and the one of a server that does not say what it sends."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A value of an account that only the provider can judge, such as its voice, and what to ask for if it is refused."""

    field: str
    """Name of the account's field."""
    parameter: str
    """Parameter of the request's URL that has the value."""
    instead: Callable[[str], Sequence[str]]
    """Returns what to ask for in place of a refused value, in order. The last one is our default."""


class ProviderHTTP:
    """An HTTP session that asks again with another value if the provider refuses an account's voice or language.

    It uses LiveKit's HTTP session of the job.
    """

    def __init__(self, judged: Judged, refusals: Refusals) -> None:
        self._judged = judged
        self._refusals = refusals
        self._session: aiohttp.ClientSession | None = None

    @property
    def closed(self) -> bool:
        """Returns whether the HTTP session has been closed."""
        return self._session is not None and self._session.closed

    def accepted(self, value: str) -> str:
        """Returns what is asked for when `value` is wanted: `value` itself or, if the provider has refused it, its
        replacement.
        """
        return self._values(value)[0]

    async def ws_connect(self, url: str, **options: Any) -> aiohttp.ClientWebSocketResponse:
        """Opens a WebSocket, with replacements of the value as long as the provider refuses it. Raises what aiohttp
        raises.

        A refusal is raised only once nothing is left to ask for instead.
        """
        *others, last = self._urls(url)
        refused: list[tuple[str, int]] = []
        for value, asked in others:
            try:
                opened = await self._opened(asked, options)
            except aiohttp.WSServerHandshakeError as error:
                if error.status not in REFUSED:
                    raise
                refused.append((value, error.status))
            else:
                self._remember(refused)
                return opened
        opened = await self._opened(last[1], options)
        self._remember(refused)
        return opened

    @contextlib.asynccontextmanager
    async def post(self, url: str, **options: Any) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Context manager of a POST request for audio, with replacements of the value as long as the provider refuses
        it.

        Raises aiohttp.ContentTypeError with status 415 if a successful answer is not audio.
        """
        *others, last = self._urls(url)
        refused: list[tuple[str, int]] = []
        for value, asked in others:
            async with self._http().post(asked, **options) as response:
                if response.status not in REFUSED:
                    self._believe(response, refused)
                    yield response
                    return
                refused.append((value, response.status))
        async with self._http().post(last[1], **options) as response:
            self._believe(response, refused)
            yield response

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = http_context.http_session()
        return self._session

    async def _opened(self, url: URL, options: dict[str, Any]) -> aiohttp.ClientWebSocketResponse:
        connect: Any = self._http().ws_connect  # its type depends on which options there are
        return await connect(url, **options)

    def _values(self, value: str) -> list[str]:
        wanted = list(dict.fromkeys((value, *self._judged.instead(value))))
        return [each for each in wanted[:-1] if not self._refusals.known(self._judged.field, each)] + wanted[-1:]

    def _urls(self, url: str) -> list[tuple[str, URL]]:
        """The values to ask for, in order, each with its URL."""
        parsed = URL(url)
        parameter = self._judged.parameter
        return [(value, parsed.update_query({parameter: value})) for value in self._values(parsed.query[parameter])]

    def _believe(self, response: aiohttp.ClientResponse, refused: Sequence[tuple[str, int]]) -> None:
        if not response.ok:
            return  # the plugin raises for it
        if not response.content_type.startswith(_AUDIO):
            # with a status of its own, by which LiveKit sees that to ask again is of no use
            status, told = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected audio, not {response.content_type}"
            raise aiohttp.ContentTypeError(response.request_info, response.history, status=status, message=told)
        self._remember(refused)

    def _remember(self, refused: Sequence[tuple[str, int]]) -> None:
        """Only once something else was taken in its place: where nothing is, the fault is not the account's."""
        field = self._judged.field
        for value, status in refused:
            if self._refusals.add(field, value):
                logger.warning(
                    "the provider refused the %s of an account (HTTP %d): another takes its place for %g minutes",
                    field,
                    status,
                    REMEMBERED_S / 60,
                )
