"""Circuits say what the model does, and composition is the paper's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import circuits
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
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


def test_composition_with_many_plain_matrices_is_that_with_each():
    first, many = torch.randn(5, 7).double(), torch.randn(2, 3, 7, 6).double()
    got = circuits.composition(first, many)
    each = [[circuits.composition(first, then) for then in row] for row in many]
    assert got.shape == (2, 3) and torch.allclose(got, torch.tensor(each).double())
    factored = FactoredMatrix(torch.randn(4, 7, 2).double(), torch.randn(4, 2, 7).double())
    for pair in ((factored, factored.AB), (factored.AB, factored), (factored.AB, factored.AB)):
        assert torch.allclose(circuits.composition(*pair), circuits.composition(factored, factored))


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


@given(sizes=SIZES, seed=st.integers(0, 999))
def test_centring_changes_no_prediction_and_takes_the_means_off(make_model, sizes, seed):
    model = make_model(seed, **sizes)
    for circuit in (circuits.ov_circuit, circuits.qk_circuit):
        plain, centred = circuit(model, 1, 0).AB, circuit(model, 1, 0, centred=True).AB
        torch.testing.assert_close(centred, plain - plain.mean(dim=1, keepdim=True), **EXACT)
        torch.testing.assert_close(centred.softmax(dim=1), plain.softmax(dim=1), **EXACT)


@given(sizes=SIZES, n_layers=st.integers(0, 3), seed=st.integers(0, 999))
def test_paths_sum_to_the_logits_whatever_the_number_of_layers(make_model, tokens_for, sizes, n_layers, seed):
    model = make_model(seed, n_layers=n_layers, **sizes)
    tokens = tokens_for(model, seed)
    logits, cache = model.run_with_cache(tokens)
    paths = list(circuits.path_expansion(model, tokens, cache.pattern))
    assert len({path for path, _ in paths}) == len(paths) == (1 + model.cfg.n_heads) ** n_layers
    assert all(earlier[0] < later[0] for path, _ in paths for earlier, later in zip(path, path[1:], strict=False))
    torch.testing.assert_close(sum(x for _, x in paths) @ model.W_U, logits, **EXACT)
    torch.testing.assert_close(circuits.frozen(model, model.W_E[tokens], cache.pattern) @ model.W_U, logits, **EXACT)


def test_a_path_is_the_product_of_its_patterns_and_of_its_circuits(make_model, tokens_for):
    model = make_model(3)
    tokens = tokens_for(model, 1)
    pattern = model.run_with_cache(tokens)[1].pattern
    x = dict(circuits.path_expansion(model, tokens, pattern))[(0, 1), (1, 2)]
    A = pattern[1, :, 2] @ pattern[0, :, 1]
    W = circuits.W_OV(model, 0, 1).AB @ circuits.W_OV(model, 1, 2).AB
    torch.testing.assert_close(x, A @ model.W_E[tokens] @ W, **EXACT)


@given(sizes=SIZES, seed=st.integers(0, 999))
def test_with_patterns_frozen_the_model_is_linear(make_model, tokens_for, sizes, seed):
    model = make_model(seed, **sizes)
    tokens, others = tokens_for(model, seed), tokens_for(model, seed + 1)
    pattern = model.run_with_cache(tokens)[1].pattern
    run = lambda x: circuits.frozen(model, x, pattern)  # noqa: E731
    x, y = model.W_E[tokens], model.W_E[others]
    torch.testing.assert_close(run(2 * x - 3 * y), 2 * run(x) - 3 * run(y), **EXACT)


@pytest.mark.parametrize("smeared_keys", [False, True])
@pytest.mark.parametrize("n_layers, layer", [(1, 0), (2, 1), (3, 2)])
def test_terms_of_a_score_sum_to_it(make_model, tokens_for, n_layers, layer, smeared_keys):
    model = make_model(5, n_layers=n_layers, smeared_keys=smeared_keys)
    if smeared_keys:
        model.smear.copy_(torch.linspace(-2, 2, model.smear.numel()).view_as(model.smear))
    tokens = tokens_for(model, 2)
    cache = model.run_with_cache(tokens)[1]
    parts = circuits.stream_parts(model, cache, layer)
    assert list(parts)[:2] == ["token", "position"] and len(parts) == 2 + layer * model.cfg.n_heads
    scores = model.attention_scores(cache.resid[layer], layer)
    seen = torch.ones_like(scores[0, 0]).tril().bool()
    for head in range(model.cfg.n_heads):
        terms = circuits.score_terms(model, parts, layer, head)
        assert terms.shape == (len(parts), len(parts), *scores[:, 0].shape)
        torch.testing.assert_close(terms.sum((0, 1))[:, seen], scores[:, head][:, seen], **EXACT)


def test_a_term_of_a_score_is_what_its_two_parts_give(make_model, tokens_for):
    model = make_model(6)
    tokens = tokens_for(model, 3)
    cache = model.run_with_cache(tokens)[1]
    terms = circuits.score_terms(model, circuits.stream_parts(model, cache, 1), 1, 2)
    W = circuits.W_QK(model, 1, 2).AB / 2  # √d_head = 2
    token, place, head = model.W_E[tokens], model.W_pos, cache.head_out(0, 1)
    torch.testing.assert_close(terms[0, 1], token @ W @ place.T, **EXACT)
    torch.testing.assert_close(terms[1, 3], place @ W @ head.mT, **EXACT)


def test_composed_circuit_gives_the_term_through_the_earlier_head(make_model, tokens_for):
    model = make_model(7)
    tokens = tokens_for(model, 4)
    cache = model.run_with_cache(tokens)[1]
    terms = circuits.score_terms(model, circuits.stream_parts(model, cache, 1), 1, 0)
    table = circuits.qk_circuit_through(model, (1, 0), (0, 2)).AB / 2
    # Id ⊗ A ⊗ W: row by the present token, column by the tokens that the earlier head averaged into the key.
    want = table[tokens][:, :, :].gather(2, tokens[:, None].expand(-1, tokens.shape[1], -1)) @ cache.pattern[0, :, 2].mT
    torch.testing.assert_close(terms[0, 2 + 2], want, **EXACT)
    centred = circuits.qk_circuit_through(model, (1, 0), (0, 2), centred=True).AB
    torch.testing.assert_close(centred / 2, table - table.mean(dim=1, keepdim=True), **EXACT)


@pytest.mark.parametrize(
    "values, want",
    [([1, 2, 3], 1), ([-1, -5], -1), ([1, -1], 0), ([3, -1], 0.5), ([1 + 1j, 1 - 1j], 2**-0.5), ([0, 0], 0)],
)
def test_positivity(values, want):
    values = torch.tensor(values, dtype=torch.complex128)
    assert circuits.positivity(values).item() == pytest.approx(want)
    assert circuits.positivity(torch.stack([values, values])).tolist() == pytest.approx([want, want])


def test_a_copying_head_has_positivity_one_and_its_negative_minus_one(make_model):
    model = make_model(8, n_layers=1, d_model=6, d_head=4, d_vocab=17)
    model.W_U.copy_(torch.linalg.pinv(model.W_E))  # unembedding undoes embedding
    model.W_O[0, 0] = model.W_V[0, 0].T
    model.W_O[0, 1] = -model.W_V[0, 1].T
    got = [circuits.positivity(circuits.ov_circuit(model, 0, head).eigenvalues()).item() for head in (0, 1)]
    assert got == pytest.approx([1, -1])


def test_random_heads_keep_norms_and_tables_and_nothing_else(make_model):
    model = make_model(9)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    drawn, again, other = (circuits.random_heads(model, seed).state_dict() for seed in (1, 1, 2))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) and torch.equal(drawn[name], again[name])
        if name in ("W_Q", "W_K", "W_V", "W_O"):
            torch.testing.assert_close(drawn[name].norm(dim=(-2, -1)), weight.norm(dim=(-2, -1)), **EXACT)
            cosine = (drawn[name] * weight).sum() / weight.square().sum()
            assert cosine.abs() < 0.3 and not torch.equal(drawn[name], other[name])
        else:
            assert torch.equal(drawn[name], weight)


def test_the_baseline_of_composition_is_what_strangers_score():
    model = AttentionOnlyTransformer.init(
        ModelConfig(n_layers=2, n_heads=4, d_model=256, d_head=32, d_vocab=4, n_ctx=4)
    )
    mean, spread = circuits.composition_baseline(model, draws=3)
    assert mean == pytest.approx(0.0625, abs=0.002) and 0 < spread < 0.005


MISFITS = {
    "patterns of other tokens": (
        lambda m: list(circuits.path_expansion(m, torch.zeros(1, 4, dtype=torch.long), torch.ones(2, 1, 3, 5, 5))),
        "[2, 1, 3, 5, 5]",
    ),
    "frozen patterns of another model": (
        lambda m: circuits.frozen(m, torch.zeros(1, 4, 12), torch.ones(1, 1, 3, 4, 4)),
        "[1, 1, 3, 4, 4]",
    ),
    "terms of a head that is not there": (
        lambda m: circuits.score_terms(m, {"a": torch.ones(1, 4, 12)}, 0, 7),
        "head is 7",
    ),
    "a composed circuit through a head that is not there": (
        lambda m: circuits.qk_circuit_through(m, (1, 0), (0, 9)),
        "earlier[1] is 9",
    ),
    "layer 0 has none before it": (lambda m: circuits.composition_scores(m, layer=0), "layer is 0"),
    "layer 2 of 2": (lambda m: circuits.composition_scores(m, layer=2), "layer is 2"),
    "head 3 of 3": (lambda m: circuits.ov_circuit(m, 0, 3), "head is 3"),
    "head -1": (lambda m: circuits.qk_circuit(m, 0, -1), "head is -1"),
    "layer 5": (lambda m: circuits.W_OV(m, 5, 0), "layer is 5"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_heads_and_layers_that_are_not_there(make_model, name):
    build, word = MISFITS[name]
    with pytest.raises(CourseError) as caught:
        build(make_model())
    assert word in str(caught.value) and "Remedy:" in str(caught.value)


def test_a_model_without_heads_says_so(make_model):
    with pytest.raises(CourseError, match="layer is 0: .* but n_layers is 0"):
        circuits.W_QK(make_model(n_layers=0), 0, 0)


def test_virtual_weights_are_what_the_later_head_reads_of_what_the_earlier_writes(make_model):
    model, earlier, later = make_model(), (0, 1), (1, 2)
    OV, QK, OV2 = circuits.W_OV(model, *earlier).AB, circuits.W_QK(model, *later).AB, circuits.W_OV(model, *later).AB
    for side, want in {"Q": OV @ QK, "K": OV @ QK.T, "V": OV @ OV2}.items():
        made = circuits.virtual_weights(model, earlier, later, side)
        torch.testing.assert_close(made.AB, want, **EXACT)
        norms = OV.norm() * (OV2 if side == "V" else QK).norm()
        torch.testing.assert_close(circuits.composition_scores(model)[side][1, 2], made.norm() / norms, **EXACT)
    with pytest.raises(CourseError, match="side is 'O'"):
        circuits.virtual_weights(model, earlier, later, "O")
