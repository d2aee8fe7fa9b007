"""A chunk scored by several models at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from schemas.job import LongText, Manifest
from schemas.results import MODEL_COLUMNS, ResultAccount
from schemas.storage import Storage
from support import corpora
from support.chunk_jobs import ERRORS, TEXTS, different_texts
from support.scoring import plan_job, result_of, score
from support.word_models import MAX_WORDS, WordEngine, WordTokenizer, word_model
from worker.encoded import Encoded
from worker.engine import BetweenBatches
from worker.models import LoadedModel
from worker.tokenizer import Tokenizer


def named(name: str, **changes: Any) -> LoadedModel:
    """Return a word model with a digest of its own; its engine is made with `changes`."""
    model = word_model(**changes)
    pin = model.pin.model_copy(update={"ref": name, "name": name, "digest": name * 8})
    return replace(model, pin=pin)


def two_models(
    tmp_path: Path, texts: list[str | None], first: LoadedModel, second: LoadedModel, **spec: Any
) -> tuple[Manifest, ResultAccount]:
    path = corpora.write_table(tmp_path / "corpus.parquet", corpora.make_table(texts))
    output = tmp_path / "scored" / "two"
    manifest = plan_job(
        Storage(), path, output, first, [second], model_names=("old", "new"), **spec
    )
    account = score(Storage(), manifest, first, beside=[second])
    assert account is not None
    return manifest, account


def columns_of(table: pa.Table, suffix: str) -> list[dict[str, Any]]:
    """Return the columns of a model as they would be if it were the only one."""
    names = {f"{name}{suffix}": name for name in MODEL_COLUMNS}
    shared = ["id", "source_file", "source_row"]
    kept = table.select([n for n in table.column_names if n in shared or n in names])
    return kept.rename_columns([names.get(n, n) for n in kept.column_names]).to_pylist()


def test_each_of_several_models_has_the_columns_that_it_has_alone(tmp_path: Path) -> None:
    first, second = named("a"), named("b", labels=("bad", "good"))

    manifest, account = two_models(tmp_path, TEXTS * 10, first, second, all_scores=True)

    table = result_of(Storage(), manifest)
    for model, suffix in ((first, "_old"), (second, "_new")):
        alone = plan_job(
            Storage(),
            tmp_path / "corpus.parquet",
            tmp_path / "scored" / suffix,
            model,
            all_scores=True,
        )
        assert score(Storage(), alone, model) is not None
        assert columns_of(table, suffix) == result_of(Storage(), alone).to_pylist()
    assert table["error"].to_pylist() == ERRORS * 10
    assert (account.model, account.model_digest) == ("a, b", manifest.model_digest)
    assert account.model_digest not in (first.pin.digest, second.pin.digest)
    assert (account.rows_scored, account.tokens) == (20, 2 * 10 * (3 + MAX_WORDS))
    assert (account.truncated_rows, account.unknown_tokens) == (10, 2 * 20)
    assert [
        (m.name, m.model, m.rows_scored, m.tokens, m.unknown_tokens) for m in account.models
    ] == [
        ("old", "a", 20, 10 * (3 + MAX_WORDS), 20),
        ("new", "b", 20, 10 * (3 + MAX_WORDS), 20),
    ]


@dataclass
class Refusing(WordEngine):
    """Refuses rows of exactly two words, whatever they are together with."""

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        if any(len(ids) == 2 for ids in token_ids):
            raise RuntimeError("two words")
        return super().forward(token_ids, between)


@pytest.mark.parametrize("refusing", [0, 1])
def test_a_row_that_one_model_refuses_is_scored_by_the_other(tmp_path: Path, refusing: int) -> None:
    models = [named("a"), named("b")]
    models[refusing] = replace(models[refusing], engine=Refusing())

    manifest, account = two_models(tmp_path, ["one", "two words", "three words here"], *models)

    rows = result_of(Storage(), manifest).to_pylist()
    refused, other = (("old", "new"), ("new", "old"))[refusing]
    assert [row["error"] for row in rows] == [None, "scoring_failed", None]
    assert [row[f"error_{refused}"] for row in rows] == [None, "scoring_failed", None]
    assert rows[1][f"score_{refused}"] is None
    assert rows[1][f"score_{other}"] is not None
    assert rows[1][f"error_{other}"] is None
    assert (account.rows_scored, account.errors) == (2, {"scoring_failed": 1})
    assert [m.rows_scored for m in account.models] == ([2, 3] if refusing == 0 else [3, 2])


def test_models_with_the_same_tokenizer_read_texts_once(tmp_path: Path) -> None:
    class Counting(WordTokenizer):
        def __init__(self, fingerprint: bytes) -> None:
            self.fingerprint = fingerprint
            self.texts: list[str] = []

        def encode(self, texts: Sequence[str], long_text: LongText = "truncate") -> Encoded:
            self.texts += map(str, texts)
            return super().encode(texts, long_text)

    def read(*fingerprints: bytes) -> list[int]:
        tokenizers = [Counting(fingerprint) for fingerprint in fingerprints]
        first, second = (
            replace(named(name), tokenizer=cast("Tokenizer", tokenizer))
            for name, tokenizer in zip("ab", tokenizers, strict=True)
        )
        folder = tmp_path / b"-".join(fingerprints).decode()
        two_models(folder, ["one text", "another"], first, second)
        return [tokenizer.texts.count("another") for tokenizer in tokenizers]

    assert read(b"x", b"x") == [1, 0]
    assert read(b"x", b"y") == [1, 1]


def test_progress_over_several_models_never_goes_back(tmp_path: Path) -> None:
    told: list[int] = []
    first, second = named("a"), named("b")
    path = corpora.write_table(
        tmp_path / "corpus.parquet", corpora.make_table(different_texts(100))
    )
    manifest = plan_job(
        Storage(), path, tmp_path / "scored", first, [second], model_names=("old", "new")
    )

    account = score(Storage(), manifest, first, beside=[second], progress=told.append)

    assert account is not None
    assert told == sorted(told)
    assert told[-1] == account.tokens == 400
