"""Tiny classifiers with random weights, one of every family, each with a tokenizer of its kind.

Their logits mean nothing but spread widely, so that a wrong mask, pad side or token type shows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VOCABULARY = 400
LABELS = ("negative", "neutral", "positive")

# Enough letters and scripts that no tokenizer is without a token for the texts of tests.
TEXTS = (
    "the quick brown fox jumps over the lazy dog , and nobody minds at all .",
    "A delightful coming-of-age story with style and empathy; it's worth 10 dollars!",
    "what a dull , pointless two hours this was ?",
    "ÄÖÜ éàç ñ ß – 数据 很好 не плохо",
)

_ROBERTA_LIKE = ("roberta", "xlm-roberta", "camembert", "data2vec-text", "roberta-prelayernorm")
_DEBERTA_LIKE = ("deberta-v2", "rembert")
_QWEN_LIKE = ("qwen2", "qwen3")
_WITHOUT_SPECIAL_TOKENS = {
    *("gemma", "gemma2", "gpt2", "gpt_neox", "llama", "mistral"),
    *("olmo2", "opt", "phi3", "qwen2", "qwen3", "smollm3"),
}

_BASE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 130,
}
_GROUPED = {**_BASE, "num_key_value_heads": 2, "head_dim": 16}
_SIZES: dict[str, dict[str, Any]] = {
    "albert": {**_BASE, "embedding_size": 16},
    "bilstm": {"embedding_size": 64, "hidden_size": 96},
    "deberta": {**_BASE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "deberta-v2": {
        **_BASE,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    },
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 48,
        "max_position_embeddings": 130,
    },
    "electra": {**_BASE, "embedding_size": 16},
    "eurobert": _GROUPED,
    "gemma": _GROUPED,
    "gemma2": _GROUPED,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 130},
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "olmo2": _GROUPED,
    "opt": {**_BASE, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi3": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": _GROUPED,
    "smollm3": _GROUPED,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
}


def save_tiny_classifier(
    folder: Path,
    model_type: str = "bert",
    *,
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a classifier with random weights and its tokenizer into `folder`, and return it.

    Args:
        folder: Created when it is not there.
        model_type: A family of `schemas.model_families`.
        labels: Names of the labels.
        seed: Of the weights.
        config: Further values of the model's configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    import worker.engine.bilstm  # noqa: F401 - makes itself known to transformers

    tokenizer = tiny_tokenizer(model_type)
    special = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id")
        for name in ("pad", "bos", "eos", "cls", "sep")
    }
    sizes = _SIZES.get(model_type, _BASE)
    settings = AutoConfig.for_model(
        model_type,
        vocab_size=VOCABULARY,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        **{**sizes, **special, **config},
    )
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(settings)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def tiny_tokenizer(model_type: str) -> Any:
    """Return a tokenizer of the kind that the family has, trained on a few sentences."""
    import transformers

    if model_type == "xlnet":
        special = ["<unk>", "<s>", "</s>", "<sep>", "<pad>", "<cls>", "<mask>", "<eop>", "<eod>"]
        return transformers.XLNetTokenizer(vocab=_unigram(special))
    if model_type in _DEBERTA_LIKE:
        vocabulary = _unigram(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        return transformers.DebertaV2Tokenizer(vocab=vocabulary, unk_id=1, model_max_length=128)
    if model_type in _ROBERTA_LIKE:
        vocab, merges = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        return transformers.RobertaTokenizer(vocab=vocab, merges=merges)
    if model_type in _WITHOUT_SPECIAL_TOKENS:
        vocab, merges = _byte_pairs(["<|endoftext|>"])
        if model_type in _QWEN_LIKE:
            return transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)
        return transformers.GPT2Tokenizer(vocab=vocab, merges=merges)
    vocab = _word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return transformers.BertTokenizer(vocab=vocab, model_max_length=128)


def _unigram(special: list[str]) -> list[tuple[str, float]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=VOCABULARY - 10,
            special_tokens=special,
            unk_token="[UNK]" if "[UNK]" in special else "<unk>",
            show_progress=False,
        ),
    )
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = [(str(piece), round(float(score), 6)) for piece, score in vocabulary]
    # The trainer's order among equal scores, and their last digits, change from call to call.
    learned = sorted(pieces[len(special) :], key=lambda piece: (-piece[1], piece[0]))
    return pieces[: len(special)] + learned


def _byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 10,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokenizer.get_vocab(), [tuple(pair) for pair in merges]


def _word_pieces(special: list[str]) -> dict[str, int]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers "##" letters in an order that changes from call to call, and breaks ties
    # by number: naming them beforehand is what makes the vocabulary the same each time.
    letters = {letter for text in TEXTS for letter in tokenizer.normalizer.normalize_str(text)}
    inner = [f"##{letter}" for letter in sorted(letters) if not letter.isspace()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY - 10, special_tokens=special + inner, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return dict(tokenizer.get_vocab())
