"""The model families bulkscore scores with, and the traps of each.

A closed list on purpose: for each family a test shows that the logits of a row do not depend on
the rows it is batched with. ConvBERT, MobileBERT and FNet, for example, look at padding and fail.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family must be run.

    Attributes:
        attention: Implementation of attention; `eager` where the family has no other.
        padding_side: Where padding does no harm.
        positions_after_padding: Positions are numbered from `pad_token_id + 1`, so that as many
            of `max_position_embeddings` cannot be used.
        reads_last_token: The head reads the last token that is not padding, and tells padding by
            its id alone.
        half_precision: Its module can compute in bf16 and fp16; some mix in fp32 on the way.
    """

    attention: Literal["sdpa", "eager"] = "sdpa"
    padding_side: Literal["right", "left"] = "right"
    positions_after_padding: bool = False
    reads_last_token: bool = False
    half_precision: bool = True


_ENCODER = Family()
_EAGER_ENCODER = Family(attention="eager")
_ROBERTA = Family(positions_after_padding=True)
_DECODER = Family(reads_last_token=True)

# By `model_type` of config.json.
FAMILIES: dict[str, Family] = {
    "albert": _ENCODER,
    "bert": _ENCODER,
    "bilstm": Family(attention="eager", half_precision=False),
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "deberta": Family(attention="eager", half_precision=False),
    "deberta-v2": _EAGER_ENCODER,
    "distilbert": _ENCODER,
    "electra": _ENCODER,
    "ernie": _ENCODER,
    "eurobert": _ENCODER,
    "gemma": _DECODER,
    "gemma2": Family(attention="eager", reads_last_token=True),
    "gpt2": _DECODER,
    "gpt_neox": _DECODER,
    "llama": _DECODER,
    "megatron-bert": _EAGER_ENCODER,
    "mistral": _DECODER,
    "modernbert": _ENCODER,
    "mpnet": Family(attention="eager", positions_after_padding=True),
    "nomic_bert": _ENCODER,
    "olmo2": _DECODER,
    "opt": _DECODER,
    "phi3": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "rembert": _EAGER_ENCODER,
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "smollm3": _DECODER,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _ROBERTA,
    # Its head reads the last token, wherever padding is: only left padding is exact.
    "xlnet": Family(attention="eager", padding_side="left", half_precision=False),
}

# Families whose layers the engine takes apart, so that they have fused steps and int8.
FUSED = frozenset(
    {
        "bert",
        "camembert",
        "data2vec-text",
        "distilbert",
        "electra",
        "ernie",
        "roberta",
        "xlm-roberta",
    }
)
