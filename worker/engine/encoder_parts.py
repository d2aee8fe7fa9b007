"""The layers of BERT and its kin, and the linear maps in them, whatever a family calls them."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A linear map and the module that holds it, so that another one can be put in its place."""

    holder: nn.Module
    name: str

    @property
    def linear(self) -> nn.Linear:
        """What is there now."""
        found: nn.Linear = getattr(self.holder, self.name)
        return found

    def put(self, linear: nn.Linear) -> None:
        """Put another one there."""
        setattr(self.holder, self.name, linear)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The linear maps of a layer.

    Attributes:
        heads: Query, key and value; the outputs of head i are next to each other.
        mix: What makes one of the heads.
        up: Into the neurons of the feed-forward part.
        down: Out of them.
    """

    heads: tuple[Place, Place, Place]
    mix: Place
    up: Place
    down: Place


def stack_of(model: Any) -> Any:
    """Return the module whose `layer` is the list of the encoder's layers."""
    base = model.base_model
    return base.transformer if model.config.model_type == "distilbert" else base.encoder


def parts_of(model: Any) -> list[Parts]:
    """Return the parts of each layer of a model of `schemas.model_families.FUSED`."""
    distilbert = model.config.model_type == "distilbert"
    return [(_distilbert if distilbert else _bert)(layer) for layer in stack_of(model).layer]


def head_width(config: Any) -> int:
    """Return the numbers that one head of an unpruned model makes of a token."""
    return int(config.hidden_size) // int(config.num_attention_heads)


def _bert(layer: Any) -> Parts:
    attention = layer.attention
    query, key, value = (
        Place(holder=attention.self, name=name) for name in ("query", "key", "value")
    )
    return Parts(
        heads=(query, key, value),
        mix=Place(holder=attention.output, name="dense"),
        up=Place(holder=layer.intermediate, name="dense"),
        down=Place(holder=layer.output, name="dense"),
    )


def _distilbert(layer: Any) -> Parts:
    query, key, value = (
        Place(holder=layer.attention, name=name) for name in ("q_lin", "k_lin", "v_lin")
    )
    return Parts(
        heads=(query, key, value),
        mix=Place(holder=layer.attention, name="out_lin"),
        up=Place(holder=layer.ffn, name="lin1"),
        down=Place(holder=layer.ffn, name="lin2"),
    )
