"""A model is pinned when it is safe and complete; else file and reason are named."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import (
    BulkError,
    ConfigurationError,
    ExitCode,
    InputMissing,
    ModelIncompatible,
    UsageError,
)
from schemas.model_config import UNLIMITED_MAX_LENGTH
from schemas.model_files import choose_max_length, pin_model
from schemas.storage import Storage

CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 3,
    "max_position_embeddings": 512,
    "id2label": {"0": "negative", "1": "positive"},
}
TOKENIZER = {"model": {"vocab": {"[PAD]": 0, "a": 1}}, "added_tokens": [{"id": 2}]}
HEAD = {"classifier.weight": [2, 4]}

MakeModel = Callable[..., Path]


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """Return a safetensors file of zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write the files of a small valid classifier, changed as asked for."""

    def make(
        *,
        without: tuple[str, ...] = (),
        tokenizer_config: dict[str, Any] | None = None,
        shapes: dict[str, list[int]] | None = None,
        files: dict[str, bytes] | None = None,
        **config: Any,
    ) -> Path:
        folder = tmp_path / "classifier"
        folder.mkdir()
        settings = {k: v for k, v in (CONFIG | config).items() if v is not None}
        content = {
            "config.json": json.dumps(settings).encode(),
            "tokenizer.json": json.dumps(TOKENIZER).encode(),
            "tokenizer_config.json": json.dumps(tokenizer_config or {}).encode(),
            "model.safetensors": safetensors(shapes or HEAD),
            **(files or {}),
        }
        for name, data in content.items():
            if name not in without:
                (folder / name).write_bytes(data)
        return folder

    return make


def pin(folder: Path) -> Any:
    return pin_model(Storage(), str(folder))


def test_a_pin_says_what_the_model_is(make_model: MakeModel) -> None:
    folder = make_model()

    found = pin(folder)

    assert (found.name, found.uri, found.ref) == ("classifier", str(folder), str(folder))
    assert (found.model_type, found.problem_type) == ("bert", "single_label_classification")
    assert found.labels == ("negative", "positive")
    assert found.max_length == 512


def test_a_pin_lists_size_and_sum_of_each_file_and_a_digest_over_them(
    make_model: MakeModel,
) -> None:
    folder = make_model()

    found = pin(folder)

    assert [f.path for f in found.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for file in found.files:
        content = (folder / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    lines = "".join(f"{f.path}\0{f.sha256}\n" for f in found.files)
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_files_that_are_no_part_of_the_model_are_left_out(make_model: MakeModel) -> None:
    strangers = ("README.md", ".gitattributes", "training_args.bin", "modeling_own.py", "x.msgpack")

    found = pin(make_model(files=dict.fromkeys(strangers, b"?")))

    assert not {f.path for f in found.files} & set(strangers)


def test_equal_models_in_two_places_have_one_digest(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    first = pin(folder)
    copy = folder.rename(tmp_path / "elsewhere")

    second = pin(copy)

    assert second.digest == first.digest
    assert second.uri != first.uri


def test_a_changed_weight_changes_the_digest(make_model: MakeModel) -> None:
    folder = make_model()
    before = pin(folder).digest
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")

    assert pin(folder).digest != before


def test_weights_in_shards_are_pinned_with_their_index(make_model: MakeModel) -> None:
    shards = {"classifier.weight": "model-2.safetensors", "body": "model-1.safetensors"}

    found = pin(
        make_model(
            without=("model.safetensors",),
            files={
                "model.safetensors.index.json": json.dumps({"weight_map": shards}).encode(),
                "model-1.safetensors": safetensors({"body": [1]}),
                "model-2.safetensors": safetensors(HEAD),
            },
        )
    )

    assert {"model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"} < {
        f.path for f in found.files
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"without": ("config.json",)}, r"no config\.json"),
        ({"without": ("tokenizer.json",)}, r"no tokenizer\.json"),
        ({"without": ("model.safetensors",)}, "no weights"),
        (
            {"without": ("model.safetensors",), "files": {"pytorch_model.bin": b"pickle"}},
            r"only in pytorch_model\.bin",
        ),
        ({"files": {"config.json": b'{"model_ty'}}, r"config\.json is not JSON"),
        ({"files": {"tokenizer.json": b"[]"}}, r"tokenizer\.json is not a JSON object"),
        ({"auto_map": {"AutoModel": "own--code"}}, r"config\.json has 'auto_map'"),
        ({"tokenizer_config": {"auto_map": {}}}, r"tokenizer_config\.json has 'auto_map'"),
        ({"_attn_implementation": "some/kernel"}, "'_attn_implementation'"),
        ({"text_config": {"attn_implementation_internal": "x"}}, "'attn_implementation_internal'"),
        ({"quantization_config": {"quant_method": "x"}}, "'quantization_config'"),
        ({"architectures": ["BertModel"]}, "architecture BertModel"),
        ({"architectures": None}, "architecture none"),
        ({"model_type": "mobilebert"}, "model_type 'mobilebert'"),
        ({"shapes": {"bert.pooler.weight": [4, 4]}}, "no classification head"),
        ({"shapes": {"classifier.weight": [3, 4]}}, "2 labels, the head in the weights has 3"),
        ({"id2label": None}, r'add for example "id2label": \{"0": "LABEL_0", "1": "LABEL_1"\}'),
        ({"id2label": {"1": "a", "2": "b"}}, "must be 0 to 1"),
        ({"id2label": {"zero": "a", "one": "b"}}, "must be 0 to 1"),
        ({"problem_type": "ranking"}, "problem_type 'ranking'"),
        ({"problem_type": "regression"}, "one label only"),
        ({"vocab_size": 2}, "ids up to 2, the model knows only 2"),
        ({"files": {"model.safetensors": b"\x08"}}, "not a safetensors file"),
        ({"files": {"model.safetensors": safetensors(HEAD)[:-4]}}, "cut short"),
        ({"files": {"model.safetensors": b"\x02" + bytes(7) + b"??"}}, "damaged safetensors"),
    ],
)
def test_an_unsafe_or_incomplete_model_is_refused_with_file_and_reason(
    make_model: MakeModel, changes: dict[str, Any], reason: str
) -> None:
    folder = make_model(**changes)

    with pytest.raises(ModelIncompatible, match=reason) as caught:
        pin(folder)

    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("file", ["../../secret.safetensors", "a/b.safetensors", "weights.bin", 7])
def test_a_shard_index_that_points_elsewhere_is_refused(make_model: MakeModel, file: Any) -> None:
    index = json.dumps({"weight_map": {"classifier.weight": file}}).encode()
    folder = make_model(
        without=("model.safetensors",), files={"model.safetensors.index.json": index}
    )

    with pytest.raises(ModelIncompatible, match="not a plain"):
        pin(folder)


def test_a_shard_that_is_missing_is_named(make_model: MakeModel) -> None:
    index = json.dumps({"weight_map": {"classifier.weight": "model-1.safetensors"}}).encode()
    folder = make_model(
        without=("model.safetensors",), files={"model.safetensors.index.json": index}
    )

    with pytest.raises(ModelIncompatible, match=r"model-1\.safetensors, which is not there"):
        pin(folder)


@pytest.mark.parametrize(
    ("ref", "error", "reason"),
    [
        ("nothing/here", InputMissing, "does not exist"),
        ("ftp://host/model", UsageError, "unknown scheme"),
    ],
)
def test_a_reference_to_nothing_ends_with_exit_code_2(
    ref: str, error: type[BulkError], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        pin_model(Storage(), ref)

    assert caught.value.exit_code == ExitCode.USAGE


def test_a_registered_model_without_a_registry_ends_with_exit_code_78() -> None:
    with pytest.raises(ConfigurationError, match="BULKSCORE_MODELS_URI is not set") as caught:
        pin_model(Storage(), "sentiment@7")

    assert caught.value.exit_code == ExitCode.CONFIGURATION


def test_a_file_or_an_empty_folder_is_no_model(make_model: MakeModel, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(ModelIncompatible, match="give the folder"):
        pin(make_model() / "config.json")
    with pytest.raises(ModelIncompatible, match="empty"):
        pin(empty)


@pytest.mark.parametrize(
    ("config", "tokenizer_config", "expected"),
    [
        ({}, {}, 512),
        ({}, {"model_max_length": 128}, 128),
        ({}, {"model_max_length": 10**30}, 512),
        ({"max_position_embeddings": None, "n_positions": 1024}, {}, 1024),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, {}, 512),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, {}, UNLIMITED_MAX_LENGTH),
    ],
)
def test_the_longest_text_is_what_both_model_and_tokenizer_can_read(
    make_model: MakeModel, config: dict[str, Any], tokenizer_config: dict[str, Any], expected: int
) -> None:
    folder = make_model(tokenizer_config=tokenizer_config, **config)

    assert pin(folder).max_length == expected


def test_a_model_of_one_label_is_a_regression_unless_it_says_otherwise(
    make_model: MakeModel,
) -> None:
    folder = make_model(id2label={"0": "stars"}, shapes={"classifier.weight": [1, 4]})

    assert pin(folder).problem_type == "regression"


def test_a_length_is_taken_as_requested_within_what_the_model_reads(make_model: MakeModel) -> None:
    found = pin(make_model())

    assert choose_max_length(found, None) == 512
    assert choose_max_length(found, 64) == 64
    with pytest.raises(UsageError, match="at most 512 tokens"):
        choose_max_length(found, 513)
