"""Scores chunks as a worker's child does and prints the most memory this process ever took.

python -m support.peak_memory MODEL CORPUS OUTPUT CHUNK_ROWS CHUNK
"""

import os
import sys
from pathlib import Path

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.scoring import plan_job, score
from worker.model_store import ModelStore
from worker.models import load_model

TOKENS = 16


def main(folder: str, corpus: str, output: str, chunk_rows: str, chunk: str) -> None:
    """Score one chunk; print rows scored and megabytes."""
    storage = Storage()
    model = load_model(
        ModelStore(storage, Path(output) / "cache"),
        pin_model(storage, folder),
        max_length=TOKENS,
        device="cpu",
        threads=1,
    )
    manifest = plan_job(storage, corpus, Path(output) / "scored", model, chunk_rows=int(chunk_rows))
    account = score(storage, manifest, model, int(chunk))
    assert account is not None
    print(account.rows_scored, peak_megabytes())


def peak_megabytes() -> int:
    """Return the most resident memory of this process so far."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1_024


if __name__ == "__main__":
    main(*sys.argv[1:])
