"""What a figure was measured on."""

import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

EXTENSIONS = ("avx512_bf16", "avx512_vnni", "amx_bf16")


def processor() -> str:
    """Return the processor's name, with the instructions that products of matrices want."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = {f for line in lines if line.startswith("flags") for f in line.split()}
    extensions = ", ".join(name for name in EXTENSIONS if name in flags)
    return " with ".join(filter(None, [(names or [platform.machine()])[0], extensions]))


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those distributions that are installed."""
    installed = {d.name.lower() for d in metadata.distributions() if d.name}
    found = {name: metadata.version(name) for name in distributions if name in installed}
    return {"python": platform.python_version(), **found}
