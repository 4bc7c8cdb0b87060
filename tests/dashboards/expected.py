"""What each panel must return of what `planted` records: by page and title, then by the name of each series.

A figure is exact; two bound what a histogram's buckets can tell, or what this machine uses.
"""

from __future__ import annotations

Value = float | tuple[float, float]

WINDOW_S = 300
"""Seconds of every window: all that was recorded lies in it."""


def a_minute(count: int) -> float:
    """What a graph by the minute shows of something that happened `count` times in the window."""
    return 60 * count / WINDOW_S


def times(
    what: str, three: list[Value], join: Value, ahead: Value, on: Value, off: Value
) -> dict[str, dict[str, Value]]:
    """The four graphs of a time: p50, p90 and p99 of all, then p90 by dispatch, outcome and flag."""
    return {
        what: dict(zip(("p50", "p90", "p99"), three, strict=True)),
        f"{what} by dispatch": {"join": join, "ahead": ahead},
        f"{what} by outcome": {"first_word": three[1]},
        f"{what} by flag": {"light-connect on": on, "light-connect off": off},
    }


TTFW: list[Value] = [(0.75, 1.0), (1.25, 1.5), (2.0, 2.5)]
INIT: list[Value] = [(1.0, 1.25), (1.5, 2.0), (2.0, 2.5)]
WEATHER: list[Value] = [(0.5, 0.75), (1.5, 2.0), (1.5, 2.0)]
ON, OFF = (0.75, 1.0), (2.0, 2.5)
INIT_ON, INIT_OFF = (1.0, 1.25), (2.0, 2.5)
QUANTILES = ("p50", "p90", "p99")


def named(name: str, three: list[Value]) -> dict[str, Value]:
    """Three columns of a table's row."""
    return {f"{name} {quantile}": value for quantile, value in zip(QUANTILES, three, strict=True)}


START_UP: dict[str, dict[str, Value]] = {
    "Starts with a first word": {"heard": 0.90},
    "Starts": {"starts": 21},
    "First word in this range": dict(zip(QUANTILES, TTFW, strict=True)),
    "Initialization in this range": dict(zip(QUANTILES, INIT, strict=True)),
    "Fallbacks a start": {"fallbacks": 4 / 20},
    "Cache hits": {"hits": 15 / 40},
    **times("First word", TTFW, join=(1.25, 1.5), ahead=(2.0, 2.5), on=ON, off=OFF),
    **times("Initialization", INIT, join=(1.5, 2.0), ahead=(2.0, 2.5), on=INIT_ON, off=INIT_OFF),
    "What the path is made of": {"account": 0.2, "greeting": 0.3, "weather": 0.05},
    "Task duration": {"account": (0.2, 0.3), "greeting": (0.3, 0.5), "weather": WEATHER[1]},
    "Task timings in this range": {
        **named("account", [(0.2, 0.3)] * 3),
        **named("greeting", [(0.3, 0.5)] * 3),
        **named("weather", WEATHER),
    },
    "Loop time": {"account": (0, 0.05), "greeting": (0, 0.05), "weather": (0.1, 0.2)},
    "Starts by outcome": {
        "first_word": a_minute(18),
        "failed": a_minute(1),
        "timed_out": a_minute(1),
        "abandoned": a_minute(1),
        "no_caller": 0,
    },
    "Starts with a first word, over time": {"heard": 0.90},
    "Fallbacks a start, by task": {"account": 4 / 20},
    "Cache hits by task": {"account": 0.75, "greeting": 0},
    "Errors by task": {"account TimeoutError": a_minute(2)},
    "Starts that a worker answers for": {"starts": a_minute(20)},
}

WORKERS: dict[str, dict[str, Value]] = {
    "Workers registered": {"registered": 2},
    "Calls": {"jobs": 4},
    "Idle processes": {"idle_processes": 3},
    "Workers full": {"full": 1},
    "Workers draining": {"draining": 1},
    "Load of the busiest": {"load": 0.8},
    "Calls of each worker": {"a": 3, "b": 1},
    "Load of each worker": {"a": 0.4, "b": 0.8},
    "Idle processes of each worker": {"a": 2, "b": 1},
    "State of each worker": {
        "a registered": 1,
        "a ready": 1,
        "a full": 0,
        "a draining": 0,
        "b registered": 1,
        "b ready": 0,
        "b full": 1,
        "b draining": 1,
    },
    "Drain of each worker": {"b": 0.85},
    "CPU of each worker": {"a": (0.0001, 2)},
    "Memory of each worker": {"a": (50e6, 4e9)},
    "Process start": {"p50": (1.0, 1.25), "p90": (1.0, 1.25), "p99": (7.5, 10.0)},
    "Helper failures": {"store: late": a_minute(3)},
    "Callers whose agent died": {
        "seen": a_minute(3),
        "rescued": a_minute(2),
        "left": 0,
        "given_up": a_minute(1),
    },
    "Figures and spans lost": {"spans": a_minute(6), "figures": a_minute(5)},
    "Collector refuses or fails": {"refused": 0, "failed": 0},
}

ROLLOUT: dict[str, dict[str, Value]] = {
    "Share of each flag": {"light-connect": 25},
    "Steps of the tuner": {"light-connect ramp": 2, "light-connect turn_back": 1},
    "The tuner holds": {"silent": 1},
    "Since the tuner's last look": {"ago": (29, 150)},
    "First word by variant": {"light-connect on": ON, "light-connect off": OFF},
    "Initialization by variant": {"light-connect on": INIT_ON, "light-connect off": INIT_OFF},
    "First word by variant, in this range": {
        **named("light-connect on", [ON] * 3),
        **named("light-connect off", [(1.25, 1.5), OFF, OFF]),
    },
    "First words of each variant": {"light-connect on": 9, "light-connect off": 9},
    "Tasks by variant": {
        "account light-connect on": 0.27,
        "account light-connect off": 0.27,
        "greeting light-connect on": 0.42,
        "greeting light-connect off": 0.42,
        "weather light-connect on": 0.6,
        "weather light-connect off": 1.6,
    },
}

EXPECTED = {"start-up": START_UP, "workers": WORKERS, "rollout": ROLLOUT}
