"""Tokenizers in the files of SentencePiece, as encoders of many languages come: with its own map
from characters to others, which its trainer writes."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from support.families import TEXTS


class _Family(NamedTuple):
    tokenizer: str
    file: str
    special: dict[str, Any]


# Special tokens have the ids that they have in `support.families`.
FAMILIES = {
    "albert": _Family(
        "AlbertTokenizer",
        "spiece.model",
        {
            **{"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1},
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        },
    ),
    "deberta-v2": _Family(
        "DebertaV2Tokenizer",
        "spm.model",
        {
            **{"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
            **{"pad_piece": "[PAD]", "unk_piece": "[UNK]"},
            **{"bos_piece": "[CLS]", "eos_piece": "[SEP]"},
        },
    ),
    "xlm-roberta": _Family("XLMRobertaTokenizer", "sentencepiece.bpe.model", {}),
    "xlnet": _Family(
        "XLNetTokenizer",
        "spiece.model",
        {"control_symbols": ["<sep>", "<pad>", "<cls>", "<mask>", "<eop>", "<eod>"]},
    ),
}


def save_sentence_piece(folder: Path, model_type: str) -> Path:
    """Write a family's file of SentencePiece, in place of all that a tokenizer has there."""
    import sentencepiece

    family = FAMILIES[model_type]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    with (folder / family.file).open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=file,
            vocab_size=90,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **family.special,
        )
    return folder


def sentence_piece_tokenizer(model_type: str) -> Any:
    """Return the tokenizer that transformers makes of such a file."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        save_sentence_piece(Path(folder), model_type)
        made = getattr(transformers, FAMILIES[model_type].tokenizer)
        return made.from_pretrained(folder)
