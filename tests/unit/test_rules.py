"""Rules vote on texts, the majority labels them, and a rule that is wrong is named."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.rules import Rules, read_rules
from producer.votes import Voting
from producer.weak_labels import label_corpus
from schemas.errors import InputCorrupt, OutputTaken, SchemaMismatch, UsageError
from schemas.labelled import read_labelled
from schemas.storage import Storage
from support.data import require_data
from support.processes import run_cli
from support.s3 import S3Bucket

RULES = r"""
labels: [negative, positive]
rules:
  - {name: praise, label: positive, keywords: [excellent, good, 很好, "c++"]}
  - {name: great, label: positive, regex: 'gr+eat'}
  - {name: blame, label: negative, keywords: [bad]}
  - {name: not good, label: negative, regex: 'not\s+good'}
"""


def rules_of(text: str, tmp_path: Path) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return read_rules(Storage(), str(path))


def corpus(path: Path, texts: list[str | bytes | None]) -> str:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    pl.DataFrame({"id": range(len(raw)), "body": pl.Series(raw, dtype=pl.Binary)}).write_parquet(
        path, row_group_size=2
    )
    return str(path)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("EXCELLENT!", "positive"),
        ("badge", None),  # keywords are whole words
        ("a bad one", "negative"),
        ("这家酒店很好的", "positive"),  # where words have no space between them, anywhere
        ("learn C++ now", "positive"),
        ("grrreat, but bad, and not  worse: bad", None),  # one against one
        ("bad and not good", "negative"),  # two votes against one
        ("not good", None),  # a tie
        ("nothing", None),
        (None, None),
    ],
)
def test_the_majority_of_the_rules_labels_a_text(
    tmp_path: Path, text: str | None, label: str | None
) -> None:
    voting = Voting(rules_of(RULES, tmp_path))

    assert voting.label(pl.Series([text], dtype=pl.String)).to_list() == [label]


def test_case_and_parts_of_words_count_where_a_rule_says_so(tmp_path: Path) -> None:
    voting = Voting(
        rules_of(
            "labels: [x]\nrules:\n"
            "  - {name: a, label: x, keywords: [Bad], case_sensitive: true, whole_words: false}\n",
            tmp_path,
        )
    )

    assert voting.label(pl.Series(["Badge", "badge"])).to_list() == ["x", None]


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["good", "bad", "not good", "great", "so"]), max_size=4).map(
            " ".join
        ),
        min_size=1,
        max_size=30,
    )
)
def test_shares_are_those_of_counting_by_hand(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rules = rules_of(RULES, tmp_path_factory.mktemp("rules"))
    voting = Voting(rules)

    labels = voting.label(pl.Series(texts)).to_list()

    report = voting.report()
    hits = [[bool(re.search(rule.pattern, text)) for rule in rules.rules] for text in texts]
    for i, (rule, found) in enumerate(zip(rules.rules, report.rules, strict=True)):
        others = [
            {other.label for j, other in enumerate(rules.rules) if row[j] and j != i}
            for row in hits
        ]
        rows = [k for k, row in enumerate(hits) if row[i]]
        decided = [k for k in rows if labels[k] is not None]
        agreeing = [k for k in decided if labels[k] == rule.label]
        assert found.rows == len(rows)
        assert found.conflict == sum(bool(others[k] - {rule.label}) for k in rows) / len(texts)
        assert found.overlap == sum(bool(others[k]) for k in rows) / len(texts)
        assert found.agreement == (len(agreeing) / len(decided) if decided else None)
    assert report.rows == sum(report.labelled.values()) + report.tied_rows + report.silent_rows


def test_labelled_rows_are_written_as_training_reads_them(tmp_path: Path) -> None:
    given = corpus(tmp_path / "corpus.parquet", ["good", None, "so so", b"good \xff", "bad"])
    out = str(tmp_path / "weak")

    report = label_corpus(Storage(), rules_of(RULES, tmp_path), [given], "body", out)

    found = read_labelled(Storage(), [out])
    assert (found.texts, found.labels) == (["good", "bad"], ["positive", "negative"])
    written = pl.read_parquet(f"{out}/*.parquet")
    assert written["source_row"].to_list() == [0, 4]
    assert written["source_file"].to_list() == [given, given]
    assert (report.rows, report.silent_rows) == (5, 3)


def test_precision_is_told_by_labelled_texts(tmp_path: Path) -> None:
    given = corpus(tmp_path / "corpus.parquet", ["good"])
    data = tmp_path / "data.csv"
    data.write_text("text,label\ngood,positive\ngood one,negative\nbad,negative\nnone,negative\n")
    rules = rules_of(RULES, tmp_path)
    labelled = read_labelled(Storage(), [str(data)])

    report = label_corpus(
        Storage(), rules, [given], "body", str(tmp_path / "weak"), labelled=labelled
    )

    assert [(r.precision, r.precision_rows) for r in report.rules] == [
        (0.5, 2),
        (None, 0),
        (1.0, 1),
        (None, 0),
    ]
    assert report.accuracy == pytest.approx(2 / 3)
    assert report.accuracy_rows == 3


def test_known_labels_that_the_rules_lack_are_refused(tmp_path: Path) -> None:
    given = corpus(tmp_path / "corpus.parquet", ["good"])
    data = tmp_path / "data.csv"
    data.write_text("good,1\nbad,0\n")

    with pytest.raises(SchemaMismatch, match=r"data\.csv, row 1: label '0' is none"):
        label_corpus(
            Storage(),
            rules_of(RULES, tmp_path),
            [given],
            "body",
            str(tmp_path / "weak"),
            labelled=read_labelled(Storage(), [str(data)]),
        )


def test_a_corpus_that_is_damaged_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from producer import weak_labels

    monkeypatch.setattr(weak_labels, "PART_BYTES", 1)
    corpus(tmp_path / "a.parquet", ["good"])
    (tmp_path / "b.parquet").write_bytes(b"damaged")
    out = tmp_path / "weak"

    with pytest.raises(InputCorrupt, match=r"b\.parquet"):
        label_corpus(
            Storage(), rules_of(RULES, tmp_path), [f"{tmp_path}/*.parquet"], "body", str(out)
        )

    assert list(out.iterdir()) == []


def test_an_output_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    given = corpus(tmp_path / "corpus.parquet", ["good"])

    with pytest.raises(OutputTaken, match="not empty"):
        label_corpus(Storage(), rules_of(RULES, tmp_path), [given], "body", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("labels: [a\n", "line 2, column 1: not YAML"),
        ("- a\n", "valid dictionary"),
        ("labels: [a]\n", "rules: Field required"),
        ("labels: [a]\nrules: [{name: r, label: b, regex: x}]", "rule 'r'.*label 'b' is none of a"),
        ("labels: [a]\nrules: [{label: a, regex: x}]", "rule number 1: name: Field required"),
        ("labels: [a]\nrules: [{name: r, label: a}]", "rule 'r'.*either keywords or a regex"),
        ("labels: [a]\nrules: [{name: r, label: a, regx: x}]", "rule 'r'.*regx: Extra inputs"),
        ("labels: [a]\nrules: [{name: r, label: a, regex: '('}]", "rule 'r'.*unclosed group"),
        ("labels: [a]\nrules: [{name: r, label: a, regex: '(?=x)'}]", "rule 'r'.*look-around"),
        ("labels: [a]\nrules: [{name: r, label: a, regex: '(x)\\1'}]", "rule 'r'.*backreferences"),
        (
            "labels: [a]\nrules: [{name: r, label: a, regex: x}, {name: r, label: a, regex: y}]",
            "rule 'r' .number 2.*an earlier rule",
        ),
    ],
)
def test_rules_that_are_wrong_are_named_with_their_place(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        rules_of(text, tmp_path)

    assert "rules.yaml" in str(raised.value)


@pytest.mark.integration
def test_a_corpus_on_s3_is_labelled(
    tmp_path: Path, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    storage = Storage()
    local = Path(corpus(tmp_path / "corpus.parquet", ["good", "bad", "so"]))
    storage.create(s3_bucket.key_uri("corpus/a.parquet"), local.read_bytes())
    out = s3_bucket.key_uri("weak")

    label_corpus(storage, rules_of(RULES, tmp_path), [s3_bucket.key_uri("corpus")], "body", out)

    assert read_labelled(storage, [out]).labels == ["positive", "negative"]


def test_the_command_labels_a_real_corpus_and_prints_the_rules(tmp_path: Path) -> None:
    given = require_data("corpus/corpus.parquet")
    rules_of(RULES, tmp_path)

    done = run_cli(
        *("label", "--rules", str(tmp_path / "rules.yaml"), "-i", str(given)),
        *("--text-column", "text", "-o", str(tmp_path / "weak")),
    )

    assert done.exit_code == 0, done.stderr
    assert "20,000" in done.stdout
    assert "praise" in done.stdout
    assert len(read_labelled(Storage(), [str(tmp_path / "weak")]).texts) > 500
