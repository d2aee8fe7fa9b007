"""A classifier that is no transformer, small enough for CPUs: a BiLSTM with attention.

Word pieces are embedded, read by long short-term memory in both directions (Hochreiter and
Schmidhuber 1997; Graves and Schmidhuber 2005), summed up by attention (Yang et al. 2016) and
classified. To transformers it is a model like any other: importing this module makes it known.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

MODEL_TYPE = "bilstm"


class BiLstmConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of a BiLSTM classifier; `hidden_size` is that of both directions together."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        vocab_size: int = 8_000,
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_hidden_layers: int = 1,
        dropout: float = 0.2,
        pad_token_id: int = 0,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.dropout = dropout
        super().__init__(pad_token_id=pad_token_id, **others)


class AttentionPooling(nn.Module):
    """The sum of states weighted by how well each, through tanh, matches a learnt context.

    Args:
        width: Of a state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.context = nn.Linear(width, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return [rows, width] of states [rows, tokens, width], those where `mask` is 0 left out.

        Args:
            states: One for each token.
            mask: 1 for tokens, 0 for padding [rows, tokens].
        """
        scores: Tensor = self.context(torch.tanh(self.project(states))).squeeze(2)
        weights = scores.masked_fill(mask == 0, -torch.inf).softmax(dim=1)
        return torch.einsum("rt,rtw->rw", weights, states)


class _BiLstmBase(PreTrainedModel):  # type: ignore[misc]
    config_class = BiLstmConfig
    base_model_prefix = "encoder"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.xavier_uniform_(weight)
                else:
                    nn.init.zeros_(weight)


class BiLstmModel(_BiLstmBase):
    """Word pieces in, a state for each out."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size // 2,
            num_layers=config.num_hidden_layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.num_hidden_layers > 1 else 0.0,
        )
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> BaseModelOutput:
        """Return states [rows, tokens, width]; tokens stand to the left of the padding."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        embedded = self.dropout(self.embeddings(input_ids))
        packed = pack_padded_sequence(
            embedded, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, _last = self.lstm(packed)
        padded, _lengths = pad_packed_sequence(
            states, batch_first=True, total_length=input_ids.shape[1]
        )
        return BaseModelOutput(last_hidden_state=padded)


class BiLstmForSequenceClassification(_BiLstmBase):
    """Word pieces in, logits out."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = BiLstmModel(config)
        self.pooling = AttentionPooling(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Return logits [rows, labels] of ids and mask [rows, tokens]."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.encoder(input_ids, mask).last_hidden_state
        pooled = self.dropout(self.pooling(states, mask))
        return SequenceClassifierOutput(logits=self.classifier(pooled))


AutoConfig.register(MODEL_TYPE, BiLstmConfig)
AutoModel.register(BiLstmConfig, BiLstmModel)
AutoModelForSequenceClassification.register(BiLstmConfig, BiLstmForSequenceClassification)
