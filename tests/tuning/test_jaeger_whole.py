"""All traces come from a Jaeger, or the reading ends with an error: pages, busy servers, broken connections, redirects."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count

import pytest

from firstword.tuning import http_get
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.notes import Given, Note, Used, Warned
from firstword.tuning.sources import Query, SourceError
from tests.tuning.answering import Reply, Request, Store, serving
from tests.tuning.written import no_problem

NOW_US = int(time.time() * 1e6)
RANDOM = random.Random(1)
SCATTERED = [NOW_US - RANDOM.randrange(6 * 86_400_000_000) for _ in range(1000)]
A_RUSH = [NOW_US - 3_600_000_000 + RANDOM.randrange(2_000_000) for _ in range(300)]
EVER = Query(limit=100_000)


def ids(jaeger: Jaeger, query: Query = EVER) -> list[str]:
    return [trace.trace_id for trace in jaeger.traces(query, no_problem)]


@pytest.mark.parametrize("begins", [SCATTERED, A_RUSH, SCATTERED[:3], SCATTERED[:1]], ids=["1000", "rush", "3", "1"])
@pytest.mark.parametrize(("most", "counts"), [(None, False), (20, False), (10, True), (50, False), (2, False)])
def test_all_come_in_answers_however_short(begins: list[int], most: int | None, counts: bool) -> None:
    """A server may give fewer than it was asked for, and say so or not; each trace comes once, the newest first."""
    store = Store(begins, most, counts)
    with serving(store) as url:
        found = ids(Jaeger(url))
    newest_first = sorted(range(1, len(begins) + 1), key=lambda n: (begins[n - 1], f"{n:032x}"), reverse=True)
    assert found == [f"{n:032x}" for n in newest_first]


def test_an_honest_server_is_asked_little_more() -> None:
    """Each answer that is longer than all before is tried against its halves: few are."""
    store = Store(SCATTERED)
    with serving(store) as url:
        assert len(ids(Jaeger(url))) == 1000
    # a thousand in pages of less than a hundred are 31 windows halved or read, and the operation's empty ones
    assert store.asked < 70


def test_a_week_is_seven_days() -> None:
    """Though a day more is asked for, since clocks differ; what is older is read where there is nothing else."""
    hour = 3_600_000_000
    begins = [NOW_US - hour, NOW_US - 7 * 24 * hour + hour, NOW_US - 7 * 24 * hour - hour]
    for there, newest in ((begins, 2), (begins[2:], 1)):
        with serving(Store(there)) as url:
            assert len(ids(Jaeger(url))) == newest


def test_what_comes_meanwhile_is_not_taken_for_what_was_left_out() -> None:
    """While calls go on, a session is added after each question. A tuner reads again and again, and does not ask more for it."""
    store = Store([NOW_US - 1_000_000 * n for n in range(1, 40)])

    def answer(request: Request) -> Reply:
        reply = store(request)
        if store.asked < 100:  # else who asks more and more never ends
            store.begins.append(time.time_ns() // 1000)
        return reply

    with serving(answer) as url:
        jaeger = Jaeger(url)
        for _ in range(5):
            there = len(store.begins)
            assert set(ids(jaeger)) >= {f"{n:032x}" for n in range(1, there + 1)}
    assert store.asked <= 5 * 4


@pytest.mark.parametrize(("most", "counts"), [(20, True), (None, False)])
def test_what_cannot_be_had_ends_the_reading(most: int | None, counts: bool) -> None:
    """More began in one microsecond than the server gives: no figure may be made of the rest."""
    with (
        serving(Store([NOW_US - 1_000_000] * 1001, most, counts)) as url,
        pytest.raises(SourceError, match=r"gives at most \d+ traces an answer, and more began in one microsecond"),
    ):
        ids(Jaeger(url))


def test_spans_that_began_before_their_window_do_not_halve_it_for_ever() -> None:
    """Where the root began long before what was searched for, half of the time is taken instead."""
    store = Store([NOW_US - 1_000_000 * n for n in range(1, 60)])
    shifted = Store([at - 8 * 86_400_000_000 for at in store.begins])

    def answer(request: Request) -> Reply:
        path, parameters = request
        if path != "/api/traces":
            return store(request)
        moved = {key: str(int(parameters[key]) - 8 * 86_400_000_000) for key in ("start", "end")}
        return shifted((path, {**parameters, **moved}))

    with serving(answer) as url:
        assert len(ids(Jaeger(url, page_size=5))) == 59
    assert shifted.asked < 400


def test_that_there_are_more_is_said() -> None:
    """Of a limit that nobody asked for; and what was read adds up."""
    notes: list[Note] = []
    begins = [NOW_US - 1000 * n for n in range(1, 1200)]
    with serving(Store(begins)) as url:
        jaeger = Jaeger(url)
        assert len(list(jaeger.traces(Query(), notes.append))) == 1000
        assert notes == [
            Used(jaeger.name, 1000, noun="service"),
            Given(1000),
            Warned(jaeger.name, "it has more than the newest 1000 traces; --limit reads more"),
        ]


def after(failures: int, failure: Reply) -> Callable[[Request], Reply]:
    """A Jaeger without traces that first fails so often."""
    number, store = count(1), Store([])
    return lambda request: failure if next(number) <= failures else store(request)


@pytest.mark.parametrize(
    "failure",
    [
        *(Reply(status) for status in (429, 502, 503, 504)),
        Reply(503, headers={"retry-after": "1"}),
        Reply(200, b"{}", cut=1),
    ],
    ids=["429", "502", "503", "504", "503 with a wish", "cut"],
)
def test_a_busy_server_is_asked_three_times(failure: Reply) -> None:
    """The third time it answers."""
    with serving(after(2, failure)) as url:
        assert ids(Jaeger(url, version=1)) == []


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (Reply(503, b'{"error": {"message": "storage is down"}}'), "answers 503 .*: storage is down; asked 3 times"),
        (Reply(429, b"slow down", {"retry-after": "60"}), "answers 429 .*: slow down; asked 1 time$"),
        (Reply(200, b"{}", cut=1), "its answer broke off 1 bytes before its end; asked 3 times"),
        (Reply(500, b"no\x1b]0;title\x07"), r"answers 500 .*: no\\x1b\]0;title\\x07$"),
        (Reply(200, b'{"data": null, "errors": [{"code": 500, "msg": "query failed"}]}'), "query failed"),
    ],
    ids=["503", "429", "cut", "500", "error in an answer"],
)
def test_then_its_own_words_are_said(failure: Reply, says: str) -> None:
    """Without what could move a terminal's cursor."""
    with serving(lambda _: failure) as url, pytest.raises(SourceError, match=says):
        ids(Jaeger(url, version=1))


