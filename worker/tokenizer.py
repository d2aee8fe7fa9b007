"""From texts to token ids: by their words where these are known, or each text as a whole."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import ModelIncompatible
from schemas.job import LongText
from schemas.processors import usable_processors
from worker.boundaries import keeps_prefixes, prefix
from worker.encoded import Encoded, Passages, joined, lengths_of, replaced
from worker.texts import batches, byte_lengths
from worker.tokenizer_file import require_readable, unlike_file
from worker.wholes import OVERLAP, Wholes, is_about_content
from worker.words import Words, words_of

# Characters of one text that are looked at. What lies beyond could only matter if the first
# million characters gave fewer tokens than the model reads; such a row is marked as truncated.
TEXT_CHARACTERS = 1 << 20
# A text is cut before it is tokenized after so many characters for each token the model reads:
# a token of English has four to five. Where that is not enough the whole text is tokenized.
TOKEN_CHARACTERS = 6
# Threads that put texts together from words, one for so many processors, and the most of them: the
# interpreter, which each holds for a small part of its time, is wanted elsewhere as well.
THREAD_PROCESSORS = 4
MOST_THREADS = 4

_Tokenize = Callable[[pa.LargeStringArray], Passages]


class Tokenizer:
    """The tokenizer of the model in a local folder, for passages of at most `max_length` tokens.

    Gives the ids of `AutoTokenizer(text, truncation=True, max_length=max_length)`, at a multiple
    of its speed. One thread may use it at a time.

    Args:
        path: Folder of the model.
        max_length: Most tokens of a passage, special tokens included.
        threads: How many put texts together from words; 0 is by the processors. With 1 the Rust
            side has one as well: this sets `TOKENIZERS_PARALLELISM` for the process.

    Raises:
        ModelIncompatible: The files make no fast tokenizer.
    """

    def __init__(self, path: Path, max_length: int, *, threads: int = 0) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
        self._rust, self._side, self._unknown_id, self._unlike_file = _load(path)
        self._max_length = max_length
        self._keeps_prefixes = keeps_prefixes(self._rust)
        self._room = max_length - self._rust.num_special_tokens_to_add(is_pair=False)
        self._words = words_of(self._rust) if self._room > 0 else None
        self._wholes = Wholes(self._rust, max_length, self._room, self._side)
        by_processors = max(1, min(usable_processors() // THREAD_PROCESSORS, MOST_THREADS))
        self._threads = threads or by_processors

    def encode(
        self, texts: Sequence[str] | pa.LargeStringArray, long_text: LongText = "truncate"
    ) -> Encoded:
        """Return the token ids of `texts`; never raises because of a text.

        Args:
            texts: The texts.
            long_text: Whether a text of more tokens than a passage holds is cut off behind them,
                or goes on in further passages, each with a quarter of the one before.
        """
        given = texts if isinstance(texts, pa.Array) else _as_arrow(texts)
        if self._words is None:
            passages = self._wholly(given, long_text)
        else:
            passages = self._by_words(self._words, given, long_text)
        ends = np.cumsum(passages.counts)
        return Encoded(
            rows=passages.rows,
            passages=passages.counts,
            truncated=passages.long,
            failed=lengths_of(passages.rows)[ends - passages.counts] == 0,
        )

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for what it has no word for; None where there is a word for each byte."""
        return self._unknown_id

    @property
    def unlike_file(self) -> tuple[str, ...]:
        """Kinds of text of which other tokens are made than `tokenizer.json` describes."""
        return self._unlike_file

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of all that decides the ids: tokenizers with equal ones give equal ids."""
        state = json.loads(self._rust.to_str())
        # Set anew by each call; a file may carry what its model was trained with.
        del state["truncation"], state["padding"]
        decides = [state, self._rust.encode_special_tokens, self._side, self._max_length]
        return hashlib.sha256(json.dumps(decides).encode()).digest()

    def _by_words(self, words: Words, texts: pa.LargeStringArray, long_text: LongText) -> Passages:
        """Return the passages of texts from their words, some at a time, in several threads."""
        calls = list(batches(texts, len(texts)))

        def made(call: pa.LargeStringArray) -> Passages | None:
            tokenize = partial(words.passages, room=self._room, begins=self._begins(long_text))
            try:
                return None if call.null_count else self._cut(call, tokenize, long_text)
            except BaseException as error:
                if not is_about_content(error):
                    raise
                return None

        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(made, calls))
        # Whoever reads whole texts finds the one that is to blame.
        return joined(
            self._wholly(call, long_text) if part is None else part
            for part, call in zip(parts, calls, strict=True)
        )

    def _wholly(self, texts: pa.LargeStringArray, long_text: LongText) -> Passages:
        return self._cut(texts, partial(self._wholes.passages, long_text=long_text), long_text)

    def _begins(self, long_text: LongText) -> Callable[[int], Sequence[int]]:
        """Return what tells where the passages of a text of so many tokens begin, all that count.

        So do those of `tokenizers`, and the last passage ends with the text.
        """
        room, overlap = self._room, self._room // OVERLAP
        if long_text != "truncate":
            return lambda tokens: range(0, tokens - overlap, room - overlap)
        return lambda tokens: (0 if self._side == "right" else tokens - room,)

    def _cut(
        self, texts: pa.LargeStringArray, tokenize: _Tokenize, long_text: LongText
    ) -> Passages:
        """Return the passages of texts; they are `long` where a part of the text is in none."""
        huge = _longer(texts, TEXT_CHARACTERS)
        from_end = long_text == "truncate" and self._side == "left"
        looked_at = slice(-TEXT_CHARACTERS, None) if from_end else slice(TEXT_CHARACTERS)
        given = _with(texts, {place: text[looked_at] for place, text in huge.items()})
        if long_text != "truncate":
            found = tokenize(given)._replace(long=np.zeros(len(texts), dtype=np.bool_))
        elif from_end or not self._keeps_prefixes:
            found = tokenize(given)
        else:
            found = self._filled(given, tokenize)
        found.long[list(huge)] = True
        return found

    def _filled(self, texts: pa.LargeStringArray, tokenize: _Tokenize) -> Passages:
        """Return a passage of each text, no more of which is tokenized than it takes to fill it."""
        enough = self._max_length * TOKEN_CHARACTERS
        wholes = _longer(texts, enough)
        starts = {place: prefix(text, enough) for place, text in wholes.items()}
        found = tokenize(_with(texts, starts))
        # Tokens that overflow prove that the passage is full; any others ask for the whole text.
        short = [
            place
            for place, whole in wholes.items()
            if len(starts[place]) < len(whole) and not found.long[place]
        ]
        if not short:
            return found
        again = tokenize(pa.array([wholes[place] for place in short], pa.large_string()))
        found.long[short] = again.long
        return found._replace(rows=replaced(found.rows, short, again.rows))


def alike(tokenizers: Sequence[Tokenizer]) -> list[Tokenizer]:
    """Return for each tokenizer the first of `tokenizers` that gives the same ids."""
    if len(tokenizers) == 1:
        return list(tokenizers)  # no fingerprint: it takes a third of a second for 250,000 tokens
    firsts: dict[bytes, Tokenizer] = {}
    return [firsts.setdefault(tokenizer.fingerprint, tokenizer) for tokenizer in tokenizers]


def _load(path: Path) -> tuple[Any, str, int | None, tuple[str, ...]]:
    """Return the Rust tokenizer that transformers makes of the files.

    And the side it cuts, the id of its token for what it does not know, and the kinds of text of
    which it makes other tokens than its file describes.
    """
    from transformers import AutoTokenizer

    try:
        require_readable(path)
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        rust = tokenizer.backend_tokenizer
        rust.no_padding()
        rust.no_truncation()
        unlike = unlike_file(path, rust)
    except Exception as error:
        if not is_about_content(error):
            raise
        raise ModelIncompatible(
            f"the tokenizer in {path} does not load: {type(error).__name__}: {error}"
        ) from error
    # GPT-2 calls a token so that its text never becomes.
    knows_all = getattr(rust.model, "unk_token", "") is None
    unknown_id = None if knows_all else tokenizer.unk_token_id
    return rust, str(tokenizer.truncation_side), unknown_id, unlike


def _as_arrow(texts: Sequence[str]) -> pa.LargeStringArray:
    """Return texts as Arrow has them, null where one holds half of a surrogate pair."""
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        return pa.array([text if _is_unicode(text) else None for text in texts], pa.large_string())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _longer(texts: pa.LargeStringArray, characters: int) -> dict[int, str]:
    """Return the texts of more characters, by their places."""
    places = np.flatnonzero(byte_lengths(texts) > characters).tolist()
    found = {place: texts[place].as_py() for place in places}
    return {place: text for place, text in found.items() if len(text) > characters}


def _with(texts: pa.LargeStringArray, others: Mapping[int, str]) -> pa.LargeStringArray:
    """Return texts, and others at some places."""
    return replaced(texts, list(others), pa.array(others.values(), pa.large_string()))
