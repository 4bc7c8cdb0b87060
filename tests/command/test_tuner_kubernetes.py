"""The tuner on a ConfigMap and a Lease, against an API server of ours. It was not run on a cluster (docs/tuner.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firstword.agent.flags.flag_file import FlagFileError
from firstword.agent.flags.improvements import NO_CHANGE
from firstword.agent.flags.writer import Move
from firstword.command.tuner.api_server import ApiError, ApiServer
from firstword.command.tuner.config_map import HISTORY, KEY, PAUSED, PREVIOUS, ConfigMapStore
from firstword.command.tuner.history import entry, from_text
from firstword.command.tuner.kubernetes_lease import LEASE_S, KubernetesLease
from tests.agent.flag_files import shared, text
from tests.command.api_server import CONFIG_MAPS, EVENTS, LEASES, NAME, Cluster, service_account, serving_cluster
from tests.command.tuner_weeks import BEGIN, Days
from tests.tuning.sessions_drawn import World

GOOD, BAD = "parallel-init", "light-connect"
FLAGS, LEASE = f"{CONFIG_MAPS}/{NAME}", f"{LEASES}/{NAME}"
MADE = "2026-11-01T00:00:00Z"


@pytest.fixture
def cluster() -> Cluster:
    """With the objects that the chart makes."""
    made = Cluster()
    made.put(FLAGS, {"metadata": {"creationTimestamp": MADE}, "data": {KEY: text(parallel_init=shared(0))}})
    made.put(LEASE, {"metadata": {}, "spec": {}})
    return made


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[ApiServer]:
    with serving_cluster(cluster) as url:
        yield ApiServer(url, service_account(tmp_path / "account"))


def data(cluster: Cluster) -> dict[str, Any]:
    return cluster.objects[FLAGS]["data"]


def days_of(server: ApiServer, **more: Any) -> Days:
    return Days(ConfigMapStore(server, NAME), lambda on: World(0.7 if on.get(GOOD) else 1.0), **more)


def test_weeks_on_a_config_map_end_as_on_a_file(cluster: Cluster, server: ApiServer) -> None:
    """With no more rights than the Role gives; flags before, history and events lie where `kubectl` finds them."""
    days = days_of(server)
    days.week(30)
    assert days.shares() == {GOOD: 100, NO_CHANGE: 0}
    assert set(cluster.asked) <= cluster.role
    before = json.loads(data(cluster)[PREVIOUS])["flags"][GOOD]
    assert before["targeting"] == {"fractional": [["on", 50], ["off", 50]]}
    moves = [(each.flag, each.to) for each in from_text(data(cluster)[HISTORY]) if each.flag]
    assert moves == days.moves()
    assert [event["reason"] for event in cluster.events] == ["Trial", "Trial", "Start", "Ramp", "Ramp", "Ramp"]
    assert cluster.events[-1]["message"].startswith("parallel-init: ramp from 50 to 100 %; it is surely faster")


def test_what_somebody_changed_meanwhile_is_not_overwritten(cluster: Cluster, server: ApiServer) -> None:
    """409 is said; other keys of the object stay as they are."""
    cluster.objects[FLAGS]["data"]["theirs"] = "kept"
    store = ConfigMapStore(server, NAME)
    store.read()
    cluster.put(FLAGS, cluster.objects[FLAGS])
    before = dict(data(cluster))
    with pytest.raises(FlagFileError, match="expected the object as it was read; possible cause: somebody changed it"):
        store.write([Move(GOOD, 5, "why", BEGIN)], [])
    assert data(cluster) == before
    store.read()
    store.write([Move(GOOD, 5, "why", BEGIN)], [entry(BEGIN, "start", "why", flag=GOOD, shares=(0, 5))])
    assert data(cluster)["theirs"] == "kept"


def test_of_two_tuners_one_works_and_the_other_takes_over(cluster: Cluster, server: ApiServer) -> None:
    """When the first gives its Lease back, or renews it no more for as long as it says, whatever the clocks say."""
    now = 0.0
    first, second = (KubernetesLease(server, NAME, clock=lambda: now) for _ in range(2))
    assert first.hold() is None
    spec = cluster.objects[LEASE]["spec"]
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (LEASE_S, 1)
    assert second.hold() == spec["holderIdentity"]
    now += LEASE_S - 1
    assert first.hold() is None  # renewed
    now += LEASE_S - 1
    assert second.hold() == spec["holderIdentity"]  # seen changed just now
    now += LEASE_S + 1
    assert second.hold() is None
    assert first.hold() == cluster.objects[LEASE]["spec"]["holderIdentity"]
    second.release()
    assert first.hold() is None


def test_two_that_start_at_once_do_not_both_have_it(cluster: Cluster, server: ApiServer) -> None:
    """Both have seen it free; the second's request conflicts."""
    lease = KubernetesLease(server, NAME)
    get = server.get

    def overtaken(path: str) -> dict[str, Any]:
        found = get(path)
        cluster.put(LEASE, {"metadata": {}, "spec": {"holderIdentity": "the other", "leaseDurationSeconds": 60}})
        return json.loads(json.dumps(found))

    server.get = overtaken
    assert lease.hold() == "another tuner, which has just taken the Lease"
    server.get = get
    assert lease.hold() == "the other"