def test_an_answer_that_fails_in_the_middle_ends_the_reading() -> None:
    """Of a page that is an error nobody knows what it would have been."""
    number, store = count(1), Store(SCATTERED)
    error = Reply(body=b'{"data": null, "errors": [{"code": 500, "msg": "index is gone"}]}')
    with (
        serving(lambda request: error if next(number) == 5 else store(request)) as url,
        pytest.raises(SourceError, match="index is gone"),
    ):
        ids(Jaeger(url, version=1))


def test_a_redirect_to_another_host_is_not_followed() -> None:
    """Not even to another port; within the server it is."""
    heard: list[Request] = []

    def hear(request: Request) -> Reply:
        heard.append(request)
        return Reply()

    says = "redirects to another host, which is not followed; if that is right, give http"
    with (
        serving(hear) as other,
        serving(lambda _: Reply(302, headers={"location": f"{other}/api/services"})) as url,
        pytest.raises(SourceError, match=says),
    ):
        ids(Jaeger(url, version=1))
    assert heard == []
    store = Store([])
    moved = Reply(301, headers={"location": "/api/services"})
    with (
        serving(lambda request: moved if request[0] == "/base/api/services" else store(request)) as url,
        pytest.raises(SourceError, match="it has: firstword"),
    ):
        ids(Jaeger(f"{url}/base", version=1), Query(service="none"))


def test_an_answer_has_a_deadline_and_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly it comes, and however much."""
    with serving(lambda _: Reply(body=b"x" * 1_000_000)) as url:
        monkeypatch.setattr(http_get, "_LONGEST_ANSWER", 999_999)
        with pytest.raises(SourceError, match="an answer of more than"):
            ids(Jaeger(url, version=1))
        monkeypatch.undo()
        monkeypatch.setattr(http_get, "_LONGEST_S", -1.0)
        with pytest.raises(SourceError, match="an answer that takes more than"):
            ids(Jaeger(url, version=1))


def test_a_window_of_an_incident_is_cut_out() -> None:
    """What began since one time and before another."""
    begins = [NOW_US - 1_000_000 * n for n in range(1, 30)]
    query = Query(since_ns=begins[19] * 1000, until_ns=begins[9] * 1000)
    with serving(Store(begins)) as url:
        assert len(ids(Jaeger(url, page_size=4), query)) == 10
        assert len(ids(Jaeger(url, page_size=4), Query(until_ns=begins[9] * 1000))) == 19
