"""Which files a corpus has."""

import os
from pathlib import Path

import pytest

from producer.corpus import find_files, split_glob
from schemas.errors import InputMissing
from schemas.storage import Storage


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(folder: Path, *inputs: str) -> list[str]:
    files = find_files(Storage(), inputs)
    return [os.path.relpath(file.uri, folder) for file in files]


def test_a_folder_gives_its_parquet_files_at_any_depth_and_no_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "b.parquet", "a.PARQ", "c.pq", "day=1/d.snappy.parquet", "notes.txt", "x.json")
    touch(tmp_path, "_SUCCESS", "_tmp/e.parquet", ".hidden.parquet", "day=1/_old.parquet")

    names = found(tmp_path, str(tmp_path))

    assert names == ["a.PARQ", "b.parquet", "c.pq", "day=1/d.snappy.parquet"]


def test_a_hidden_folder_that_is_named_itself_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "_staging/a.parquet")

    assert found(tmp_path, str(tmp_path / "_staging")) == ["_staging/a.parquet"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", ["a.parquet"]),
        ("**/*.parquet", ["a.parquet", "day=1/b.parquet", "day=2/c.parquet"]),
        ("day=[12]/?.parquet", ["day=1/b.parquet", "day=2/c.parquet"]),
        ("_old/*.parquet", ["_old/z.parquet"]),
        ("*.data", ["odd.data"]),
    ],
)
def test_a_glob_gives_what_it_matches_and_hidden_names_only_when_it_spells_them(
    tmp_path: Path, pattern: str, names: list[str]
) -> None:
    touch(tmp_path, "a.parquet", "day=1/b.parquet", "day=2/c.parquet", "_old/z.parquet")
    touch(tmp_path, "_x.parquet", "odd.data")

    assert found(tmp_path, f"{tmp_path}/{pattern}") == names


def test_a_name_with_the_characters_of_a_glob_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].parquet")

    assert found(tmp_path, f"{tmp_path}/a[1].parquet") == ["a[1].parquet"]


def test_files_named_several_times_are_taken_once_in_the_order_of_the_inputs(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "x/b.parquet", "x/a.parquet", "y/c.parquet")
    (tmp_path / "link").symlink_to(tmp_path / "x")

    names = found(
        tmp_path,
        f"{tmp_path}/x/b.parquet",
        f"file://{tmp_path}/x",
        f"{tmp_path}/y/../x/*.parquet",
        f"{tmp_path}/link",
        str(tmp_path),
    )

    assert names == ["x/b.parquet", "x/a.parquet", "y/c.parquet"]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.parquet", "corpus/b.parquet")
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "corpus")

    assert found(tmp_path, str(tmp_path / "corpus")) == [
        "corpus/b.parquet",
        "corpus/linked/a.parquet",
    ]


def test_a_file_with_any_ending_is_taken_when_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "export.data")

    assert found(tmp_path, str(tmp_path / "export.data")) == ["export.data"]


def test_size_and_etag_come_with_every_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.parquet")

    (file,) = find_files(Storage(), [str(tmp_path)])

    assert file == Storage().stat(str(tmp_path / "a.parquet"))
    assert file.size == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nowhere", "does not exist"),
        ("nowhere/*.parquet", "no file matches"),
        ("empty", "nothing in it"),
        ("texts", "none of its 2 objects"),
        ("te*", "a glob names files"),
    ],
)
def test_an_input_that_gives_no_file_is_named(tmp_path: Path, given: str, says: str) -> None:
    touch(tmp_path, "texts/a.txt", "texts/_b.parquet", "sound/a.parquet")
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputMissing, match=says) as caught:
        find_files(Storage(), [str(tmp_path / "sound"), f"{tmp_path}/{given}"])

    assert given in str(caught.value)


def test_a_glob_is_split_where_its_first_pattern_begins() -> None:
    assert split_glob("/a/b/*.parquet") == ("/a/b", "*.parquet")
    assert split_glob("s3://b/x-?/y/z.parquet") == ("s3://b", "x-?/y/z.parquet")
    assert split_glob("/a/b.parquet") == ("/a/b.parquet", "")
