"""From texts to token ids: the Rust tokenizer's batch call, and rows it chokes on set aside."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from schemas.errors import ModelIncompatible
from schemas.job import LongText
from worker.boundaries import keeps_prefixes, prefix
from worker.encoded import Encoded, Ids
from worker.overlap import prefetched
from worker.words import words_of

# Characters handed to the Rust tokenizer in one call. It needs some 100 bytes for each, most of
# them for tokens that truncation then drops: this bounds one call to about 100 MB. What one call
# gave is read while the next is under way.
CALL_CHARACTERS = 1 << 20
# Texts handed over in one call; more gain nothing.
CALL_TEXTS = 512
# Characters of one text that are looked at. What lies beyond could only matter if the first
# million characters gave fewer tokens than the model reads; such a row is marked as truncated.
TEXT_CHARACTERS = CALL_CHARACTERS
# A text is cut before it is tokenized after so many characters for each token the model reads:
# a token of English has four to five. Where that is not enough the whole text is tokenized.
TOKEN_CHARACTERS = 6
# Share of a window that it has in common with the one before, a quarter.
OVERLAP = 4


class _Text(NamedTuple):
    """The passages of one text, and whether tokens were left out."""

    passages: Sequence[Ids]
    truncated: bool


_FAILED = _Text([np.empty(0, dtype=np.int32)], truncated=False)


class Tokenizer:
    """The tokenizer of the model in a local folder, for passages of at most `max_length` tokens.

    Gives the ids of `AutoTokenizer(text, truncation=True, max_length=max_length)`, at a multiple
    of its speed. One thread may use it at a time.

    Args:
        path: Folder of the model.
        max_length: Most tokens of a passage, special tokens included.
        parallel: Whether the Rust side may use several threads; sets `TOKENIZERS_PARALLELISM`
            for the process.

    Raises:
        ModelIncompatible: The files make no fast tokenizer.
    """

    def __init__(self, path: Path, max_length: int, *, parallel: bool = True) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if parallel else "false"
        self._rust, self._side, self._unknown_id = _load(path)
        self._max_length = max_length
        self._keeps_prefixes = keeps_prefixes(self._rust)
        self._room = max_length - self._rust.num_special_tokens_to_add(is_pair=False)
        self._words = words_of(self._rust) if self._room > 0 else None

    def encode(self, texts: Sequence[str], long_text: LongText = "truncate") -> Encoded:
        """Return the token ids of `texts`; never raises because of a text.

        Args:
            texts: The texts.
            long_text: Whether a text of more tokens than a passage holds is cut off behind them,
                or goes on in further passages, each with a quarter of the one before.
        """
        found = self._truncated(texts) if long_text == "truncate" else self._windows(texts)
        return Encoded(
            ids=[ids for text in found for ids in text.passages],
            passages=np.array([len(text.passages) for text in found], dtype=np.int64),
            truncated=np.array(
                [
                    row.truncated or len(text) > TEXT_CHARACTERS
                    for row, text in zip(found, texts, strict=True)
                ],
                dtype=np.bool_,
            ),
            failed=np.array([text.passages[0].size == 0 for text in found], dtype=np.bool_),
        )

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for what it has no word for; None where there is a word for each byte."""
        return self._unknown_id

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of all that decides the ids: tokenizers with equal ones give equal ids."""
        state = json.loads(self._rust.to_str())
        # Set anew by each call; a file may carry what its model was trained with.
        del state["truncation"], state["padding"]
        decides = [state, self._rust.encode_special_tokens, self._side, self._max_length]
        return hashlib.sha256(json.dumps(decides).encode()).digest()

    def _truncated(self, texts: Sequence[str]) -> list[_Text]:
        """Return each text as one passage; looks at no more of it than it takes to fill that."""
        if self._side == "left":
            return self._passages([text[-TEXT_CHARACTERS:] for text in texts])
        wholes = [text[:TEXT_CHARACTERS] for text in texts]
        if not self._keeps_prefixes:
            return self._passages(wholes)
        prefixes = [prefix(text, self._max_length * TOKEN_CHARACTERS) for text in wholes]
        found = self._passages(prefixes)
        # Tokens that overflow prove that the passage is full; any others ask for the whole text.
        short = [
            i
            for i, text in enumerate(found)
            if len(prefixes[i]) < len(wholes[i]) and not text.truncated
        ]
        again = self._passages([wholes[i] for i in short])
        for i, text in zip(short, again, strict=True):
            found[i] = text
        return found

    def _passages(self, texts: Sequence[str]) -> list[_Text]:
        """Return one passage of each text, from its words where that is known to be the same."""
        if self._words is None:
            return self._passages_of_wholes(texts)
        found: list[_Text] = []
        for call in _calls(texts, len(texts)):
            try:
                ids, cut = self._words.passages(call, self._room, self._side)
            except BaseException as error:
                if not _is_about_content(error):
                    raise
                found += self._passages_of_wholes(call)  # finds the text that is to blame
            else:
                found += map(_Text, zip(ids), cut.tolist())
        return found

    def _passages_of_wholes(self, texts: Sequence[str]) -> list[_Text]:
        self._rust.enable_truncation(self._max_length, direction=self._side)
        return self._encode(texts, _first_passage)

    def _windows(self, texts: Sequence[str]) -> list[_Text]:
        """Return each text in as many passages as it takes."""
        self._rust.enable_truncation(self._max_length, stride=self._room // OVERLAP)
        return self._encode([text[:TEXT_CHARACTERS] for text in texts], _all_passages)

    def _encode(self, texts: Sequence[str], read: Callable[[Any], _Text]) -> list[_Text]:
        """Return what `read` makes of the encoding of each text, the Rust side a call ahead."""
        calls = (self._encodings(call) for call in _calls(texts, CALL_TEXTS))
        with contextlib.closing(prefetched(calls)) as encoded:
            return [
                _FAILED if encoding is None else read(encoding)
                for encodings in encoded
                for encoding in encodings
            ]

    def _encodings(self, texts: list[str]) -> list[Any]:
        """Return the encoding of each text, None where it failed."""
        try:
            found: list[Any] = self._rust.encode_batch_fast(texts)
        except BaseException as error:
            if not _is_about_content(error):
                raise
            if len(texts) == 1:
                return [None]
            return [encoding for text in texts for encoding in self._encodings([text])]
        return found


def alike(tokenizers: Sequence[Tokenizer]) -> list[Tokenizer]:
    """Return for each tokenizer the first of `tokenizers` that gives the same ids."""
    if len(tokenizers) == 1:
        return list(tokenizers)  # no fingerprint: it takes a third of a second for 250,000 tokens
    firsts: dict[bytes, Tokenizer] = {}
    return [firsts.setdefault(tokenizer.fingerprint, tokenizer) for tokenizer in tokenizers]


def _first_passage(encoding: Any) -> _Text:
    return _Text([_ids(encoding)], truncated=bool(encoding.overflowing))


def _all_passages(encoding: Any) -> _Text:
    return _Text([_ids(part) for part in (encoding, *encoding.overflowing)], truncated=False)


def _ids(encoding: Any) -> Ids:
    return np.array(encoding.ids, dtype=np.int32)


def _load(path: Path) -> tuple[Any, str, int | None]:
    """Return the Rust tokenizer that transformers makes of the files.

    And the side it cuts, and the id of its token for what it does not know.
    """
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
    # GPT-2 calls a token so that its text never becomes.
    knows_all = getattr(rust.model, "unk_token", "") is None
    return rust, str(tokenizer.truncation_side), None if knows_all else tokenizer.unk_token_id


def _calls(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield `texts` in order, in parts of at most so many characters and `most` texts."""
    part: list[str] = []
    characters = 0
    for text in texts:
        size = len(text)
        if part and (characters + size > CALL_CHARACTERS or len(part) == most):
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
