"""Every Arrow type that can hold text gives the same texts, and a bad row spoils no other."""

import pyarrow as pa
import pytest

from schemas.errors import RowError
from schemas.parquet import is_text
from support.texts import ODD, UNSCORABLE, invalid_utf8
from worker.texts import Texts, as_bytes, byte_lengths, texts_of

VALUES = ["good", None, "", " \t\u3000\n", "né 的 😀", "a\x00b\x1b"]
ERRORS = [None, RowError.TEXT_NULL, RowError.TEXT_BLANK, RowError.TEXT_BLANK, None, None]
PLAIN_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
]
TYPES = [
    *PLAIN_TYPES,
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
    pa.dictionary(pa.int64(), pa.binary()),
]


def column_of(kind: pa.DataType, values: list[str | None]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return column_of(kind.value_type, values).dictionary_encode().cast(kind)
    if "binary" in str(kind):
        return pa.array([None if v is None else v.encode() for v in values], kind)
    return pa.array(values, kind)


def texts_in(column: pa.Array) -> Texts:
    return texts_of([as_bytes(column)])


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_each_type_that_a_plan_accepts_gives_the_same_texts(kind: pa.DataType) -> None:
    texts = texts_in(column_of(kind, VALUES))

    assert is_text(kind)
    assert texts.errors == ERRORS
    assert texts.values.to_pylist() == ["good", "", "", "", "né 的 😀", "a\x00b\x1b"]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_slice_gives_the_texts_of_its_rows(kind: pa.DataType) -> None:
    texts = texts_in(column_of(kind, VALUES).slice(1, 4))

    assert texts.errors == ERRORS[1:5]
    assert texts.values.to_pylist()[3] == "né 的 😀"


def test_odd_texts_come_through_to_the_letter_and_unscorable_ones_do_not() -> None:
    texts = texts_in(pa.array([*ODD.values(), *UNSCORABLE.values()]))

    count = len(ODD)
    assert texts.values.to_pylist()[:count] == list(ODD.values())
    assert set(texts.errors[:count]) == {None}
    assert set(texts.errors[count:]) == {RowError.TEXT_NULL, RowError.TEXT_BLANK}
    assert set(texts.values.to_pylist()[count:]) == {""}


@pytest.mark.parametrize("wrong", invalid_utf8().values(), ids=invalid_utf8())
@pytest.mark.parametrize("declared_as", ["binary", "string"])
def test_bytes_that_are_not_utf8_spoil_their_own_row_only(wrong: bytes, declared_as: str) -> None:
    column = pa.array([b"before", wrong, b"after", None, b" "], pa.binary())
    if declared_as == "string":
        column = pa.Array.from_buffers(pa.string(), len(column), column.buffers())

    texts = texts_in(column)

    assert texts.values.to_pylist() == ["before", "", "after", "", ""]
    assert texts.errors == [
        None,
        RowError.TEXT_INVALID_UTF8,
        None,
        RowError.TEXT_NULL,
        RowError.TEXT_BLANK,
    ]


def test_a_null_within_a_dictionary_is_null() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None]))

    texts = texts_in(column)

    assert texts.errors == [None, RowError.TEXT_NULL, RowError.TEXT_NULL]


def test_lengths_are_in_bytes_and_zero_for_null() -> None:
    lengths = byte_lengths(as_bytes(pa.array(["é", None, "", "abc"])))

    assert lengths.tolist() == [2, 0, 0, 3]


def test_several_arrays_give_one_list() -> None:
    texts = texts_of([as_bytes(pa.array(["a"])), as_bytes(pa.array([None, "b"], pa.string()))])

    assert texts.values.to_pylist() == ["a", "", "b"]
    assert texts.errors == [None, RowError.TEXT_NULL, None]
