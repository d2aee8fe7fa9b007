"""What is bad in a corpus is refused by name, or costs its own rows or chunks alone.

Everything goes through the real command line, a real broker and a real worker. Bad models are in
`test_bad_models`, what does not answer in `test_unreachable`, Ctrl-C in `test_interrupts`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import layout
from support import bad_corpora, corpora
from support.bad_models import PANIC
from support.live_stack import LiveStack, assert_refused
from support.texts import awkward_texts, invalid_utf8, ordinary_texts

pytestmark = pytest.mark.acceptance


def rows_of(output: Path) -> list[dict[str, Any]]:
    """Return the result rows as any dataset reader finds them."""
    rows: list[dict[str, Any]] = pq.read_table(output).to_pylist()
    return rows


# --- no such file, empty glob, not Parquet, truncated footer, encrypted Parquet


def encrypted(path: Path, footer: Any) -> Path:
    return bad_corpora.write_encrypted(path, footer=footer)


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "nowhere.parquet": (lambda path: path, "input_missing", "does not exist"),
    "none-*.parquet": (lambda path: path, "input_missing", "no file matches"),
    "empty": (empty_folder, "input_missing", "nothing in it"),
    "csv.parquet": (bad_corpora.write_not_parquet, "input_corrupt", "not Parquet"),
    "zero.parquet": (bad_corpora.write_zero_bytes, "input_corrupt", "it has 0 bytes"),
    "cut.parquet": (bad_corpora.write_truncated, "input_corrupt", "its end is missing"),
    "noise.parquet": (bad_corpora.write_broken_footer, "input_corrupt", "cannot be read"),
    "locked.parquet": (lambda path: encrypted(path, "encrypted"), "input_corrupt", "encrypted"),
    "half.parquet": (lambda path: encrypted(path, "plaintext"), "input_corrupt", "without a key"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused_by_name_and_nothing_is_created(
    stack: LiveStack, tmp_path: Path, name: str
) -> None:
    write, code, reason = BAD_FILES[name]
    sound = corpora.write_corpus(tmp_path / "sound.parquet")
    bad, output, before = write(tmp_path / name), tmp_path / "scored", stack.jobs()

    done = stack.submit(sound, output, "--input", bad)

    says = [rf"\[{code}\]", re.escape(str(bad)), reason]
    if code == "input_corrupt":
        says.append("--skip-bad-files")
    assert_refused(done, stack, before, output, *says)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_plan_and_run_refuse_a_bad_file_as_submit_does(
    stack: LiveStack, tmp_path: Path, command: str
) -> None:
    bad, output = bad_corpora.write_truncated(tmp_path / "cut.parquet"), tmp_path / "scored"
    before = stack.jobs()
    options = ["--output", str(output)] if command == "run" else []

    done = stack.cli(command, *stack.scoring(bad, *options))

    assert_refused(done, stack, before, output, r"\[input_corrupt\]", re.escape(str(bad)))


def test_bad_files_that_may_be_skipped_are_named_in_manifest_and_summary_and_the_rest_is_scored(
    stack: LiveStack, tmp_path: Path
) -> None:
    sound = corpora.write_corpus(tmp_path / "sound.parquet")
    bad = {str(write(tmp_path / name)): code for name, (write, code, _) in BAD_FILES.items()}
    bad |= {
        str(bad_corpora.write_missing_column(tmp_path / "schema")[1]): "schema_mismatch",
        str(bad_corpora.write_changed_type(tmp_path / "types")[1]): "schema_mismatch",
    }
    inputs = [word for uri in bad for word in ("--input", uri)]
    output = tmp_path / "scored"

    done = stack.submit(sound, output, *inputs, "--skip-bad-files", "--wait", "--json")

    assert done.exit_code == 0, done
    manifest = json.loads(Path(layout.manifest(str(output))).read_text())
    summary = json.loads(Path(layout.summary(str(output))).read_text())
    assert {item["uri"]: item["code"] for item in manifest["skipped"]} == bad
    assert summary["skipped_files"] == manifest["skipped"] == done.json()["skipped_files"]
    assert (summary["state"], summary["rows_scored"]) == ("succeeded", 100)
    for uri, code in bad.items():
        assert f"skipped {uri} [{code}]" in done.stderr
    assert (output / "_SUCCESS").exists()


def test_when_every_file_is_bad_there_is_no_job_even_if_they_may_be_skipped(
    stack: LiveStack, tmp_path: Path
) -> None:
    bad, output = bad_corpora.write_truncated(tmp_path / "cut.parquet"), tmp_path / "scored"
    before = stack.jobs()

    done = stack.submit(bad, output, "--skip-bad-files")

    assert_refused(done, stack, before, output, re.escape(str(bad)))


# --- no such column, text column not string-like, files that disagree


def test_a_column_that_is_not_there_is_named_with_the_file_and_the_columns_there_are(
    stack: LiveStack, tmp_path: Path
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet"), tmp_path / "scored"
    before = stack.jobs()

    for option in ("--text-column", "--id-column"):
        done = stack.submit(path, output, option, "body")

        says = (r"\[schema_mismatch\]", re.escape(str(path)), "'body'", "id .*text ")
        assert_refused(done, stack, before, output, *says)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array(range(3)), "int64"),
        (pa.array([["a"], [], None]), "list"),
        (pa.array([{"text": "a"}] * 3), "struct"),
        (pa.nulls(3), "null"),
    ],
)
def test_a_text_column_that_holds_no_strings_is_named_with_its_type(
    stack: LiveStack, tmp_path: Path, values: pa.Array, kind: str
) -> None:
    table = pa.table({"id": [1, 2, 3], "text": values})
    path, output = corpora.write_table(tmp_path / "a.parquet", table), tmp_path / "scored"
    before = stack.jobs()

    done = stack.submit(path, output)

    says = (r"\[schema_mismatch\]", re.escape(str(path)), f"'text' is {kind}", r"id \(int64\)")
    assert_refused(done, stack, before, output, *says)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (bad_corpora.write_missing_column, ["no column 'text'", r"id \(string\)"]),
        (bad_corpora.write_changed_type, ["'text' is int64", r"id \(string\)"]),
        (bad_corpora.write_changed_id_type, ["column 'id' is int64", "string in .*0.parquet"]),
    ],
)
def test_files_that_disagree_are_refused_with_the_column_and_the_file(
    stack: LiveStack, tmp_path: Path, write: Callable[[Path], list[Path]], says: list[str]
) -> None:
    paths, output, before = write(tmp_path / "corpus"), tmp_path / "scored", stack.jobs()

    done = stack.submit(tmp_path / "corpus", output, "--id-column", "id")

    file = re.escape(str(paths[1]))
    assert_refused(done, stack, before, output, r"\[schema_mismatch\]", file, *says)


def test_strings_of_every_make_are_scored_alike(stack: LiveStack, tmp_path: Path) -> None:
    for text_type in corpora.TEXT_TYPES:
        path = tmp_path / "corpus" / f"{text_type}.parquet"
        corpora.write_corpus(path, 40, text_type=text_type)
    output = tmp_path / "scored"

    done = stack.submit(tmp_path / "corpus", output, "--wait")

    assert done.exit_code == 0, done
    scores: dict[str, list[float]] = {}
    for row in rows_of(output):
        scores.setdefault(Path(row["source_file"]).stem, []).append(row["score"])
    assert scores.keys() == set(corpora.TEXT_TYPES)
    for found in scores.values():
        assert found == pytest.approx(scores["string"], abs=1e-5)


# --- texts that cannot be scored


def test_every_awkward_text_has_a_result_row_and_the_job_succeeds(
    stack: LiveStack, tmp_path: Path
) -> None:
    corpora.write_awkward_texts(tmp_path / "corpus" / "awkward.parquet")
    corpora.write_invalid_utf8(tmp_path / "corpus" / "binary.parquet", declared_as="binary")
    corpora.write_invalid_utf8(tmp_path / "corpus" / "lie.parquet", declared_as="string")
    table = corpora.make_table(["sound", PANIC, "sound"])
    corpora.write_table(tmp_path / "corpus" / "panic.parquet", table)
    output = tmp_path / "scored"

    done = stack.submit(tmp_path / "corpus", output, "--id-column", "id", "--wait", "--json")

    assert done.exit_code == 0, done
    rows = rows_of(output)
    assert len(rows) == len(awkward_texts()) + 4 * len(invalid_utf8()) + 3
    errors = {(Path(row["source_file"]).stem, row["id"]): row["error"] for row in rows}
    blank = {("awkward", name): "text_blank" for name in ("empty", "spaces", "white_space")}
    invalid = {
        (file, name): "text_invalid_utf8" for file in ("binary", "lie") for name in invalid_utf8()
    }
    assert {place: error for place, error in errors.items() if error} == {
        ("awkward", "null"): "text_null",
        **blank,
        **invalid,
        ("panic", "doc-000001"): "tokenizer_failed",
    }
    assert all((row["score"] is None) == (row["error"] is not None) for row in rows)
    summary = done.json()
    assert summary["rows"] == summary["rows_scored"] + sum(summary["errors"].values()) == len(rows)
    assert summary["chunks_dead"] == 0
    assert stack.cli("verify", output).exit_code == 0


def test_more_row_errors_than_allowed_fail_the_job_but_every_row_is_there(
    stack: LiveStack, tmp_path: Path
) -> None:
    texts: list[str | None] = [*ordinary_texts(90), *[None] * 10]
    path = corpora.write_table(tmp_path / "a.parquet", corpora.make_table(texts))
    output = tmp_path / "scored"

    done = stack.submit(path, output, "--max-row-errors", "9%", "--wait", "--json")

    assert done.exit_code == 4, done
    assert (done.json()["state"], done.json()["rows_error"]) == ("failed", 10)
    assert len(rows_of(output)) == 100
    assert not (output / "_SUCCESS").exists()


# --- files that are odd, but sound


def test_odd_but_sound_files_just_work(stack: LiveStack, tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "scored"
    corpora.write_no_rows(corpus / "no-rows.parquet")
    corpora.write_row_groups(corpus / "all-empty.parquet", [0, 0])
    corpora.write_empty_row_groups(corpus / "gaps.parquet")
    corpora.write_row_groups(corpus / "one-row.parquet", [1])
    corpora.write_one_row_row_groups(corpus / "one-row-groups.parquet")
    corpora.write_duplicate_ids(corpus / "duplicate-ids.parquet")
    corpora.write_nested_columns(corpus / "nested.parquet")

    done = stack.submit(corpus, output, "--id-column", "id", "--chunk-rows", "40", "--wait")

    assert done.exit_code == 0, done
    expected = {"gaps": 50, "one-row": 1, "one-row-groups": 25, "duplicate-ids": 60, "nested": 100}
    rows = rows_of(output)
    for name, count in expected.items():
        ids = pq.read_table(corpus / f"{name}.parquet")["id"].to_pylist()
        found = [row["id"] for row in rows if Path(row["source_file"]).stem == name]
        assert found == ids
        assert len(found) == count
    assert len(rows) == sum(expected.values())
    assert {row["error"] for row in rows} == {None}
    assert stack.cli("verify", output).exit_code == 0


def test_integer_and_nested_ids_come_back_as_they_were(stack: LiveStack, tmp_path: Path) -> None:
    ids = {"number": range(50), "place": [{"page": n, "tags": ["x"] * (n % 3)} for n in range(50)]}
    table = pa.table({**{k: pa.array(v) for k, v in ids.items()}, "text": ordinary_texts(50)})
    path, output = corpora.write_table(tmp_path / "a.parquet", table), tmp_path / "scored"

    done = stack.submit(path, output, "--id-column", "number", "--id-column", "place", "--wait")

    assert done.exit_code == 0, done
    result = pq.read_table(output)
    assert result.select(list(ids)).equals(table.select(list(ids)))


def test_a_corpus_without_a_single_row_is_a_job_that_succeeds(
    stack: LiveStack, tmp_path: Path
) -> None:
    path, output = corpora.write_no_rows(tmp_path / "a.parquet"), tmp_path / "scored"

    done = stack.submit(path, output, "--wait", "--json")

    assert done.exit_code == 0, done
    assert (done.json()["state"], done.json()["rows"]) == ("succeeded", 0)
    assert (output / "_SUCCESS").exists()
    assert stack.cli("verify", output).exit_code == 0


# --- a page that will not decode


def test_a_damaged_page_is_a_dead_letter_with_file_and_row_group_and_the_rest_is_scored(
    stack: LiveStack, tmp_path: Path
) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "scored"
    damages: dict[bad_corpora.Damage, int] = {"checksum": 1, "codec": 2}
    for damage, row_group in damages.items():
        path = corpus / f"{damage}.parquet"
        bad_corpora.write_damaged_row_group(path, row_group=row_group, damage=damage)
    corpora.write_corpus(corpus / "sound.parquet", 120)

    done = stack.submit(corpus, output, "--chunk-rows", "40", "--wait", "--json")
    letters = stack.cli("dead-letters", output, "--json").json()

    assert done.exit_code == 3, done
    places = {Path(letter["file"]["uri"]).stem: letter["row_group"] for letter in letters}
    assert places == damages
    for letter in letters:
        assert letter["code"] == "input_corrupt"
        assert f"{letter['file']['uri']}, row group {letter['row_group']}," in letter["message"]
        assert letter["row_start"] // 40 == letter["row_group"]
        assert len(letter["attempts"]) == 1
    summary = done.json()
    assert summary["dead_by_code"] == {"input_corrupt": len(letters)}
    assert (summary["rows"], summary["rows_scored"], summary["rows_dead"]) == (360, 280, 80)
    assert len(rows_of(output)) == 280
    shown = stack.cli("dead-letters", output, "--show", letters[0]["chunk"])
    assert f"row group      {letters[0]['row_group']}" in shown.stdout


# --- the output holds another job; the input changed since the plan


def test_an_output_that_holds_another_job_is_refused_and_stays_as_it_is(
    stack: LiveStack, tmp_path: Path
) -> None:
    first = corpora.write_corpus(tmp_path / "a.parquet", 60)
    second = corpora.write_corpus(tmp_path / "b.parquet", 60, seed=1)
    output = tmp_path / "scored"
    scored = stack.submit(first, output, "--wait")
    before, jobs = content_of(output), stack.jobs()

    other = stack.submit(second, output)
    run = stack.cli("run", *stack.scoring(second, "--output", output))

    assert scored.exit_code == 0, scored
    for done in (other, run):
        assert done.exit_code == 2, done
        assert "error [output_taken]" in done.stderr
        assert str(output) in done.stderr
        assert "Choose another --output" in done.stderr
    assert content_of(output) == before
    assert stack.jobs() == jobs


def test_an_output_with_files_of_others_is_refused_and_stays_as_it_is(
    stack: LiveStack, tmp_path: Path
) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet")
    theirs = corpora.write_corpus(tmp_path / "scored" / "theirs.parquet")
    before = content_of(theirs.parent)

    done = stack.submit(path, theirs.parent)

    assert done.exit_code == 2, done
    assert "error [output_taken]" in done.stderr
    assert str(theirs) in done.stderr
    assert content_of(theirs.parent) == before


def content_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_input_that_changed_since_the_plan_is_a_dead_letter_and_the_rest_is_scored(
    stack: LiveStack, tmp_path: Path
) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "scored"
    for name in ("larger", "same-size", "sound", "gone"):
        corpora.write_corpus(corpus / f"{name}.parquet", 50)
    with stack.worker_held():
        submitted = stack.submit(corpus, output, "--json")
        corpora.write_corpus(corpus / "larger.parquet", 70)
        content = (corpus / "same-size.parquet").read_bytes()
        (corpus / "same-size.parquet").write_bytes(content.replace(b"doc-", b"dog-"))
        (corpus / "gone.parquet").unlink()

    done = stack.cli("wait", submitted.json()["job_id"], "--json")

    assert done.exit_code == 3, done
    letters = stack.cli("dead-letters", output, "--json").json()
    found = {Path(letter["file"]["uri"]).stem: letter for letter in letters}
    assert {name: letter["code"] for name, letter in found.items()} == {
        "larger": "input_changed",
        "same-size": "input_changed",
        "gone": "input_missing",
    }
    assert "changed since the job was planned: size" in found["larger"]["message"]
    assert "ETag" in found["same-size"]["message"]
    assert {Path(row["source_file"]).stem for row in rows_of(output)} == {"sound"}
