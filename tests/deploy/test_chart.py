"""The chart as a platform team meets it: what it renders is valid, holds the promises of its pages, and refuses contradictions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstword.agent.settings import Settings
from firstword.rehearsal.servers import HELM, KUBECTL_VALIDATE
from tests.deploy.rendered import CHART, DEPLOY, LARGE, SMALL, Manifest, RenderFailed, of_kind, pods, render, tool

pytestmark = pytest.mark.deploy

SCHEMAS = Path(__file__).parent / "schemas"
"""Of custom resources, written here: of each the fields that the chart uses, as its operator's pages say them."""
EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": False},
    "keda": {"enabled": True, "prometheus": "http://prometheus:9090"},
    "podMonitor": {"enabled": True, "port": 9100},
    "telemetry": {"endpoint": "http://collector:4317"},
    "env": {"FIRSTWORD_AGENT_NAME": "front-desk"},
}
OTHER_AGENT: dict[str, Any] = {
    "image": {"repository": "registry.example.com/agent", "tag": "7"},
    "liveness": {"path": "/"},
    "readiness": {"path": "/worker"},
    "secret": {"name": "agent", "keys": ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]},
}
CASES: dict[str, tuple[Mapping[str, Any], Sequence[Path]]] = {
    "default": ({}, ()),
    "small": ({}, (SMALL,)),
    "large": ({}, (LARGE,)),
    "everything": (EVERYTHING, (LARGE,)),
    "another agent": (OTHER_AGENT, ()),
}


