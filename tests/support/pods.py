"""Containers of built manifests as processes: their very arguments, environment, files and probes.

What a cluster would give them is given here: volumes are folders, the names of services are
loopback addresses, ports are free ones, and the fields of the pod are what the test says.
"""

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from support.daemon import free_port
from support.manifests import Object, named, pod_of
from support.processes import RunningCli, start_cli
from support.servers import ValkeyServer

_VARIABLE = re.compile(r"\$\((\w+)\)")
# What a container listens with, as the variables for its port and address begin.
_LISTENERS = ("BULKSCORE_HTTP", "BULKSCORE_FLOWER")


@dataclass(frozen=True)
class Container:
    """One container of a pod, ready to be started."""

    pod: Object
    spec: Object
    args: list[str]
    env: dict[str, str]
    run_dir: Path
    work_dir: Path | None = None
    port: int | None = None

    def start(self, *more: str) -> AbstractContextManager[RunningCli]:
        """Start it, with further arguments, and with the grace of its pod to end in."""
        return start_cli(
            *self.args, *more, env=self.env, cwd=self.work_dir, stop_timeout=self.grace_seconds
        )

    @property
    def grace_seconds(self) -> float:
        """How long it is given to end after SIGTERM."""
        return float(self.pod.get("terminationGracePeriodSeconds", 30))

    def probe(self, name: str) -> bool:
        """Return what the kubelet would see: whether the answer is below 400."""
        path = self.spec[name]["httpGet"]["path"]
        status = self.status(path, timeout=self.spec[name].get("timeoutSeconds", 1))
        return status is not None and status < 400

    def status(self, path: str, *, timeout: float = 10.0) -> int | None:
        """Return the status of the answer to a GET without a login, None without an answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=timeout
            ) as r:
                return int(r.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None


@dataclass
class Cluster:
    """The objects of an overlay, a Redis with the users they say, and a folder for volumes."""

    objects: Sequence[Object]
    redis: ValkeyServer
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    _pods: int = 0

    def __post_init__(self) -> None:
        """Give Redis the users and passwords of the manifests, where these bring one along."""
        if all(o["kind"] != "StatefulSet" for o in self.objects):
            return
        passwords = self._secret("redis-passwords")
        users = self._data("ConfigMap", "redis-users")["users.acl"]
        with self.redis.client() as client:
            for line in users.splitlines():
                if line.startswith("user ") and not line.startswith("user default"):
                    name, *rules = line.removeprefix("user ").split()
                    known = [
                        r.replace(f"#@{name}@", f">{passwords.get(f'{name}-password')}")
                        for r in rules
                    ]
                    client.execute_command("ACL", "SETUSER", name, "reset", *known)

    @property
    def data(self) -> Path:
        """The volume that the development overlay mounts at `/data`."""
        return self.folder / "claim-bulkscore-data"

    def container(self, kind: str, name: str, **labels: str) -> Container:
        """Return the container of a new pod of this object; `labels` are those of the pod."""
        self._pods += 1
        pod = pod_of(named(self.objects, kind, name))
        assert pod is not None
        spec = pod["containers"][0]
        mounts = self._mounts(pod, spec, self.folder / f"pod-{self._pods}")
        env = self._environment(spec, labels)
        args = [_moved(_expanded(word, env), mounts) for word in spec["args"]]
        env = {name: _moved(value, mounts) for name, value in env.items()}
        env["TMPDIR"] = str(mounts["/tmp"])
        port = None
        for listener in _LISTENERS:
            if f"{listener}_ADDRESS" in env:
                port = free_port()
                env |= {f"{listener}_PORT": str(port), f"{listener}_ADDRESS": "127.0.0.1"}
        return Container(
            pod,
            spec,
            args,
            {**env, **self.settings},
            run_dir=mounts.get("/run/bulkscore", self.folder),
            work_dir=mounts.get(spec.get("workingDir")),
            port=port,
        )

    def _environment(self, spec: Object, labels: Mapping[str, str]) -> dict[str, str]:
        env: dict[str, str] = {}
        for source in spec.get("envFrom", ()):
            env |= named(self.objects, "ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in spec.get("env", ()):
            if "value" in entry:
                env[entry["name"]] = entry["value"]
            else:
                field_path = entry["valueFrom"]["fieldRef"]["fieldPath"]
                label = field_path.removeprefix("metadata.labels['").removesuffix("']")
                env[entry["name"]] = labels[label]
        return env

    def _mounts(self, pod: Object, spec: Object, folder: Path) -> dict[str, Path]:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {}
        for mount in spec["volumeMounts"]:
            volume = volumes[mount["name"]]
            place = folder / mount["name"]
            if "persistentVolumeClaim" in volume:
                place = self.folder / f"claim-{volume['persistentVolumeClaim']['claimName']}"
            place.mkdir(parents=True, exist_ok=True)
            if "secret" in volume:
                for key, value in self._secret_of(volume["secret"]["secretName"]).items():
                    (place / key).write_text(value)
            mounts[mount["mountPath"]] = place
        return mounts

    def _secret(self, name: str) -> dict[str, str]:
        return self._secret_of(self._full_name("Secret", name))

    def _secret_of(self, name: str) -> dict[str, str]:
        data = named(self.objects, "Secret", name)["data"]
        return {key: self._here(base64.b64decode(value).decode()) for key, value in data.items()}

    def _data(self, kind: str, name: str) -> dict[str, str]:
        data: dict[str, str] = named(self.objects, kind, self._full_name(kind, name))["data"]
        return data

    def _full_name(self, kind: str, name: str) -> str:
        """Return the name with the prefix and the hash that kustomize gave it."""
        wanted = re.compile(rf"bulkscore-{name}(-[0-9a-z]{{10}})?")
        names = [o["metadata"]["name"] for o in self.objects if o["kind"] == kind]
        return next(found for found in names if wanted.fullmatch(found))

    def _here(self, value: str) -> str:
        """Return a value with the name of the service replaced by where its server is here."""
        service = named(self.objects, "Service", "bulkscore-redis")
        port = service["spec"]["ports"][0]["port"]
        return value.replace(f"bulkscore-redis:{port}", f"127.0.0.1:{self.redis.port}")


def _expanded(word: str, env: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: env[found[1]], word)


def _moved(value: str, mounts: Mapping[str, Path]) -> str:
    """Return a value with the paths that volumes are mounted at replaced by their folders."""
    paths = "|".join(re.escape(path) for path in sorted(mounts, reverse=True))
    return re.sub(rf"(^|=|,)({paths})(?=/|$|,)", lambda m: f"{m[1]}{mounts[m[2]]}", value)
