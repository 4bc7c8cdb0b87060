"""The last-finishing-child rule on traces drawn by hand. One letter or dash in a drawing is 10 us."""

from __future__ import annotations

import pytest

from firstword.telemetry.inferred_path import NoRoot, TimedSpan, last_finishing_path, root_of


def span(span_id: str, start: int, end: int, parent: str | None = None, kind: str = "internal") -> TimedSpan:
    """A span named by its id; times in microseconds."""
    return TimedSpan(span_id, parent, span_id, kind, start, end)


def path(*spans: TimedSpan, root: str | None = None) -> list[tuple[str | None, int, int]]:
    """The pieces in microseconds: whose, from, to."""
    return [(piece.task, piece.start // 1000, piece.end // 1000) for piece in last_finishing_path(spans, root)]


# r  ----------
# b   ---
# c       --          the root waits before, between and after them
def test_children_one_after_the_other() -> None:
    """From the root's end back: its own time, the child that finished last, its own time, the one before."""
    assert path(span("r", 0, 100), span("b", 10, 40, "r"), span("c", 50, 70, "r")) == [
        ("r", 0, 10),
        ("b", 10, 40),
        ("r", 40, 50),
        ("c", 50, 70),
        ("r", 70, 100),
    ]


# r  ----------
# b   -----
# c      -----        b ended after c began: nobody waited for b
def test_a_child_that_overlaps_the_one_that_finished_last_is_passed_over() -> None:
    """Before c the root is taken to have waited for nobody."""
    assert path(span("r", 0, 100), span("b", 10, 60, "r"), span("c", 40, 90, "r")) == [
        ("r", 0, 40),
        ("c", 40, 90),
        ("r", 90, 100),
    ]


# r  ------
# b  ---
# c     ---          b ends in the microsecond in which c starts
def test_children_that_touch_are_in_sequence() -> None:
    """Jaeger's page passes over b, so our own spans leave a microsecond between neighbours."""
    touching = (span("r", 0, 60), span("b", 0, 30, "r"), span("c", 30, 60, "r"))
    assert path(*touching) == [("b", 0, 30), ("c", 30, 60)]
    assert [piece.task for piece in last_finishing_path(touching, as_jaeger=True)] == ["r", "c"]
    apart = last_finishing_path((*touching[:1], span("b", 0, 29, "r"), touching[2]), as_jaeger=True)
    assert [(piece.task, piece.end // 1000) for piece in apart] == [("b", 29), ("r", 30), ("c", 60)]


def test_children_without_a_length_where_two_touch() -> None:
    """They take nothing of the path, and hide neither."""
    between = (span("x", 30, 30, "r"), span("y", 30, 30, "x"))
    touching = (span("r", 0, 60), span("b", 0, 30, "r"), span("c", 30, 60, "r"))
    assert path(*touching, *between) == path(*between, *reversed(touching)) == [("b", 0, 30), ("c", 30, 60)]


# r    ------
# b  -----           begins before its parent: cut
# c        -----     ends after it: cut
# d  --              outside: dropped
# e          ---     outside: dropped
def test_a_child_is_cut_to_its_parent() -> None:
    """What lies outside doesn't count, whatever it has below it."""
    trace = (
        span("r", 20, 80),
        span("b", 0, 50, "r"),
        span("c", 60, 110, "r"),
        span("d", 0, 20, "r"),
        span("e", 80, 110, "r"),
        span("f", 30, 60, "e"),
    )
    assert path(*trace) == [("b", 20, 50), ("r", 50, 60), ("c", 60, 80)]


def test_a_grandchild_is_cut_to_what_is_left_of_its_parent() -> None:
    """Cutting goes from the top down."""
    assert path(span("r", 0, 50), span("b", 10, 90, "r"), span("c", 20, 80, "b")) == [
        ("r", 0, 10),
        ("b", 10, 20),
        ("c", 20, 50),
    ]


def test_a_consumer_under_a_producer_blocks_nobody() -> None:
    """It is left out with all below it; a consumer under anything else is not."""
    below = (span("c", 10, 90, "p", "consumer"), span("d", 20, 80, "c"))
    assert path(span("r", 0, 100), span("p", 10, 95, "r", "producer"), *below) == [
        ("r", 0, 10),
        ("p", 10, 95),
        ("r", 95, 100),
    ]
    assert ("d", 20, 80) in path(span("r", 0, 100), span("p", 10, 95, "r", "internal"), *below)


def test_children_that_finish_together_the_one_that_starts_first() -> None:
    """Jaeger takes the first that it shows: where both are cut to the same stretch, too."""
    assert path(span("r", 20, 60), span("b", 15, 30, "r"), span("c", 10, 30, "r")) == [("c", 20, 30), ("r", 30, 60)]
    assert path(span("r", 0, 50), span("b", 20, 40, "r"), span("c", 10, 40, "r")) == [
        ("r", 0, 10),
        ("c", 10, 40),
        ("r", 40, 50),
    ]


def test_of_several_roots_the_longest() -> None:
    """A span whose parent was lost is a root only where there is no other; any other can be asked for."""
    trace = (span("a", 0, 10), span("b", 5, 50), span("orphan", 0, 900, "lost"), span("c", 0, 5, "a"))
    assert root_of(trace) == "b"
    assert path(*trace) == [("b", 5, 50)]
    assert path(*trace, root="a") == [("c", 0, 5), ("a", 5, 10)]
    assert path(span("orphan", 0, 9, "lost"), span("child", 2, 5, "orphan")) == [
        ("orphan", 0, 2),
        ("child", 2, 5),
        ("orphan", 5, 9),
    ]


def test_parents_in_a_circle() -> None:
    """Beside a root they are no part of its tree; with nothing else there is no root to walk back from."""
    circle = (span("a", 0, 10, "b"), span("b", 0, 10, "a"))
    assert path(span("r", 0, 20), *circle) == [("r", 0, 20)]
    with pytest.raises(NoRoot, match="parent"):
        path(*circle)
    with pytest.raises(NoRoot, match="no spans"):
        path()
    with pytest.raises(KeyError):
        path(*circle, root="x")


def test_zero_and_negative_durations() -> None:
    """A root without length has an empty path; a child without length takes none of it."""
    assert path(span("r", 10, 10)) == []
    assert path(span("r", 10, 5)) == []
    assert path(span("r", 0, 50), span("b", 20, 20, "r"), span("c", 40, 30, "r")) == [("r", 0, 50)]


def test_the_same_span_twice() -> None:
    """An exporter that tried again sends the same; of two that differ the longer counts."""
    assert path(span("r", 0, 50), span("r", 0, 50), span("r", 0, 20)) == [("r", 0, 50)]


def test_a_hundred_thousand_spans_deep_and_wide() -> None:
    """No depth of recursion, nothing quadratic."""
    depth = 100_000
    deep = [TimedSpan(str(i), str(i - 1) if i else None, "span", "internal", i, 2 * depth - i) for i in range(depth)]
    assert len(last_finishing_path(deep)) == 2 * depth - 1
    wide = [span("r", 0, 2 * depth), *(span(str(i), 2 * i, 2 * i + 1, "r") for i in range(depth))]
    assert len(last_finishing_path(wide)) == 2 * depth
