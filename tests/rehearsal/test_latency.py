"""The latency model: what a file may say, and that a seed repeats a run."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from firstword.rehearsal.providers.latency import Distribution, Faults, Latencies, LatencyError


def test_defaults():
    """Without a file the model has the documented medians, a spread, and no faults."""
    model = Latencies.load()
    medians = {
        "llm": model.llm.first_token.median_ms,
        "tts": model.tts.first_byte.median_ms,
        "stt": model.stt.connect.median_ms,
        "connection": model.connection.median_ms,
        "store": model.store.read.median_ms,
    }
    assert medians == {"llm": 400, "tts": 250, "stt": 150, "connection": 100, "store": 120}
    assert all(spread.sigma > 0 for spread in (model.llm.first_token, model.tts.first_byte, model.connection))
    assert {provider.faults for provider in (model.llm, model.tts, model.stt, model.store)} == {
        Faults(refuse=0, cut=0, slow=0, slow_ms=5000)
    }


def test_a_file_changes_only_what_it_names(tmp_path: Path):
    """A file is laid over the defaults, entry by entry."""
    path = tmp_path / "providers.toml"
    path.write_text("seed = 7\n[llm]\nfirst_token = { median_ms = 800.5 }\nfaults = { cut = 0.25 }\n")
    model, default = Latencies.load(path), Latencies.load()
    assert model.seed == 7
    assert model.llm.first_token == Distribution(median_ms=800.5, sigma=default.llm.first_token.sigma)
    assert model.llm.faults == Faults(refuse=0, cut=0.25, slow=0, slow_ms=5000)
    assert (model.llm.token, model.tts, model.stt, model.store) == (
        default.llm.token,
        default.tts,
        default.stt,
        default.store,
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[llm]\nspeed = 3", "llm.speed: is unknown; expected one of first_token, token, faults"),
        ("[connection]\nmedian_ms = -1", "connection.median_ms: was -1; expected a number of at least 0"),
        ("[connection]\nsigma = nan", "connection.sigma: was nan; expected a number of at least 0"),
        ("[connection]\nsigma = inf", "connection.sigma: was inf; expected a number of at least 0"),
        (
            '[tts]\nfirst_byte = { median_ms = "250" }',
            "tts.first_byte.median_ms: was '250'; expected a number of at least 0",
        ),
        ("[tts]\nfirst_byte = 250", "tts.first_byte: was 250; expected a table of median_ms, sigma"),
        ("[store]\nread = { median_ms = true }", "store.read.median_ms: was True; expected a number of at least 0"),
        ("[stt]\nfaults = { refuse = 1.5 }", "stt.faults.refuse: was 1.5; expected a number from 0 to 1"),
        ('[tts]\nbody = "mp3"', "tts.body: was 'mp3'; expected one of audio, json, html, header, short"),
        ("[tts]\nrefused = [1]", "tts.refused: was [1]; expected a list of names"),
        ('[stt]\nrefused = "zz"', "stt.refused: was 'zz'; expected a list of names"),
        ("seed = 1.5", "seed: was 1.5; expected a whole number of at least 0"),
        ("seed = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, complaint: str):
    """The error says which file, which key, what it was and what it may be."""
    path = tmp_path / "providers.toml"
    path.write_text(text)
    with pytest.raises(LatencyError) as caught:
        Latencies.load(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_missing_file_is_named(tmp_path: Path):
    """A file that isn't there is an error, not the defaults."""
    with pytest.raises(LatencyError, match=r"nowhere\.toml: can't be read \(No such file or directory\)"):
        Latencies.load(tmp_path / "nowhere.toml")


def test_a_file_of_bytes_is_no_toml(tmp_path: Path):
    """A binary file gets the same kind of error as a misspelt one."""
    path = tmp_path / "providers.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LatencyError, match="is not TOML"):
        Latencies.load(path)


def test_the_same_seed_draws_the_same():
    """A stream depends on seed and name alone; other names and seeds draw otherwise."""
    model, again = Latencies.load(), Latencies.load()

    def draws(source: Latencies, name: str) -> list[float]:
        stream = source.stream(name)
        return [source.llm.first_token.draw(stream) for _ in range(20)]

    assert draws(model, "llm") == draws(again, "llm")
    assert draws(model, "llm") != draws(model, "tts")


def test_another_seed_draws_otherwise(tmp_path: Path):
    """The seed of the file counts."""
    path = tmp_path / "providers.toml"
    path.write_text("seed = 2")
    assert Latencies.load(path).stream("llm").random() != Latencies.load().stream("llm").random()


def test_draws_are_lognormal_seconds():
    """Half of the draws lie below the median, and the logarithms spread by sigma."""
    distribution = Distribution(median_ms=400, sigma=0.3)
    stream = Latencies.load().stream("test")
    draws = [distribution.draw(stream) for _ in range(5000)]
    assert statistics.median(draws) == pytest.approx(0.4, rel=0.03)
    assert statistics.stdev(math.log(draw) for draw in draws) == pytest.approx(0.3, rel=0.05)
    assert Distribution(median_ms=250, sigma=0).draw(stream) == 0.25


def test_faults_come_as_often_as_they_are_likely():
    """Probability 1 always fails, 0 never, and in between it is a share."""
    stream = Latencies.load().stream("test")
    always = Faults(refuse=1, cut=1, slow=1, slow_ms=1500).draw(stream)
    assert (always.refused, always.cut, always.delay) == (True, True, 1.5)
    never = Faults(refuse=0, cut=0, slow=0, slow_ms=1500).draw(stream)
    assert (never.refused, never.cut, never.delay) == (False, False, 0)
    drawn = [Faults(refuse=0.2, cut=0, slow=0, slow_ms=0).draw(stream).refused for _ in range(5000)]
    assert statistics.mean(drawn) == pytest.approx(0.2, abs=0.02)
