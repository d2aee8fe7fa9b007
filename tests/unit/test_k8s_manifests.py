"""What `kubectl apply -k` would send: no unknown field, no name that leads nowhere, our own names.

Each checker is shown to refuse something bad, or it might as well not be there.
"""

import copy
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producer.flower import FlowerSettings
from schemas.errors import ExitCode
from schemas.settings import (
    EndpointSettings,
    RegistrySettings,
    ScheduleSettings,
    StorageSettings,
    WorkerSettings,
)
from schemas.transport import queues
from support.manifests import K8S, OVERLAYS, Object, build, named, pod_of, problems

SETTINGS = (
    FlowerSettings,  # those of the broker as well
    EndpointSettings,
    RegistrySettings,
    ScheduleSettings,
    StorageSettings,
    WorkerSettings,
)


@pytest.fixture(scope="module")
def built() -> dict[str, list[Object]]:
    return {overlay: build(K8S / "overlays" / overlay) for overlay in OVERLAYS}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_no_unknown_field_and_no_name_that_leads_nowhere(
    overlay: str, built: dict[str, list[Object]]
) -> None:
    assert problems(built[overlay]) == []


def test_every_command_of_the_pages_names_an_object_of_production_and_its_namespace(
    built: dict[str, list[Object]],
) -> None:
    kinds = {o["kind"].lower(): o["kind"] for o in built["prod"]}
    pages = [(K8S.parent / f"docs/{page}.md").read_text() for page in ("kubernetes", "operations")]
    commands = [
        " ".join(c.split()) for page in pages for c in re.findall(r"`(kubectl [^`]+)`", page)
    ]
    found = [
        (command, kinds[kind], name)
        for command in commands
        for kind, name in re.findall(rf"\b({'|'.join(kinds)})[/ ]([\w-]+)", command)
    ]

    assert {"CronJob", "Deployment", "ScaledObject"} <= {kind for _, kind, _ in found}
    for command, kind, name in found:
        space = named(built["prod"], kind, name)["metadata"]["namespace"]
        assert f"kubectl -n {space} " in command, command


