"""Untrained encoders: their word pieces from the texts at hand, their weights random."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils.logging import disable_progress_bar

from worker.engine.bilstm import BiLstmConfig, BiLstmModel

MAX_LENGTH = 128  # tokens
VOCABULARY = 4_000
HIDDEN_SIZE = 128
LAYERS = 2
BILSTM_VOCABULARY = 8_000
BILSTM_LENGTH = 512  # tokens; it has no limit of its own
_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def build_tiny_encoder(texts: Sequence[str], folder: Path, *, seed: int) -> Path:
    """Write an untrained BERT without a head and its tokenizer into `folder`, and return it."""
    disable_progress_bar()
    vocabulary = _word_pieces(texts, VOCABULARY)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=4 * HIDDEN_SIZE,
        max_position_embeddings=MAX_LENGTH,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH).save_pretrained(folder)
    return folder


def build_bilstm(texts: Sequence[str], folder: Path, *, seed: int) -> Path:
    """Write an untrained BiLSTM without a head and its tokenizer into `folder`, and return it."""
    disable_progress_bar()
    vocabulary = _word_pieces(texts, BILSTM_VOCABULARY)
    torch.manual_seed(seed)
    BiLstmModel(BiLstmConfig(vocab_size=len(vocabulary))).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, model_max_length=BILSTM_LENGTH).save_pretrained(folder)
    return folder


# By architecture.
BUILDERS = {"tiny-bert": build_tiny_encoder, "bilstm": build_bilstm}


def _word_pieces(texts: Sequence[str], size: int) -> dict[str, int]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=_SPECIAL_TOKENS, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return dict(tokenizer.get_vocab())
