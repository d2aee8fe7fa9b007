"""A disk that is soon full: a small file system in memory, where the tests may mount one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_BYTES = 32 << 20


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk at `folder` for the time of the block; False where that is forbidden."""
    mounted = sys.platform == "linux" and os.geteuid() == 0 and _run("mount", *_what(folder))
    try:
        yield mounted
    finally:
        if mounted:
            _run("umount", "--lazy", str(folder))


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill the disk of `folder` to the last byte for the time of the block."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


def _what(folder: Path) -> list[str]:
    return ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
