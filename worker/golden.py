"""Golden texts: what a registered model makes of them, and whether a loaded one still does."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelIncompatible
from schemas.signature import GoldenText, Signature
from worker.engine import Engine
from worker.tokenizer import Tokenizer

# Made up, short enough to cost nothing at each load: several scripts, accents, an emoji, numbers.
GOLDEN_TEXTS = (
    "Fine.",
    "The tent kept us dry through two nights of rain.",
    "not worth 49.99, and the zip broke on day one!",
    "Das Frühstück war großartig, der Rest leider nicht.",
    "Le café était tiède, mais l'accueil très chaleureux.",
    "Очень тихий номер, но окно не открывалось.",
    "房间很干净、早餐不错。",
    "ご飯がとても美味しかったです。",
    "الغرفة نظيفة والخدمة سريعة",
    "LOVED it 😀 <b>5/5</b>",
)

# How far a logit may be from the golden one, in units of the largest golden logit and of 1 at
# least. Another processor or library moves fp32 in the fifth digit; half formats keep three
# digits (fp16) or two (bf16), and lose some on their way through the layers.
TOLERANCES = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.2}
WIDEST_TOLERANCE = 0.5


def make_golden(tokenizer: Tokenizer, engine: Engine) -> tuple[GoldenText, ...]:
    """Return what a model makes of each golden text alone; the engine is one in fp32 on a CPU."""
    return tuple(
        GoldenText(
            text=text,
            tokens=len(ids),
            token_ids_sha256=token_ids_digest(ids),
            logits=tuple(round(float(x), 6) for x in engine.forward([ids])[0]),
        )
        for text, ids in zip(GOLDEN_TEXTS, tokenizer.encode(GOLDEN_TEXTS).ids, strict=True)
    )


def require_golden(
    signature: Signature, ref: str, tokenizer: Tokenizer, engine: Engine, max_length: int
) -> None:
    """Refuse a model that makes other tokens or logits of the golden texts.

    Args:
        signature: What was registered.
        ref: The model, for the message.
        tokenizer: Of the loaded model.
        engine: Of the loaded model.
        max_length: Tokens at which the tokenizer cuts; longer texts are left out.

    Raises:
        ModelIncompatible: Tokens or logits differ.
    """
    golden = [row for row in signature.golden if row.tokens <= max_length]
    if not golden:
        return
    ids = tokenizer.encode([row.text for row in golden]).ids
    for row, found in zip(golden, ids, strict=True):
        if token_ids_digest(found) != row.token_ids_sha256:
            raise ModelIncompatible(
                f"model {ref}: the tokenizer makes other tokens of a golden text than when it was "
                f"registered ({len(found)} instead of {row.tokens})"
            )
    _require_logits(golden, ref, engine.forward(ids), engine.dtype)


def token_ids_digest(ids: NDArray[np.int32]) -> str:
    """Return the SHA-256 of token ids [tokens], as little-endian 32-bit integers."""
    return hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()


def _require_logits(
    golden: Sequence[GoldenText], ref: str, found: NDArray[np.float32], dtype: str
) -> None:
    wanted = np.array([row.logits for row in golden], dtype=np.float32)
    if wanted.shape != found.shape:
        raise ModelIncompatible(
            f"model {ref} gives {found.shape[1]} logits, it was registered with {wanted.shape[1]}"
        )
    limit = TOLERANCES.get(dtype, WIDEST_TOLERANCE) * max(1.0, float(np.abs(wanted).max()))
    furthest = float(np.abs(wanted - found).max())
    if not furthest <= limit:  # written so that a NaN is not within it
        raise ModelIncompatible(
            f"model {ref}: logits of golden texts differ by {furthest:.3g} from those it was "
            f"registered with; {limit:.3g} are allowed in {dtype}"
        )