def test_an_annotation_stops_it(cluster: Cluster, server: ApiServer) -> None:
    """As `kubectl annotate` sets it; the command does the same."""
    days = days_of(server)
    days.prove()
    cluster.objects[FLAGS]["metadata"]["annotations"] = {PAUSED: "incident 7"}
    days.week(1)
    assert days.held() == "paused"
    days.store.pause(None)
    days.week(1)
    assert days.held() is None
    days.store.pause("stopped by hand")
    assert cluster.objects[FLAGS]["metadata"]["annotations"] == {PAUSED: "stopped by hand"}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"down": True}, "503 apiserver is shutting down"),
        ({"token": "renewed"}, "401 Unauthorized"),
        ({"role": set[tuple[str, str]]()}, "forbidden"),
        ({"objects": dict[str, dict[str, Any]]()}, "not found"),
    ],
    ids=["away", "token", "role", "no object"],
)
def test_a_server_that_is_away_or_refuses_is_waited_for(
    cluster: Cluster, server: ApiServer, fault: dict[str, Any], says: str
) -> None:
    """Held for `flags`, in the server's words; then it goes on."""
    days = days_of(server)
    days.prove()
    good = {name: getattr(cluster, name) for name in fault}
    for name, value in fault.items():
        setattr(cluster, name, value)
    days.look()
    assert days.held() == "flags"
    assert days.looks[-1].held is not None
    assert says in days.looks[-1].held.words
    for name, value in good.items():
        setattr(cluster, name, value)
    days.week(2)
    assert (days.held(), days.shares()[GOOD]) == (None, 5)


def test_a_renewed_token_is_used(cluster: Cluster, server: ApiServer, tmp_path: Path) -> None:
    """Kubernetes replaces the file each hour."""
    store = ConfigMapStore(server, NAME)
    store.read()
    cluster.token = "second"
    service_account(tmp_path / "account", "second")
    store.read()


@pytest.mark.parametrize("ahead", [-120.0, 120.0])
def test_a_server_with_another_clock_is_not_trusted(cluster: Cluster, server: ApiServer, ahead: float) -> None:
    """Its clock, or ours, is wrong: which sessions came after a move can't be told."""
    days = days_of(server)
    days.prove()
    cluster.ahead_s = ahead
    days.week(1)
    assert days.held() == "clock"
    assert days.looks[-1].held is not None
    assert ("ahead of" if ahead > 0 else "behind") in days.looks[-1].held.words


def test_without_the_right_to_make_events_the_flags_move_all_the_same(cluster: Cluster, server: ApiServer) -> None:
    """An event is a courtesy."""
    cluster.role.discard(("POST", EVENTS))
    days = days_of(server)
    days.prove()
    assert ((NO_CHANGE, 0) in days.moves(), cluster.events) == (True, [])


def test_a_share_by_hand_counts_from_when_somebody_else_wrote(cluster: Cluster, server: ApiServer) -> None:
    """The tuner's own entries in the history begin no count anew."""
    cluster.objects[FLAGS]["metadata"]["managedFields"] = [
        {"manager": "kubectl-edit", "time": "2026-11-02T00:00:00Z"},
        {"manager": "firstword-tuner", "time": "2026-11-20T00:00:00Z"},
    ]
    assert ConfigMapStore(server, NAME).read().changed == 1793577600.0


def test_outside_of_a_cluster_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, or no service account's files."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiError, match="KUBERNETES_SERVICE_HOST is not set"):
        ApiServer.in_cluster()
    with pytest.raises(ApiError, match="automountServiceAccountToken"):
        ApiServer("https://127.0.0.1:1", tmp_path)
