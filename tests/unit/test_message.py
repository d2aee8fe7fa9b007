"""A message is ids and numbers; what is anything else is refused without being quoted."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MessageInvalid, VersionUnknown
from schemas.message import ChunkMessage, parse_message, queue_name
from schemas.transport import publication

GOOD = {"version": 1, "job_id": "job-1", "chunk": 7, "generation": 0}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True),
    st.integers(min_value=0, max_value=2**31 - 1),
    st.integers(min_value=0, max_value=2**31 - 1),
)
def test_a_message_survives_the_way_through_json(job_id: str, chunk: int, generation: int) -> None:
    message = ChunkMessage(job_id=job_id, chunk=chunk, generation=generation)

    assert parse_message(json.loads(message.model_dump_json())) == message


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": "2"},
        {"version": None},
        {"job_id": "Ünknown job"},
        {"job_id": ""},
        {"job_id": "a" * 64},
        {"chunk": -1},
        {"chunk": 1.5},
        {"generation": -1},
        {"text": "a row"},
    ],
    ids=str,
)
def test_a_message_that_is_not_ours_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MessageInvalid, match="message not understood"):
        parse_message(GOOD | change)


def test_a_message_of_a_later_version_is_told_from_one_that_is_not_ours() -> None:
    with pytest.raises(VersionUnknown, match="later version than 1"):
        parse_message({"version": 2, "chunks": [1, 2]})


@pytest.mark.parametrize("name", ["job_id", "chunk", "generation"])
def test_a_message_that_lacks_a_field_is_refused_and_the_field_named(name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(MessageInvalid, match=name):
        parse_message(body)


@given(JSON)
def test_whatever_arrives_is_either_a_message_or_refused(body: object) -> None:
    with contextlib.suppress(MessageInvalid, VersionUnknown):
        assert isinstance(parse_message(body), ChunkMessage)


def test_the_refusal_does_not_quote_what_arrived() -> None:
    with pytest.raises(MessageInvalid) as caught:
        parse_message(GOOD | {"chunk": "a secret row"})

    assert "a secret row" not in str(caught.value)


def test_what_flower_shows_of_a_message_is_ids_and_numbers() -> None:
    message = ChunkMessage(job_id="job-1", chunk=7, generation=2)

    sent = publication(message, "high", nonce="abcd")

    assert sent["kwargsrepr"] == "job=job-1 chunk=7 generation=2"
    assert sent["argsrepr"] == "()"
    assert sent["task_id"] == "job-1.7.g2.abcd"
    assert sent["queue"] == queue_name("high")
    assert sent["ignore_result"]
