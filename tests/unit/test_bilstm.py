"""The parts of the BiLSTM compute their formulas, and padding changes nothing."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worker.engine.bilstm import AttentionPooling, BiLstmConfig, BiLstmForSequenceClassification

CONFIG = BiLstmConfig(vocab_size=50, embedding_size=6, hidden_size=8, num_labels=3)


@pytest.fixture
def model() -> BiLstmForSequenceClassification:
    torch.manual_seed(0)
    return BiLstmForSequenceClassification(CONFIG).eval()


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def long_short_term_memory(
    inputs: NDArray[np.float64], lstm: torch.nn.LSTM, suffix: str
) -> NDArray[np.float64]:
    """Return the states [tokens, width] of one direction, by the formulas of the paper."""
    weights = {name: value.detach().double().numpy() for name, value in lstm.named_parameters()}
    to_input, to_state = weights[f"weight_ih_l0{suffix}"], weights[f"weight_hh_l0{suffix}"]
    bias = weights[f"bias_ih_l0{suffix}"] + weights[f"bias_hh_l0{suffix}"]
    state = cell = np.zeros(to_state.shape[1])
    states = []
    for x in inputs:
        gates = to_input @ x + to_state @ state + bias
        enter, forget, candidate, leave = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        state = sigmoid(leave) * np.tanh(cell)
        states.append(state)
    return np.stack(states)


def test_states_are_those_of_long_short_term_memory_in_both_directions(
    model: BiLstmForSequenceClassification,
) -> None:
    ids = torch.tensor([[7, 3, 9, 1, 30]])

    with torch.no_grad():
        found = model.encoder(ids).last_hidden_state[0].numpy()
        inputs = model.encoder.embeddings(ids)[0].double().numpy()

    onward = long_short_term_memory(inputs, model.encoder.lstm, "")
    back = long_short_term_memory(inputs[::-1], model.encoder.lstm, "_reverse")[::-1]
    np.testing.assert_allclose(found, np.concatenate([onward, back], axis=1), atol=1e-6)
    assert np.abs(found).max() > 0.01


def test_attention_weighs_the_states_that_are_no_padding() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(4)
    states, mask = torch.randn(2, 3, 4), torch.tensor([[1, 1, 1], [1, 1, 0]])

    with torch.no_grad():
        found = pooling(states, mask).numpy()

    matrix, bias = (p.detach().numpy() for p in (pooling.project.weight, pooling.project.bias))
    context = pooling.context.weight.detach().numpy()[0]
    for row, length in enumerate((3, 2)):
        kept = states[row, :length].numpy()
        scores = np.exp(np.tanh(kept @ matrix.T + bias) @ context)
        np.testing.assert_allclose(found[row], (scores / scores.sum()) @ kept, atol=1e-6)


def test_a_row_has_its_logits_whatever_is_beside_it(
    model: BiLstmForSequenceClassification,
) -> None:
    ids = torch.randint(5, 50, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0

    with torch.no_grad():
        together = model(ids, mask).logits
        alone = model(ids[1:2, :4]).logits

    torch.testing.assert_close(together[1], alone[0], atol=1e-6, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3
