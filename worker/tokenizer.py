"""From texts to token ids: the Rust tokenizer's batch call, and rows it chokes on set aside."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelIncompatible

# Characters handed to the Rust tokenizer in one call. It needs some 100 bytes for each, most of
# them for tokens that truncation then drops: this bounds one call to about 100 MB.
CALL_CHARACTERS = 1 << 20
# Texts handed over in one call; more gain nothing.
CALL_TEXTS = 512
# Characters of one text that are looked at. What lies beyond could only matter if the first
# million characters gave fewer tokens than the model reads; such a row is marked as truncated.
TEXT_CHARACTERS = CALL_CHARACTERS

_EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of texts, in their order.

    Attributes:
        ids: int32 [tokens] for each text, special tokens included; empty where it failed.
        truncated: bool [texts], True where tokens were cut off.
        failed: bool [texts], True where the tokenizer failed or made no token at all.
    """

    ids: list[NDArray[np.int32]]
    truncated: NDArray[np.bool_]
    failed: NDArray[np.bool_]


class Tokenizer:
    """The tokenizer of the model in a local folder, cutting texts at `max_length` tokens.

    Gives the ids of `AutoTokenizer(text, truncation=True, max_length=max_length)`, at a multiple
    of its speed. One thread may use it at a time.

    Args:
        path: Folder of the model.
        max_length: Most tokens of a text, special tokens included.
        parallel: Whether the Rust side may use several threads; sets `TOKENIZERS_PARALLELISM`
            for the process.

    Raises:
        ModelIncompatible: The files make no fast tokenizer.
    """

    def __init__(self, path: Path, max_length: int, *, parallel: bool = True) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if parallel else "false"
        self._rust = _load(path, max_length)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the token ids of `texts`; never raises because of a text."""
        rows = [row for part in _calls(texts) for row in self._encode_call(part)]
        return Encoded(
            ids=[ids for ids, _ in rows],
            truncated=np.array([cut for _, cut in rows], dtype=np.bool_),
            failed=np.array([ids.size == 0 for ids, _ in rows], dtype=np.bool_),
        )

    def _encode_call(self, texts: list[str]) -> list[tuple[NDArray[np.int32], bool]]:
        """Return ids and whether they were truncated for each text; no ids where it failed."""
        looked_at = [text[:TEXT_CHARACTERS] for text in texts]
        try:
            encodings = self._rust.encode_batch_fast(looked_at)
        except BaseException as error:
            if not _is_about_content(error):
                raise
            if len(texts) == 1:
                return [(_EMPTY, False)]
            return [row for text in texts for row in self._encode_call([text])]
        return [
            (
                np.array(encoding.ids, dtype=np.int32),
                bool(encoding.overflowing) or len(text) > TEXT_CHARACTERS,
            )
            for encoding, text in zip(encodings, texts, strict=True)
        ]


def _load(path: Path, max_length: int) -> Any:
    """Return the Rust tokenizer that transformers makes of the files, set to truncate."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        rust = tokenizer.backend_tokenizer
    except Exception as error:
        if not _is_about_content(error):
            raise
        raise ModelIncompatible(
            f"the tokenizer in {path} does not load: {type(error).__name__}: {error}"
        ) from error
    rust.no_padding()
    rust.enable_truncation(max_length, direction=tokenizer.truncation_side)
    return rust


def _calls(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield `texts` in order, in parts of at most so many characters and texts."""
    part: list[str] = []
    characters = 0
    for text in texts:
        size = min(len(text), TEXT_CHARACTERS)
        if part and (characters + size > CALL_CHARACTERS or len(part) == CALL_TEXTS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += size
    if part:
        yield part


def _is_about_content(error: BaseException) -> bool:
    """Tell what is said of a text or a file from time limits, signals and a full memory."""
    # An error of the Rust side is a plain Exception, a lone surrogate a TypeError; a panic in
    # Rust arrives as a BaseException whose class cannot be imported.
    known = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
    plain = type(error) is Exception or isinstance(error, known)
    return plain or type(error).__name__ == "PanicException"
