"""The table of legal moves is one table, in Python and in the ledger's script."""

import re
from importlib.resources import files

from schemas.ledger import _JOB_KINDS
from schemas.states import LEGAL_MOVES, TERMINAL_CHUNK_STATES, ChunkState

SCRIPT = files("schemas").joinpath("ledger.lua").read_text(encoding="utf-8")


def lua_table(name: str) -> dict[str, str]:
    found = re.search(rf"^local {name} = {{(.*?)}}$", SCRIPT, re.M)
    assert found is not None
    return dict(re.findall(r"(\w) = '(\w*)'", found[1]))


def test_every_state_has_a_letter_of_its_own_that_the_ledger_knows() -> None:
    assert lua_table("NAMES") == {state.letter: state.value for state in ChunkState}
    assert len({state.letter for state in ChunkState}) == len(ChunkState)


def test_the_ledger_allows_exactly_the_legal_moves() -> None:
    in_lua = {letter: set(to) for letter, to in lua_table("LEGAL").items()}

    assert in_lua == {s.letter: {t.letter for t in to} for s, to in LEGAL_MOVES.items()}


def test_the_ledger_and_its_face_name_the_same_keys_of_a_job() -> None:
    described = re.findall(r"^--   (\w+):<id> ", SCRIPT, re.M)
    used = re.findall(r"key\('(\w+)'\)", SCRIPT)

    assert sorted(described) == sorted(used) == sorted(_JOB_KINDS)


def test_a_result_is_reached_from_every_state_and_left_by_none() -> None:
    others = set(ChunkState) - {ChunkState.SUCCEEDED}

    assert all(ChunkState.SUCCEEDED in LEGAL_MOVES[state] for state in others)
    assert not LEGAL_MOVES[ChunkState.SUCCEEDED]


def test_what_has_ended_runs_only_after_it_was_queued_again() -> None:
    for state in TERMINAL_CHUNK_STATES:
        assert LEGAL_MOVES[state] <= {ChunkState.QUEUED, ChunkState.SUCCEEDED}
