"""Whether transformers can read a model's tokenizer, and makes the tokens that its file describes.

transformers 5 builds the tokenizers of many families anew, by their class: of the file it takes the
vocabulary and little else. Where another version, or a hand, wrote other rules into the file, a
model is given other tokens than it was trained with, and nothing fails.
"""

from pathlib import Path
from typing import Any

from worker.wholes import is_about_content

# What normalizers and pre-tokenizers differ in.
_PROBES = {
    "accents": "Crème brûlée, naïve, e\u0301te\u0301",
    "capital letters": "The TENT kept us dry",
    "combined characters": "\ufb01ne, \u00bd of \u2460, \uff21\uff22\uff23, 10\u00a0km",
    "digits": "49.99 on 2024-05-01, 1234567",
    "letters of other scripts": "Очень тихий, 房间很干净, الغرفة نظيفة, 방은 깨끗",
    "punctuation": "it's (not) worth it... what?! 'quoted' ``so''",
    "white space within": "two  spaces,\ta tab,\r\na line",
    "white space around": " the end ",
}


# Files of SentencePiece that stand for a `tokenizer.json` where there is none.
_SENTENCE_PIECE = ("spiece.model", "spm.model", "sentencepiece.bpe.model")


def require_readable(path: Path) -> None:
    """Refuse a damaged file of SentencePiece, which transformers would take for one of tiktoken.

    Raises:
        ValueError: It cannot be read.
        ImportError: Nor can any, without sentencepiece (extra `train`).
    """
    if (path / "tokenizer.json").exists():
        return
    for file in filter(Path.exists, map(path.joinpath, _SENTENCE_PIECE)):
        from sentencepiece import SentencePieceProcessor

        try:
            SentencePieceProcessor(model_file=str(file))
        except RuntimeError as error:
            raise ValueError(f"{file.name} cannot be read: {error}") from error


def unlike_file(path: Path, rust: Any) -> tuple[str, ...]:
    """Return kinds of text of which a tokenizer makes other tokens than its file describes.

    Args:
        path: Folder of the model; without a `tokenizer.json` there is nothing to compare.
        rust: The `tokenizers.Tokenizer` that transformers made, without truncation and padding.
    """
    from tokenizers import Tokenizer

    file = path / "tokenizer.json"
    if not file.exists():
        return ()
    described = Tokenizer.from_file(str(file))
    described.no_truncation()
    described.no_padding()
    return tuple(
        kind for kind, text in _PROBES.items() if _ids(described, text) != _ids(rust, text)
    )


def _ids(rust: Any, text: str) -> Any:
    """Return the ids of a text; None where the tokenizer fails at it, which fails no job."""
    try:
        return rust.encode(text, add_special_tokens=False).ids
    except BaseException as error:
        if not is_about_content(error):
            raise
        return None
