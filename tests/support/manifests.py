"""Kubernetes objects as they are applied: built, checked against schemas, their names looked up."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

Object = dict[str, Any]

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = tuple(sorted(folder.name for folder in (K8S / "overlays").iterdir()))
# The oldest release of Kubernetes whose fields we may use.
KUBERNETES = "1.34"
SECONDS = 60.0
# Where the name of another object stands: kind of the object that has it, path, kind it names.
REFERENCES = (
    ("ScaledObject", "spec.scaleTargetRef.name", "Deployment"),
    ("ScaledObject", "spec.triggers.*.authenticationRef.name", "TriggerAuthentication"),
    ("TriggerAuthentication", "spec.secretTargetRef.*.name", "Secret"),
    ("*", "pod.serviceAccountName", "ServiceAccount"),
    ("*", "pod.priorityClassName", "PriorityClass"),
    ("*", "pod.volumes.*.secret.secretName", "Secret"),
    ("*", "pod.volumes.*.configMap.name", "ConfigMap"),
    ("*", "pod.volumes.*.persistentVolumeClaim.claimName", "PersistentVolumeClaim"),
    ("*", "pod.containers.*.envFrom.*.configMapRef.name", "ConfigMap"),
    ("*", "pod.containers.*.env.*.valueFrom.secretKeyRef.name", "Secret"),
)
SELECTORS = (
    ("PodDisruptionBudget", "spec.selector"),
    ("NetworkPolicy", "spec.podSelector"),
    ("PodMonitor", "spec.selector"),
)


def build(folder: Path) -> list[Object]:
    """Return the objects of a kustomization, as `kubectl apply -k` sends them."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return the one object of this kind and name."""
    found = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_of(thing: Object) -> Object | None:
    """Return the specification of the pods that an object makes, None if it makes none."""
    return next(iter(_at(_template(thing), "spec")), None)


def problems(objects: Sequence[Object], among: Sequence[Object] | None = None) -> list[str]:
    """Return what is wrong with objects: fields, and names and selectors that find nothing.

    Args:
        objects: What is checked.
        among: What is applied together; the same when None.
    """
    among = objects if among is None else among
    return [
        f"{thing['kind']} {thing['metadata']['name']}: {problem}"
        for thing in objects
        for problem in (*_bad_fields(thing), *_lost_names(thing, among), *_lost_pods(thing, among))
    ]


def _bad_fields(thing: Object) -> Iterator[str]:
    schema_file = K8S / "schemas" / f"{thing['kind']}.yaml"
    if not schema_file.exists():
        try:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{error.message}; write k8s/schemas/{thing['kind']}.yaml"
        return
    known = yaml.safe_load(schema_file.read_text())
    if thing["apiVersion"] != known["apiVersion"]:
        yield f"apiVersion {thing['apiVersion']}, {known['apiVersion']} expected"
    for unknown in thing.keys() - {"apiVersion", "kind", "metadata", "spec"}:
        yield f"{unknown}: no such field"
    validator = jsonschema.Draft202012Validator(known["schema"])
    for found in validator.iter_errors(thing.get("spec", {})):
        yield f"spec.{found.json_path.removeprefix('$.')}: {found.message}"


def _lost_names(thing: Object, objects: Sequence[Object]) -> Iterator[str]:
    whole = {**thing, "pod": pod_of(thing) or {}}
    for kind, path, target in REFERENCES:
        if kind in ("*", thing["kind"]):
            for name in _at(whole, path):
                if name not in _names(objects, target):
                    yield f"{path}: there is no {target} {name}"


def _lost_pods(thing: Object, objects: Sequence[Object]) -> Iterator[str]:
    """Tell selectors that match no pod, and ports that no container has."""
    labels = [_labels(o) for o in objects if pod_of(o)]
    selectors = [s for kind, path in SELECTORS if kind == thing["kind"] for s in _at(thing, path)]
    if thing["kind"] == "Service":
        selectors = [{"matchLabels": thing["spec"]["selector"]}]
    for selector in selectors:
        for wanted in _wanted(selector):
            if not any(wanted.items() <= pod.items() for pod in labels):
                yield f"no pod has the labels {wanted}"
    for container in (pod_of(thing) or {}).get("containers", ()):
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for port in _at(container, f"{probe}.httpGet.port"):
                if port not in ports:
                    yield f"{probe}: container {container['name']} has no port {port}"


def _wanted(selector: Object) -> Iterator[dict[str, str]]:
    """Return sets of labels, each of which some pod has to have."""
    yield selector.get("matchLabels", {})
    for expression in selector.get("matchExpressions", ()):
        for value in expression.get("values", ()):
            yield {expression["key"]: value}


def _names(objects: Sequence[Object], kind: str) -> set[str]:
    found = {o["metadata"]["name"] for o in objects if o["kind"] == kind}
    if kind == "Secret":  # made in the cluster
        found |= {o["spec"]["target"]["name"] for o in objects if o["kind"] == "ExternalSecret"}
    return found


def _template(thing: Object) -> Object:
    paths = ("spec.template", "spec.jobTemplate.spec.template")
    return next((found for path in paths for found in _at(thing, path)), {})


def _labels(thing: Object) -> dict[str, str]:
    labels: dict[str, str] = _template(thing)["metadata"]["labels"]
    return labels


def _at(value: Any, path: str) -> list[Any]:
    """Return what stands at a path, `*` being every item; none where it leads nowhere."""
    found = [value]
    for step in path.split("."):
        if step == "*":
            found = [item for items in found for item in items]
        else:
            found = [item[step] for item in found if isinstance(item, dict) and step in item]
    return found
