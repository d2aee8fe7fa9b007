"""What a process does with files: which it holds open, and a disk that takes no more."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_under(folder: Path) -> list[str]:
    """Return the files below `folder` that this process holds open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [name for name in (os.readlink(link) for link in links) if name.startswith(str(folder))]


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Let the system refuse to make a file larger than `size` bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
