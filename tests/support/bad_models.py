"""Classifiers that cannot be used, or choke on a text: one way per function.

Each spoils a model's folder in place, but for `choking_model`, which writes one.
"""

from pathlib import Path

from support.families import change_json
from support.models import tiny_model

# The tokenizer of `choking_model` panics at this text.
PANIC = "a" * 60 + "b"


def choking_model(folder: Path) -> Path:
    """Write a tiny classifier whose tokenizer panics at `aaa…b`: a pattern backtracks forever."""
    from tokenizers import Regex, Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    tiny_model(folder)
    rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
    trap = normalizers.Replace(Regex("(a|aa)+$"), "x")
    rust.normalizer = normalizers.Sequence([trap, rust.normalizer])
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=rust, sep_token="[SEP]", model_max_length=128, **special
    )
    tokenizer.save_pretrained(folder)
    return folder


def without_head(folder: Path) -> None:
    """Drop the head from the weights."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    """Leave the weights as a pickle only."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    """Lose the end of the weights, as after an upload that broke off."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1_000])


def of_unknown_kind(folder: Path) -> None:
    """Name a family that nobody knows."""
    change_json(folder / "config.json", model_type="my-own")


def without_labels(folder: Path) -> None:
    """Drop the label map."""
    change_json(folder / "config.json", id2label=None, label2id=None)


def not_a_classifier(folder: Path) -> None:
    """Name the architecture of a language model."""
    change_json(folder / "config.json", architectures=["BertForMaskedLM"])


def with_code(folder: Path) -> None:
    """Ask for code that comes with the model."""
    change_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})


def with_a_layer_too_many(folder: Path) -> None:
    """Ask for more layers than the weights have, which only loading shows."""
    change_json(folder / "config.json", num_hidden_layers=3)


def with_a_tokenizer_of_no_kind(folder: Path) -> None:
    """Keep a tokenizer file that is JSON and nothing else."""
    (folder / "tokenizer.json").write_text("{}")


def gone(folder: Path) -> None:
    """Lose the weights."""
    (folder / "model.safetensors").unlink()


def with_other_weights(folder: Path) -> None:
    """Change the last weight."""
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + bytes(4))
