"""The name that a process exports as: one for its spans and its metrics, and the user's before ours."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from firstword.telemetry.service import service_resource


def test_the_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our defaults."""
    assert service_resource().attributes["service.name"] == "firstword"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "hotline")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=live")
    named = service_resource().attributes
    assert (named["service.name"], named["deployment.environment.name"]) == ("hotline", "live")
    assert named["service.version"] == version("firstword")


def test_a_service_may_have_another_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the tuner; the user's comes before that, too."""
    assert service_resource("firstword-tuner").attributes["service.name"] == "firstword-tuner"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=night-watch")
    assert service_resource("firstword-tuner").attributes["service.name"] == "night-watch"
