"""Circuits say what the model does, and composition is the paper's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import circuits
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SIZES = st.fixed_dictionaries(
    {
        "n_heads": st.integers(1, 3),
        "d_model": st.integers(2, 9),
        "d_head": st.integers(1, 5),
        "d_vocab": st.integers(2, 9),
        "n_ctx": st.integers(2, 7),
    }
)


def test_circuits_are_the_products_in_rows(make_model):
    m = make_model()
    q, k, v, o = (W[1, 2] for W in (m.W_Q, m.W_K, m.W_V, m.W_O))
    torch.testing.assert_close(circuits.W_QK(m, 1, 2).AB, q @ k.T, **EXACT)
    torch.testing.assert_close(circuits.W_OV(m, 1, 2).AB, v @ o, **EXACT)
    torch.testing.assert_close(circuits.qk_circuit(m, 1, 2).AB, m.W_E @ q @ k.T @ m.W_E.T, **EXACT)
    torch.testing.assert_close(circuits.ov_circuit(m, 1, 2).AB, m.W_E @ v @ o @ m.W_U, **EXACT)
    assert circuits.ov_circuit(m, 1, 2).A.shape[1] == circuits.qk_circuit(m, 1, 2).A.shape[1] == m.cfg.d_head


@given(sizes=SIZES, seed=st.integers(0, 999))
def test_one_layer_is_bigrams_and_patterns_of_ov_circuits(make_model, tokens_for, sizes, seed):
    model = make_model(seed, n_layers=1, **sizes)
    tokens = tokens_for(model, seed)
    logits, cache = model.run_with_cache(tokens)
    total = (model.W_E @ model.W_U)[tokens]
    for head in range(model.cfg.n_heads):
        total = total + cache.pattern[0, :, head] @ circuits.ov_circuit(model, 0, head).AB[tokens]
    torch.testing.assert_close(logits, total, **EXACT)


@given(sizes=SIZES, seed=st.integers(0, 999))
def test_without_positions_scores_are_entries_of_the_qk_circuit(make_model, tokens_for, sizes, seed):
    model = make_model(seed, n_layers=1, **sizes)
    model.W_pos.zero_()
    tokens = tokens_for(model, seed, batch=1)
    scores = model.attention_scores(model.W_E[tokens], layer=0)[0]
    seen = torch.ones_like(scores[0]).tril().bool()
    for head in range(model.cfg.n_heads):
        table = circuits.qk_circuit(model, 0, head).AB / model.cfg.d_head**0.5
        torch.testing.assert_close(scores[head][seen], table[tokens[0]][:, tokens[0]][seen], **EXACT)


@given(sizes=SIZES, seed=st.integers(0, 999))
def test_composition_equals_its_definition_in_rows_and_the_papers_in_columns(make_model, sizes, seed):
    model = make_model(seed, **sizes)
    factored = circuits.composition_scores(model)
    assert {kind: tuple(table.shape) for kind, table in factored.items()} == dict.fromkeys(
        "KQV", (model.cfg.n_heads,) * 2
    )
    for earlier in range(model.cfg.n_heads):
        OV1 = model.W_V[0, earlier] @ model.W_O[0, earlier]
        for later in range(model.cfg.n_heads):
            QK2 = model.W_Q[1, later] @ model.W_K[1, later].T
            OV2 = model.W_V[1, later] @ model.W_O[1, later]
            rows = {
                "K": (QK2 @ OV1.T).norm() / (QK2.norm() * OV1.norm()),
                "Q": (OV1 @ QK2).norm() / (QK2.norm() * OV1.norm()),
                "V": (OV1 @ OV2).norm() / (OV2.norm() * OV1.norm()),
            }
            # The paper multiplies columns: its W_OV is the transpose of ours, its W_QK is ours.
            paper_OV1, paper_OV2 = OV1.T, OV2.T
            columns = {
                "K": (QK2 @ paper_OV1).norm() / (QK2.norm() * paper_OV1.norm()),
                "Q": (QK2.T @ paper_OV1).norm() / (QK2.norm() * paper_OV1.norm()),
                "V": (paper_OV2 @ paper_OV1).norm() / (paper_OV2.norm() * paper_OV1.norm()),
            }
            for kind in "KQV":
                assert factored[kind][earlier, later].item() == pytest.approx(rows[kind].item(), abs=1e-10)
                assert factored[kind][earlier, later].item() == pytest.approx(columns[kind].item(), abs=1e-10)


@pytest.mark.parametrize("kind", "KQV")
def test_a_planted_composition_is_seen_by_its_own_measure_alone(kind):
    """Every matrix reads or writes four dimensions of its own, but that the planted one reads what head 0.1 writes."""
    cfg = ModelConfig(n_layers=2, n_heads=3, d_model=96, d_head=4, d_vocab=8, n_ctx=4)
    model = AttentionOnlyTransformer(cfg).double().requires_grad_(False)
    place = iter(torch.eye(96, dtype=torch.float64).split(4))
    for layer in range(2):
        for head in range(3):
            model.W_O[layer, head] = next(place)
            for W in (model.W_Q, model.W_K, model.W_V):
                W[layer, head] = next(place).T
    reader = {"K": model.W_K, "Q": model.W_Q, "V": model.W_V}[kind]
    reader[1, 2] = model.W_O[0, 1].T
    for measure, table in circuits.composition_scores(model).items():
        # Two partial isometries of rank 4, one reading all that the other writes: 2 / (2 · 2).
        expected = torch.zeros(3, 3, dtype=torch.float64)
        expected[1, 2] = 0.5 if measure == kind else 0
        torch.testing.assert_close(table, expected, **EXACT)


def test_random_heads_compose_about_as_one_over_the_root_of_d_model():
    model = AttentionOnlyTransformer.init(
        ModelConfig(n_layers=2, n_heads=4, d_model=256, d_head=32, d_vocab=4, n_ctx=4)
    )
    for table in circuits.composition_scores(model).values():
        assert table.mean().item() == pytest.approx(0.0625, abs=0.003)  # simulated 0.062 for 256 and 32


MISFITS = {
    "layer 0 has none before it": (lambda m: circuits.composition_scores(m, layer=0), "layer 0"),
    "layer 2 of 2": (lambda m: circuits.composition_scores(m, layer=2), "layer 2"),
    "head 3 of 3": (lambda m: circuits.ov_circuit(m, 0, 3), "head 0.3"),
    "head -1": (lambda m: circuits.qk_circuit(m, 0, -1), "head 0.-1"),
    "layer 5": (lambda m: circuits.W_OV(m, 5, 0), "head 5.0"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_heads_and_layers_that_are_not_there(make_model, name):
    build, word = MISFITS[name]
    with pytest.raises(CourseError) as caught:
        build(make_model())
    assert word in str(caught.value) and "Remedy:" in str(caught.value)


def test_a_model_without_heads_says_so(make_model):
    with pytest.raises(CourseError, match="no heads"):
        circuits.W_QK(make_model(n_layers=0), 0, 0)
