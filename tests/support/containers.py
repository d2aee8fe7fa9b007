"""Containers as a hardened deployment runs them, by runc, on this machine's network.

The root is read-only, the user is the image's, no capability is held and none can be gained; only
what the product names as writable is, in memory.
"""

import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.images import Image
from support.processes import RunningCli, start_command

WRITABLE = ("/tmp", "/run/bulkscore", "/var/cache/bulkscore")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A running container; `running` is the runc command that holds it."""

    running: RunningCli
    name: str
    state: Path

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run one more command in the container, as its user."""
        inside = ["runc", "--root", str(self.state), "exec", self.name, *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def container(
    image: Image,
    root: Path,
    *args: str,
    env: Mapping[str, str],
    files: Mapping[str, Path] = {},
    entrypoint: Sequence[str] | None = None,
) -> Iterator[Container]:
    """Run an image's entrypoint with `args`, or its own command when there are none.

    Args:
        image: What to run.
        root: Its unpacked files.
        args: After the entrypoint.
        env: On top of the image's own environment.
        files: Files or folders of this machine to show in the container, read-only, by path.
        entrypoint: Instead of the image's.
    """
    command = [*(entrypoint or image.config["Entrypoint"]), *(args or image.config["Cmd"] or ())]
    own = [*image.config["Env"], *(f"{name}={value}" for name, value in env.items())]
    name = f"test-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory(prefix="bulkscore-test-") as folder:
        bundle, state = Path(folder), Path(folder) / "state"
        specification = _specification(image, root, command, own, files)
        (bundle / "config.json").write_text(json.dumps(specification))
        runc = ["runc", "--root", str(state), "run", "--bundle", folder, name]
        try:
            with start_command(runc) as running:
                yield Container(running=running, name=name, state=state)
        finally:
            delete = ["runc", "--root", str(state), "delete", "--force", name]
            subprocess.run(delete, capture_output=True, check=False)


def _specification(
    image: Image, root: Path, command: list[str], env: list[str], files: Mapping[str, Path]
) -> dict[str, object]:
    user, group = map(int, image.config["User"].split(":"))
    kept = ["nosuid", "nodev"]
    owned = [*kept, f"uid={user}", f"gid={group}", "mode=0700"]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": command,
            "env": env,
            "cwd": image.config["WorkingDir"],
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": os.fspath(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            _tmpfs("/dev", ["nosuid", "mode=0755"]),
            _tmpfs("/dev/shm", [*kept, "mode=1777"]),
            *(_tmpfs(path, owned) for path in WRITABLE),
            *(_shown(path, source) for path, source in files.items()),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc")]},
    }


def _tmpfs(destination: str, options: list[str]) -> dict[str, object]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}


def _shown(destination: str, source: Path) -> dict[str, object]:
    options = ["rbind", "ro", "nosuid", "nodev"]
    return {"destination": destination, "type": "bind", "source": str(source), "options": options}