def test_names_still_lead_somewhere_under_another_prefix(tmp_path: Path) -> None:
    base = os.path.relpath(K8S / "overlays/prod", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(f"namePrefix: team-\nresources: ['{base}']\n")

    objects = build(tmp_path)

    scaled = named(objects, "ScaledObject", "team-bulkscore-worker")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "team-bulkscore-worker"
    operators = ("ScaledObject", "TriggerAuthentication", "PodMonitor")
    assert problems([o for o in objects if o["kind"] in operators], among=objects) == []


def test_with_sentinels_keda_asks_them_for_the_same_lists(
    tmp_path: Path, built: dict[str, list[Object]]
) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s/overlays/prod"
    text = (overlay / "kustomization.yaml").read_text()
    component = "  - ../../components/redis-sentinel\n"
    text = text.replace("images:\n", f"{component}images:\n", 1)
    text = re.sub(r"  - path: redis.yaml\n    target: .*\n", "", text)
    (overlay / "kustomization.yaml").write_text(text)

    objects = build(overlay)

    assert problems(objects) == []
    before, after = (
        named(all_of, "ScaledObject", "bulkscore-worker")["spec"]["triggers"]
        for all_of in (built["prod"], objects)
    )
    for one, other in zip(before, after, strict=True):
        assert one["name"] == other["name"]
        assert (one["type"], other["type"]) == ("redis", "redis-sentinel")
        for same in ("listName", "listLength", "databaseIndex", "enableTLS"):
            assert one["metadata"][same] == other["metadata"][same]


BROKEN: dict[str, tuple[str, str, Callable[[Any], Any], str]] = {
    "a field that Kubernetes does not know": (
        "Deployment",
        "bulkscore-worker",
        lambda spec: spec["template"]["spec"].update(hostNetwrk=True),
        "hostNetwrk",
    ),
    "a field that KEDA does not know": (
        "ScaledObject",
        "bulkscore-worker",
        lambda spec: spec.update(pollingIntervall=5),
        "pollingIntervall",
    ),
    "a number where KEDA wants a text": (
        "ScaledObject",
        "bulkscore-worker",
        lambda spec: spec["advanced"]["scalingModifiers"].update(target=4),
        "4 is not of type 'string'",
    ),
    "a secret that is never read again": (
        "ExternalSecret",
        "bulkscore-flower",
        lambda spec: spec.update(refreshInterval="0"),
        "does not match",
    ),
    "a Deployment that is not there": (
        "ScaledObject",
        "bulkscore-worker",
        lambda spec: spec["scaleTargetRef"].update(name="worker"),
        "no Deployment worker",
    ),
    "a secret that nobody makes": (
        "Deployment",
        "bulkscore-worker",
        lambda spec: spec["template"]["spec"]["volumes"][0]["secret"].update(secretName="lost"),
        "no Secret lost",
    ),
    "a selector without a pod": (
        "PodDisruptionBudget",
        "bulkscore-worker",
        lambda spec: spec["selector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}),
        "no pod has the labels",
    ),
    "a probe at a port that is not there": (
        "Deployment",
        "bulkscore-worker",
        lambda spec: spec["template"]["spec"]["containers"][0].update(ports=[]),
        "has no port http",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_check_finds(case: str, built: dict[str, list[Object]]) -> None:
    kind, name, harm, says = BROKEN[case]
    thing = copy.deepcopy(named(built["prod"], kind, name))

    harm(thing["spec"])

    found = problems([thing], among=[o for o in built["prod"] if o["kind"] != kind] + [thing])
    assert any(says in problem for problem in found), found


def test_a_kind_without_a_schema_is_found() -> None:
    stranger = {"apiVersion": "a.example/v1", "kind": "Stranger", "metadata": {"name": "x"}}

    assert "write k8s/schemas/Stranger.yaml" in problems([stranger])[0]


def test_keda_asks_for_our_queues_with_the_formula_over_all_of_them(
    built: dict[str, list[Object]],
) -> None:
    spec = named(built["prod"], "ScaledObject", "bulkscore-worker")["spec"]
    formula = spec["advanced"]["scalingModifiers"]["formula"]

    lists = {t["metadata"]["listName"] for t in spec["triggers"]}

    # `unacked` is kombu's default name; `celery_settings` sets no other.
    assert lists == {*queues().split(","), "unacked"}
    assert all(trigger["name"] in formula for trigger in spec["triggers"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_is_one_of_ours(overlay: str, built: dict[str, list[Object]]) -> None:
    known = {f"BULKSCORE_{n}".upper() for s in SETTINGS for n in s.model_fields}
    known |= {f"{name}_FILE" for name in known}
    config = [o["data"] for o in built[overlay] if o["kind"] == "ConfigMap"]
    pods = [pod for pod in map(pod_of, built[overlay]) if pod]
    given = {name for data in config for name in data}
    given |= {e["name"] for pod in pods for c in pod["containers"] for e in c.get("env", ())}

    unknown = {name for name in given if name.startswith("BULKSCORE_")} - known

    assert unknown == set()


def test_a_job_fails_for_good_where_another_try_cannot_help(
    built: dict[str, list[Object]],
) -> None:
    for overlay in OVERLAYS:
        for job in (o for o in built[overlay] if o["kind"] == "CronJob"):
            spec = job["spec"]["jobTemplate"]["spec"]
            container = spec["template"]["spec"]["containers"][0]
            fail = spec["podFailurePolicy"]["rules"][0]["onExitCodes"]

            assert fail["containerName"] == container["name"]
            assert {ExitCode.USAGE, ExitCode.CONFIGURATION} <= set(fail["values"])
            assert {0, ExitCode.UNEXPECTED, ExitCode.UNAVAILABLE}.isdisjoint(fail["values"])


def test_every_pod_is_restricted(built: dict[str, list[Object]]) -> None:
    for pod in [pod for o in built["prod"] + built["dev"] if (pod := pod_of(o))]:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            limits, requests = (container["resources"][k] for k in ("limits", "requests"))
            assert limits["memory"] == requests["memory"] or container["name"] != "worker"
