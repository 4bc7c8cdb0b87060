"""Asks one server over HTTP: bounded in time and size, three tries where it is busy, and its own words where it refuses.

Below `firstword.tuning.jaeger`. Nothing that was meant for the server goes anywhere else: a redirect to another host is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from firstword.tuning.error_answer import words_in
from firstword.tuning.wording import amount, shown

_PATIENCE_S = 60.0
"""For a connection, and between two parts of an answer."""
_LONGEST_S = 180.0
"""An answer may take so long in all."""
_LONGEST_ANSWER = 512 * 2**20
_CHUNK = 2**18
_TRIES = 3
_PAUSE_S = 0.5
"""After the first try; twice as long after each next."""
_TRIED_FOR_S = 10.0
"""No new try begins later than this."""
_BUSY = frozenset({429, 502, 503, 504})
_MOST_WORDS = 300


class HttpError(Exception):
    """Raised where there is no answer to use; the message says why, in the server's words where it has some."""


class QueryServer:
    """A server that is asked over HTTP, given by the address that all paths begin with."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """url: `http://HOST:PORT` or `https://HOST`, and a base path if it has one; raises ValueError.

        headers: are sent with every request.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("expected http://HOST:PORT or https://HOST, without user or password")
        self.url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._opener = _opener(parts.hostname)

    def get(self, path: str, parameters: Mapping[str, object]) -> bytes | None:
        """Sends a GET request and returns the body of the answer; None for 404. Raises HttpError.

        Parameters that are None are left out. A server that is busy, or breaks the connection, is asked three times
        within ten seconds.
        """
        asked = urlencode({key: value for key, value in parameters.items() if value is not None}, quote_via=quote)
        url = f"{self.url}{path}{'?' if asked else ''}{asked}"
        begin, tries = time.monotonic(), 0
        while True:
            try:
                return self._once(url, path)
            except _TryAgain as error:
                wait = max(_PAUSE_S * 2**tries, error.after_s)
                tries += 1
                if tries == _TRIES or time.monotonic() - begin + wait > _TRIED_FOR_S:
                    raise HttpError(f"{error}; asked {amount(tries, 'time')}") from None
                time.sleep(wait)

    def _once(self, url: str, path: str) -> bytes | None:
        try:
            with self._opener.open(Request(url, headers=self._headers), timeout=_PATIENCE_S) as answer:  # noqa: S310 # http or https, by __init__
                return _body(cast("HTTPResponse", answer))
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                says = f"it answers {error.code} {error.reason} to {path}{_in_its_words(error)}"
                if error.code in _BUSY:
                    raise _TryAgain(says, _seconds(error.headers.get("Retry-After"))) from None
                raise HttpError(says) from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            words = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
            says = f"it can't be read: {words or type(reason).__name__}"
            if isinstance(reason, ConnectionError | HTTPException):
                raise _TryAgain(says) from None
            raise HttpError(says) from None


class _TryAgain(Exception):
    def __init__(self, says: str, after_s: float = 0.0) -> None:
        super().__init__(says)
        self.after_s = after_s


class _SameHost(HTTPRedirectHandler):
    """Follows a redirect within the server alone."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        target = urljoin(req.full_url, newurl)
        here, there = urlsplit(req.full_url), urlsplit(target)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            elsewhere = f"{there.scheme}://{there.netloc}"
            raise HttpError(f"it redirects to another host, which is not followed; if that is right, give {elsewhere}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(host: str) -> OpenerDirector:
    """Through the proxy that the environment names, but never to this machine."""
    loopback = host in ("localhost", "127.0.0.1", "::1")
    return build_opener(_SameHost(), *((ProxyHandler({}),) if loopback else ()))


def _body(answer: HTTPResponse) -> bytes:
    """All of an answer. Raises HttpError where it is too long or too slow, HTTPException and OSError where it breaks off."""
    deadline = time.monotonic() + _LONGEST_S
    content = bytearray()
    while part := answer.read1(_CHUNK):
        content += part
        if len(content) > _LONGEST_ANSWER:
            raise HttpError(f"an answer of more than {_LONGEST_ANSWER // 2**20} MB; expected less: give a --limit")
        if time.monotonic() > deadline:
            raise HttpError(f"an answer that takes more than {_LONGEST_S:.0f} s")
    if answer.length:
        raise HTTPException(f"its answer broke off {answer.length} bytes before its end")
    return bytes(content)


def _seconds(retry_after: str | None) -> float:
    """Of a header in seconds; a date is taken for no wish."""
    return float(retry_after) if retry_after and re.fullmatch(r"\d{1,6}", retry_after) else 0.0


def _in_its_words(error: HTTPError) -> str:
    """What the body of an error says: `: parsing time failed`; empty where it says nothing."""
    try:
        text = error.read(2**16).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""
    words = words_in(text) or re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    words = " ".join(words.split())[:_MOST_WORDS]
    return f": {shown(words)}" if words else ""
