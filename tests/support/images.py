"""Container images built for real: buildah, on a Debian base that debootstrap makes once.

Base and layers are kept in `~/.cache/bulkscore-tests` or where `BULKSCORE_TEST_CACHE` points.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.data import REPOSITORY
from support.minilm import CACHE
from support.requirements import missing

TAG = "under-test"
PROGRAMS = ("buildah", "debootstrap", "runc")
_BASE = "localhost/bulkscore-test-base:bookworm"
_BASE_PACKAGES = "ca-certificates,python3,python3-venv"
_BUILDAH = f"buildah --root {CACHE}/images --runroot /run/bulkscore-test-images"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image: what it is called, what it is told to run, and how."""

    name: str
    config: dict[str, Any]

    @property
    def size(self) -> str:
        """Its size on disk, as buildah says it."""
        listed = json.loads(_buildah("images", "--json", self.name))
        return str(listed[0]["size"])

    @property
    def history(self) -> str:
        """What the steps of its build were."""
        return _buildah("inspect", "--type", "image", "--format", "{{.History}}", self.name)

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Give a folder with the image's files, thrown away at the end of the block."""
        container = _buildah("from", self.name)
        try:
            yield Path(_buildah("mount", container))
        finally:
            _buildah("rm", container)


def require_builder() -> None:
    """Skip the test, loudly, where images cannot be built and run."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        missing(f"no image can be built: install {' '.join(lacking)}")
    if os.geteuid() != 0:
        missing("images are built and run as root here")


def build_images() -> dict[str, Image]:
    """Build all images by `make images` and return them by short name."""
    _make_base()
    subprocess.run(
        [
            *("make", "images", f"BUILDER={_BUILDAH}", f"BASE={_BASE}", f"IMAGE_TAG={TAG}"),
            *("IMAGE_PREFIX=localhost/", f"BUILD_FLAGS={' '.join(_pip_as_here())}"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "BUILDAH_LAYERS": "true", "BUILDAH_ISOLATION": "chroot"},
        check=True,
    )
    return {name: _image(name) for name in ("producer", "worker", "flower")}


def _image(short: str) -> Image:
    name = f"localhost/bulkscore-{short}:{TAG}"
    inspected = json.loads(_buildah("inspect", "--type", "image", name))
    return Image(name=name, config=inspected["Docker"]["config"])


def _make_base() -> None:
    if _BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        include = f"--include={_BASE_PACKAGES}"
        command = ["debootstrap", "--variant=minbase", include, "bookworm", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        container = _buildah("from", "scratch")
        _buildah("add", container, folder, "/")
        _buildah("commit", "--rm", container, _BASE)


def _pip_as_here() -> list[str]:
    """Return flags that let pip in a build find what pip finds on this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    flags = []
    for line in listed.splitlines():
        key, _, quoted = line.partition("=")
        option, value = key.rpartition(".")[2], quoted.strip("'")
        if option not in ("index-url", "extra-index-url", "find-links", "cert") or " " in value:
            continue
        flags.append(f"--build-arg PIP_{option.upper().replace('-', '_')}={value}")
        path = value.removeprefix("file://")
        if path.startswith("/"):
            flags.append(f"--volume {path}:{path}:ro")
    return sorted(set(flags))


def _buildah(*args: str) -> str:
    done = subprocess.run([*_BUILDAH.split(), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"buildah {' '.join(args)}\n{done.stderr}"
    return done.stdout.strip()
