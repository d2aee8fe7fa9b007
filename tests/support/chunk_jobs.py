"""Small jobs of a word model, for tests of what becomes of a chunk."""

from pathlib import Path
from typing import Any

from schemas.job import Manifest
from schemas.storage import Storage
from support import corpora
from support.scoring import plan_job
from support.word_models import REFUSED, word_model

TEXTS: list[str | None] = [
    "a good film",
    None,
    f"an {REFUSED} one",
    " ",
    "thirteen-char",
    "so " * 20,
]
ERRORS = [None, "text_null", "tokenizer_failed", "text_blank", "score_not_finite", None]


def job_of(tmp_path: Path, texts: list[str | None], **spec: Any) -> Manifest:
    """Plan a job over a corpus of these texts in one file; further options are those of a spec."""
    table = corpora.make_table(texts)
    path = corpora.write_table(tmp_path / "corpus.parquet", table, row_group_rows=1_000)
    return plan_job(Storage(), path, tmp_path / "scored", word_model(), **spec)


def different_texts(count: int) -> list[str | None]:
    """Return texts of two words of which no two have the same tokens."""
    return [f"{'a' * (1 + n // 128)} {'b' * (1 + n % 128)}" for n in range(count)]
