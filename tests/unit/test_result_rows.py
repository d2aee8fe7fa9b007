"""A window of rows becomes as many result rows, each with its own score or its own error."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RowError
from schemas.job import ProblemType
from schemas.results import result_schema
from support.word_models import MAX_WORDS, REFUSED, word_logits, word_model
from worker.models import LoadedModel
from worker.reader import Window
from worker.result_rows import TokenizedTexts, model_columns, result_rows, tokenize
from worker.scores import probabilities, score_rows
from worker.texts import texts_of

# One text of every fate, by the error it ends with.
FATES: dict[RowError | None, bytes | None] = {
    None: b"good",
    RowError.TEXT_NULL: None,
    RowError.TEXT_BLANK: b" \t ",
    RowError.TEXT_INVALID_UTF8: b"\xff",
    RowError.TOKENIZER_FAILED: f"an {REFUSED} text".encode(),
    RowError.SCORE_NOT_FINITE: b"thirteen-char text",
}


def window_of(texts: list[bytes | None], ids: pa.Table | None = None) -> Window:
    numbered = pa.table({"id": pa.array(range(len(texts)), pa.int64())})
    return Window(
        row_start=1_000,
        ids=numbered if ids is None else ids,
        texts=texts_of([pa.array(texts, pa.large_binary())]),
    )


def rows_of(
    window: Window,
    problem_type: ProblemType = "single_label_classification",
    labels: tuple[str, ...] = ("negative", "neutral", "positive"),
    *,
    all_scores: bool = True,
) -> pa.Table:
    model = word_model(problem_type, labels)
    tokenized = tokenize(window, [model.tokenizer], "truncate")
    (texts,) = tokenized.texts
    columns = model_columns(
        texts,
        score_rows(model.engine.forward(texts.encoded.ids), problem_type),
        {},
        labels=labels,
        all_scores=all_scores,
    )
    return result_rows(
        tokenized, {"": columns}, source_file="/corpus/a.parquet", all_scores=all_scores
    )


def texts_given(model: LoadedModel, texts: list[bytes | None]) -> TokenizedTexts:
    """Return what a model alone is given of a window."""
    return tokenize(window_of(texts), [model.tokenizer], "truncate").texts[0]


def expected_scores(text: bytes, problem_type: ProblemType, labels: int) -> list[float]:
    words = text.decode().split()[:MAX_WORDS]
    logits = np.array([word_logits(len(words[0]), len(words), labels)], np.float32)
    return [float(score) for score in probabilities(logits, problem_type)[0]]


SOUND = st.lists(st.sampled_from(["a", "of", "the", "film", "quite"]), min_size=1, max_size=20)
TEXT = st.one_of(
    st.sampled_from(list(FATES.values())), SOUND.map(lambda words: " ".join(words).encode())
)


@given(st.lists(TEXT, max_size=40))
def test_each_row_has_its_own_score_or_its_own_error_in_order(texts: list[bytes | None]) -> None:
    rows = rows_of(window_of(texts)).to_pylist()

    assert [row["id"] for row in rows] == list(range(len(texts)))
    assert [row["source_row"] for row in rows] == [1_000 + n for n in range(len(texts))]
    errors = {text: error for error, text in FATES.items() if error}
    for row, text in zip(rows, texts, strict=True):
        assert row["error"] == errors.get(text)
        assert row["source_file"] == "/corpus/a.parquet"
        if row["error"] is not None or text is None:
            assert (row["label"], row["score"], row["scores"]) == (None, None, None)
            assert (row["n_tokens"], row["truncated"]) == (0, False)
            continue
        scores = expected_scores(text, "single_label_classification", 3)
        words = text.split()
        assert row["scores"] == scores
        assert row["score"] == max(scores)
        assert row["label"] == ("negative", "neutral", "positive")[scores.index(max(scores))]
        assert row["n_tokens"] == min(len(words), MAX_WORDS)
        assert row["truncated"] == (len(words) > MAX_WORDS)


@pytest.mark.parametrize(
    "fates", [[error] * 3 for error in FATES], ids=[str(error) for error in FATES]
)
def test_a_window_of_one_fate_only_has_all_its_rows(fates: list[RowError | None]) -> None:
    rows = rows_of(window_of([FATES[fate] for fate in fates]))

    assert rows.column("error").to_pylist() == fates
    assert rows.column("score").null_count == (0 if fates[0] is None else 3)


def test_several_labels_at_once_each_have_a_score_of_their_own() -> None:
    rows = rows_of(window_of([b"very good", None, b"bad"]), "multi_label_classification")

    scores = rows.column("scores").to_pylist()
    assert scores[0] == expected_scores(b"very good", "multi_label_classification", 3)
    assert sum(scores[0]) != pytest.approx(1, abs=1e-3)
    assert scores[1] is None
    assert rows.column("label").to_pylist()[1] is None
    assert rows.column("score").to_pylist()[2] == max(scores[2])


def test_a_regression_has_its_value_and_no_label() -> None:
    rows = rows_of(window_of([b"very good", None, b"bad"]), "regression", ("stars",))

    values = [word_logits(4, 2, 1)[0], None, word_logits(3, 1, 1)[0]]
    assert rows.column("label").to_pylist() == [None, None, None]
    assert rows.column("score").to_pylist() == values
    assert rows.column("scores").to_pylist() == [None if v is None else [v] for v in values]


def test_scores_of_all_labels_are_there_only_when_asked_for() -> None:
    with_all = rows_of(window_of([b"good"]))
    without = rows_of(window_of([b"good"]), all_scores=False)

    assert "scores" not in without.column_names
    assert with_all.drop(["scores"]).to_pylist() == without.to_pylist()


def test_id_columns_of_every_make_stay_as_they_are_and_the_schema_is_the_result_s() -> None:
    ids = pa.table(
        {
            "category": pa.array(["a", None]).dictionary_encode(),
            "place": pa.array([{"x": [1, 2]}, None]),
            "tags": pa.array([[], ["t"]]),
        }
    )

    rows = rows_of(window_of([b"good", None], ids))

    assert rows.select(ids.column_names).equals(ids)
    assert rows.schema == result_schema(list(ids.schema), all_scores=True)
    rows.validate(full=True)


def test_a_window_without_id_columns_has_its_rows_all_the_same() -> None:
    window = window_of([b"good", None, b"bad"], pa.table({}))

    assert rows_of(window).num_rows == 3


def test_a_row_that_was_not_scored_has_the_reason_given_for_it() -> None:
    model = word_model()
    texts = texts_given(model, [None, b"good", b"bad", b"a film"])
    logits = model.engine.forward(texts.encoded.ids)
    logits[[0, 2]] = np.nan

    columns = model_columns(
        texts,
        score_rows(logits, "single_label_classification"),
        {2: RowError.OUT_OF_MEMORY},
        labels=model.labels,
        all_scores=False,
    )

    assert columns["error"].to_pylist() == ["text_null", "score_not_finite", None, "out_of_memory"]
    assert columns["score"].is_null().to_pylist() == [True, True, False, True]


def test_scores_for_another_number_of_rows_are_a_bug_and_no_result() -> None:
    model = word_model()
    texts = texts_given(model, [b"good", b"bad"])
    logits = model.engine.forward(texts.encoded.ids[:1])

    with pytest.raises(AssertionError, match="1 scores for 2 rows"):
        model_columns(
            texts,
            score_rows(logits, "single_label_classification"),
            {},
            labels=model.labels,
            all_scores=False,
        )


def test_models_with_one_tokenizer_are_given_the_same_object_and_others_their_own() -> None:
    first, other = word_model().tokenizer, word_model().tokenizer

    first_texts, other_texts, again = tokenize(
        window_of([b"good", None]), [first, other, first], "truncate"
    ).texts

    assert first_texts is again
    assert first_texts is not other_texts


@given(st.lists(st.lists(st.sampled_from([None, *RowError]), min_size=2, max_size=2), max_size=8))
def test_the_error_of_a_row_is_that_of_the_first_model_that_did_not_score_it(
    errors: list[list[RowError | None]],
) -> None:
    window = window_of([b"good"] * len(errors))
    tokenized = tokenize(window, [word_model().tokenizer], "truncate")
    of_each = [pa.array([row[model] for row in errors], pa.string()) for model in range(2)]
    filled = {
        "label": pa.nulls(len(errors), pa.string()),
        "score": pa.nulls(len(errors), pa.float32()),
        "n_tokens": pa.array([0] * len(errors), pa.int32()),
        "truncated": pa.array([False] * len(errors), pa.bool_()),
    }
    models = {
        suffix: {**filled, "error": found}
        for suffix, found in zip(("_old", "_new"), of_each, strict=True)
    }

    rows = result_rows(tokenized, models, source_file="/a", all_scores=False)

    assert rows["error"].to_pylist() == [old or new for old, new in errors]
    assert rows["error_old"].to_pylist() == of_each[0].to_pylist()
    assert rows["error_new"].to_pylist() == of_each[1].to_pylist()
    assert rows.column_names[-1] == "error"