@pytest.fixture(scope="module", params=CASES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    values, files = CASES[request.param]
    return render(values, *files)


def test_helm_finds_no_fault() -> None:
    done = subprocess.run(
        (tool(HELM), "lint", "--strict", str(CHART), "--set", "livekit.url=wss://livekit.example.com"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_would_take_it(manifests: list[Manifest], tmp_path: Path) -> None:
    """By the schemas that are built into kubectl-validate, of the oldest and the newest of them; what is custom by ours."""
    for number, manifest in enumerate(manifests):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(manifest))
    for version in ("1.27", "1.30"):
        command = (tool(KUBECTL_VALIDATE), "--version", version, "--local-crds", str(SCHEMAS), str(tmp_path))
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_field_is_seen(tmp_path: Path) -> None:
    """The check before can fail: for Kubernetes' own kinds, and for the custom ones."""
    for kind in ("Deployment", "ScaledObject", "PodMonitor"):
        (manifest,) = of_kind(kind, render({**EVERYTHING, "tuner": {"enabled": False}, "rescue": {"enabled": False}}))
        manifest["spec"]["colour"] = "red"
        (tmp_path / f"{kind}.yaml").write_text(yaml.safe_dump(manifest))
        command = (tool(KUBECTL_VALIDATE), "--local-crds", str(SCHEMAS), str(tmp_path / f"{kind}.yaml"))
        assert subprocess.run(command, capture_output=True).returncode != 0, kind


def test_a_call_may_end_before_its_pod_is_killed(manifests: list[Manifest]) -> None:
    pod = pods(manifests)["worker"]
    (drain,) = [each["value"] for each in pod["containers"][0]["env"] if each["name"] == "FIRSTWORD_DRAIN"]
    assert pod["terminationGracePeriodSeconds"] == int(drain) + 30


def test_a_rollout_and_an_eviction_take_one_worker_at_a_time(manifests: list[Manifest]) -> None:
    """A new one is ready first."""
    (worker,) = [each for each in of_kind("Deployment", manifests) if each["metadata"]["name"] == "agents-firstword"]
    assert worker["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (budget,) = of_kind("PodDisruptionBudget", manifests)
    assert budget["spec"]["maxUnavailable"] == 1
    labels = worker["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_nothing_runs_as_root_or_writes_where_it_is_not_told_to(manifests: list[Manifest]) -> None:
    for component, pod in pods(manifests).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] == (component == "tuner")
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_each_container_says_what_it_takes_and_which_image_it_is(manifests: list[Manifest]) -> None:
    """Memory is bounded; the CPU is not, or by the request: a throttled worker speaks late."""
    for pod in pods(manifests).values():
        for container in pod["containers"]:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= requests.keys()
            assert limits["memory"]
            assert limits.get("cpu", requests["cpu"]) == requests["cpu"]
            assert not container["image"].endswith((":latest", ":"))
            assert ":" in container["image"] or "@" in container["image"]


def test_secrets_are_named_and_never_given(manifests: list[Manifest]) -> None:
    """Each setting of ours that is a secret comes from the Secret; no manifest is one."""
    assert of_kind("Secret", manifests) == []
    secret = {name for name in Settings.model_fields if "Secret" in str(Settings.model_fields[name].annotation)}
    assert secret, "no setting is a secret any more?"
    for pod in pods(manifests).values():
        for variable in pod["containers"][0].get("env", ()):
            name = variable["name"].removeprefix("FIRSTWORD_").lower()
            if name in secret or variable["name"].endswith(("_KEY", "_SECRET")):
                assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_readiness_is_ours_unless_the_agent_is_another(
    manifests: list[Manifest], request: pytest.FixtureRequest
) -> None:
    container = pods(manifests)["worker"]["containers"][0]
    other = "another agent" in request.node.name
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == (
        ["/", "/", "/worker"] if other else ["/healthz", "/healthz", "/readyz"]
    )
    (port,) = [each["containerPort"] for each in container["ports"] if each["name"] == "http"]
    assert {"name": "FIRSTWORD_HTTP_PORT", "value": str(port)} in container["env"]
    assert {probe["port"] for probe in probes} == {port}


def test_probes_may_have_the_next_port() -> None:
    """Where an upgrade of LiveKit's has moved the private names that health is served by."""
    container = pods(render({"probePort": 8082}))["worker"]["containers"][0]
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {8082}
    assert {"name": "FIRSTWORD_HTTP_PORT", "value": "8081"} in container["env"]


@pytest.mark.parametrize(("values", "kind"), [({}, "HorizontalPodAutoscaler"), (EVERYTHING, "ScaledObject")])
def test_the_fleet_grows_at_once_and_shrinks_slowly(values: Mapping[str, Any], kind: str) -> None:
    """One worker at a time, after ten minutes; and no number of replicas would undo what the scaler did."""
    manifests = render(values, LARGE)
    (scaler,) = of_kind(kind, manifests)
    spec = scaler["spec"]
    behavior = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert [policy["value"] for policy in behavior["scaleDown"]["policies"] if policy["type"] == "Pods"] == [1]
    workers = [each for each in of_kind("Deployment", manifests) if each["metadata"]["name"] == "agents-firstword"]
    assert "replicas" not in workers[0]["spec"]


def test_the_tuner_may_change_two_objects_and_no_more() -> None:
    (role,) = of_kind("Role", render({}, LARGE))
    named = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert {(rule["resources"][0], *rule["resourceNames"], *rule["verbs"]) for rule in named} == {
        ("configmaps", "agents-firstword-flags", "get", "update"),
        ("leases", "agents-firstword-flags", "get", "update"),
    }
    assert [rule for rule in role["rules"] if "resourceNames" not in rule] == [
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
    ]


@pytest.mark.parametrize(
    ("values", "arguments"),
    [({}, []), ({"rescue": {"enabled": True, "agents": ["front-desk", ""]}}, ["--agent=front-desk", "--agent="])],
    ids=["ours", "named"],
)
def test_the_rescuer_watches_the_agents_of_the_workers(values: Mapping[str, Any], arguments: list[str]) -> None:
    """By the name that the workers are told, with the keys that it needs and no other."""
    container = pods(render({"env": {"FIRSTWORD_AGENT_NAME": "reception"}, **values}, LARGE))["rescue"]["containers"][0]
    assert container["args"] == ["firstword", "rescue", "--every=2", *arguments]
    given = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}
    assert given == {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "FIRSTWORD_CLAIM_KEY"}
    assert {"name": "FIRSTWORD_AGENT_NAME", "value": "reception"} in container["env"]
    assert {"name": "LIVEKIT_URL", "value": "wss://livekit.example.com"} in container["env"]


def test_the_tuner_takes_more_options() -> None:
    """Each as `firstword tune` has it; what is no option is refused."""
    options = ["--prometheus=http://prometheus:9090", "--steps=20,50,100"]
    arguments = pods(render({"tuner": {"options": options}}, LARGE))["tuner"]["containers"][0]["args"]
    assert arguments[:3] == ["firstword", "tune", "--apply"]
    assert arguments[-2:] == options
    with pytest.raises(RenderFailed, match="options"):
        render({"tuner": {"options": ["rm"]}}, LARGE)


def test_the_flags_are_the_shipped_ones() -> None:
    (flags,) = of_kind("ConfigMap", render({"flags": {"enabled": True}}))
    assert flags["data"]["flags.json"] == (DEPLOY / "flags.json").read_text()


def test_rules_and_dashboards_are_the_ones_that_were_tested() -> None:
    """The chart has links to them: a new file needs a new link."""
    manifests = render({}, LARGE)
    rules = {each["metadata"]["name"].rpartition("-")[2]: each["spec"] for each in of_kind("PrometheusRule", manifests)}
    files = [DEPLOY / "prometheus" / "recording.yml", DEPLOY / "prometheus" / "alerts.yml"]
    assert rules == {file.stem: yaml.safe_load(file.read_text()) for file in files}
    labelled = [each for each in of_kind("ConfigMap", manifests) if "grafana_dashboard" in each["metadata"]["labels"]]
    shown = {name: content for each in labelled for name, content in each["data"].items()}
    assert shown == {f"firstword-{file.name}": file.read_text() for file in (DEPLOY / "grafana").glob("*.json")}


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no LiveKit": ({"livekit": {"url": ""}}, "livekit.url is missing; expected"),
    "latest": ({"image": {"tag": "latest"}}, "expected a version or image.digest"),
    "two scalers": (
        {"autoscaling": {"enabled": True}, "keda": {"enabled": True, "prometheus": "http://p:9090"}},
        "expected one of them",
    ),
    "least above most": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}},
        "autoscaling.minReplicas is 5, more than maxReplicas, 2; expected no more",
    ),
    "scaling too late": ({"autoscaling": {"enabled": True, "cpuPercent": 80}}, "expected less than 70"),
    "a throttled CPU": (
        {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}},
        "expected no CPU limit, or one equal to the request",
    ),
    "KEDA without figures": ({"keda": {"enabled": True}}, "expected keda.prometheus"),
    "no metrics to scrape": ({"podMonitor": {"enabled": True}}, "expected podMonitor.port"),
    "one port twice": ({"podMonitor": {"enabled": True, "port": 8081}}, "podMonitor.port is the port of the probes"),
    "rescue of a stranger's callers": (
        {"rescue": {"enabled": True}, "readiness": {"path": "/worker"}},
        "expected rescue.agents",
    ),
    "flags that nobody reads": ({"tuner": {"enabled": True}}, "expected flags.enabled"),
    "a tuner without traces": (
        {"tuner": {"enabled": True}, "flags": {"enabled": True}},
        "expected tuner.jaeger",
    ),
    "traces that nobody sends": (
        {"tuner": {"enabled": True, "jaeger": "http://jaeger:16686"}, "flags": {"enabled": True}},
        "expected telemetry.endpoint",
    ),
    "a profile over the flags": (
        {"flags": {"enabled": True}, "env": {"FIRSTWORD_PROFILE": "tuned"}},
        "the profile goes before the flags",
    ),
    "a tuner of another agent": (
        {
            "tuner": {"enabled": True, "jaeger": "http://jaeger:16686"},
            "flags": {"enabled": True},
            "telemetry": {"endpoint": "http://collector:4317"},
            "readiness": {"path": "/worker"},
        },
        "an agent that is not ours reads no flags",
    ),
    "another source of flags": (
        {"flags": {"enabled": True}, "env": {"FLAGD_RESOLVER": "rpc"}},
        "workers would ask another provider",
    ),
    "more memory than there may be": (
        {"resources": {"requests": {"memory": "4097Mi"}}},
        "resources.requests.memory is 4097Mi, more than the limit, 4Gi",
    ),
    "KEDA without workers' figures": (
        {"keda": {"enabled": True, "prometheus": "http://prometheus:9090"}},
        "no worker sends the figures that keda.query asks for",
    ),
    "alerts without figures": ({"prometheusRule": {"enabled": True}}, "no worker sends figures"),
    "no LiveKit secret": ({"secret": {"keys": ["LIVEKIT_API_KEY", "OPENAI_API_KEY"]}}, "has no LIVEKIT_API_SECRET"),
    "probes' other port twice": (
        {"podMonitor": {"enabled": True, "port": 9100}, "probePort": 9100},
        "podMonitor.port is the port of the probes",
    ),
    "two collectors": (
        {"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}},
        "expected livekit.url, port, drainSeconds, flags or telemetry.endpoint",
    ),
    "a Secret that sets the drain": (
        {"secret": {"keys": ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "FIRSTWORD_DRAIN"]}},
        "FIRSTWORD_DRAIN in env or secret.keys",
    ),
    "a variable of the chart's": ({"env": {"FIRSTWORD_DRAIN": "60"}}, "the chart sets it from another value"),
    "a secret in the open": ({"env": {"FIRSTWORD_CLAIM_KEY": "k"}}, "expected it in the Secret"),
    "a password in the open": (
        {"env": {"FIRSTWORD_STORE_URL": "postgresql://u:p@h/d"}},
        "expected it in the Secret",
    ),
    "a name that is none of ours": ({"drainSecond": 60}, "drainSecond"),
    "root": ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
    "not a digest": ({"image": {"digest": "sha256:abc"}}, "digest"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_values_that_contradict_each_other_fail_with_a_sentence(case: str) -> None:
    values, sentence = CONTRADICTIONS[case]
    with pytest.raises(RenderFailed) as failed:
        render(values)
    assert sentence in str(failed.value)


@pytest.mark.parametrize("memory", ["4Gi", "4096Mi", "4G", "4294967296", 4294967296])
def test_memory_may_be_written_in_any_way(memory: str | int) -> None:
    requests = pods(render({"resources": {"requests": {"memory": memory}}}))["worker"]["containers"][0]["resources"]
    assert requests["requests"]["memory"] == memory


@pytest.mark.parametrize("endpoint", ["", "http://collector:4317"])
def test_resource_attributes_of_ones_own_come_after_the_pod_s(endpoint: str) -> None:
    """And no variable is there twice, which a server-side apply would refuse."""
    values = {"env": {"OTEL_RESOURCE_ATTRIBUTES": "team=voice"}, "telemetry": {"endpoint": endpoint}}
    variables = pods(render(values))["worker"]["containers"][0]["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names))
    (found,) = [variable["value"] for variable in variables if variable["name"] == "OTEL_RESOURCE_ATTRIBUTES"]
    assert found.endswith("team=voice")
    assert ("k8s.pod.name=$(POD_NAME)," in found) == bool(endpoint)


def test_openshift_may_choose_the_user() -> None:
    """As the comment of the value says."""
    chosen = {"runAsNonRoot": True, "runAsUser": None, "runAsGroup": None, "fsGroup": None}
    context = pods(render({"podSecurityContext": chosen}))["worker"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_schema_knows_each_value() -> None:
    """No value without a type: what is not in the schema would be refused, what is in it alone would do nothing."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()
