"""What a job would read, what is left out when that is wanted, and what the user can do."""

from pathlib import Path

import pytest

from producer.inventory import ADVICE, take_inventory
from schemas.errors import InputCorrupt, InputMissing, SchemaMismatch, UsageError
from schemas.job import JobSpec
from schemas.storage import Storage
from support import bad_corpora, corpora


def spec_of(*inputs: Path | str, skip: bool = False, **options: object) -> JobSpec:
    asked = {"text_column": "text", "output": "/scored", "model": "m", **options}
    given = tuple(str(uri) for uri in inputs)
    return JobSpec.model_validate({"inputs": given, "skip_bad_files": skip, **asked})


def test_files_come_with_their_footers_in_order_and_each_once(tmp_path: Path) -> None:
    paths = corpora.write_many_files(tmp_path, files=5)

    found = take_inventory(Storage(), spec_of(paths[3], tmp_path, tmp_path / "*/*"))

    expected = [paths[3], *(path for path in paths if path != paths[3])]
    assert [footer.file.uri for footer in found.footers] == [str(path) for path in expected]
    assert found.skipped == []


@pytest.mark.parametrize("given", ["nowhere.parquet", "none-*.parquet", "empty"])
def test_an_input_that_gives_no_file_is_left_out_only_when_that_is_wanted(
    tmp_path: Path, given: str
) -> None:
    sound = corpora.write_corpus(tmp_path / "sound.parquet")
    (tmp_path / "empty").mkdir()
    lost = tmp_path / given

    with pytest.raises(InputMissing, match=given.replace("*", r"\*")):
        take_inventory(Storage(), spec_of(lost, sound))
    found = take_inventory(Storage(), spec_of(lost, sound, skip=True))

    assert [footer.file.uri for footer in found.footers] == [str(sound)]
    assert [(bad.uri, bad.code) for bad in found.skipped] == [(str(lost), "input_missing")]


def test_a_bad_file_among_others_comes_with_what_can_be_done(tmp_path: Path) -> None:
    sound = corpora.write_corpus(tmp_path / "sound.parquet")
    broken = bad_corpora.write_truncated(tmp_path / "broken.parquet")

    with pytest.raises(InputCorrupt) as raised:
        take_inventory(Storage(), spec_of(sound, broken))

    assert str(raised.value).startswith(str(broken))
    assert str(raised.value).endswith(ADVICE)


def test_a_column_that_only_one_file_lacks_is_the_file_s_fault_else_the_option_s(
    tmp_path: Path,
) -> None:
    first, second = bad_corpora.write_missing_column(tmp_path)

    with pytest.raises(SchemaMismatch, match="skip-bad-files"):
        take_inventory(Storage(), spec_of(first, second))
    with pytest.raises(SchemaMismatch, match=r"its columns: id \(string\)$"):
        take_inventory(Storage(), spec_of(second))


def test_when_nothing_is_left_there_is_no_job(tmp_path: Path) -> None:
    broken = bad_corpora.write_truncated(tmp_path / "broken.parquet")

    with pytest.raises(UsageError, match=r"no input gives a file; the first: .*nowhere"):
        take_inventory(Storage(), spec_of(tmp_path / "nowhere", skip=True))
    with pytest.raises(UsageError, match=r"all 1 files are bad; the first: .*broken"):
        take_inventory(Storage(), spec_of(tmp_path / "nowhere", broken, skip=True))


def test_the_columns_of_a_very_wide_table_are_not_all_told(tmp_path: Path) -> None:
    extra = {f"column_{n}": [n] for n in range(1_000)}
    path = corpora.write_table(tmp_path / "wide.parquet", corpora.make_table(["a"], extra=extra))

    with pytest.raises(SchemaMismatch, match=r"and 962 more$") as raised:
        take_inventory(Storage(), spec_of(path, text_column="txt"))

    assert len(str(raised.value)) < 2_000
