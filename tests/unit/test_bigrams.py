"""Bigram models: probabilities that sum to 1, the formulas by hand, and losses that count pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from course_utils import bigrams, corpus

ALL = slice(None)


def text(seed: int = 0, d_vocab: int = 20, n: int = 3000) -> torch.Tensor:
    """Tokens with habits: each token prefers a few successors, and some tokens are frequent."""
    rng = np.random.default_rng(seed)
    habits = rng.dirichlet(np.full(d_vocab, 0.2), size=d_vocab)
    tokens = [1]
    for _ in range(n):
        tokens.append(rng.choice(d_vocab, p=habits[tokens[-1]]))
    return torch.tensor(tokens)


@pytest.fixture(scope="module")
def counts() -> csr_array:
    """Counts in which token 19 is never the present one, and some pairs are unseen."""
    table = corpus.count_bigrams(text(), 20).toarray()
    table[19] = 0
    return csr_array(table)


@pytest.fixture(scope="module")
def test_counts() -> csr_array:
    return corpus.count_bigrams(text(seed=0, n=6000)[3000:], 20)


def every_model(counts, make_model):
    zero = make_model(n_layers=0, d_vocab=counts.shape[0])
    return {
        "uniform": bigrams.uniform(counts.shape[0]),
        "unigram": bigrams.unigram(counts),
        "add_k": bigrams.add_k(counts, 0.1),
        "kneser_ney": bigrams.kneser_ney(counts),
        "zero_layer": bigrams.zero_layer(zero),
        "low_rank": bigrams.low_rank(zero.W_E[:, :2], zero.W_U[:2]),
    }


def test_every_model_gives_probabilities_above_zero_that_sum_to_one(counts, make_model):
    for name, model in every_model(counts, make_model).items():
        log_probs = model(ALL)
        assert log_probs.shape == (20, 20) and log_probs.dtype == np.float64, name
        assert np.isfinite(log_probs).all(), name
        np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-9, err_msg=name)


def test_rows_can_be_asked_for_in_blocks(counts, make_model):
    for name, model in every_model(counts, make_model).items():
        blocks = np.concatenate([model(slice(0, 7)), model(slice(7, 20))])
        np.testing.assert_allclose(blocks, model(ALL), atol=1e-12, err_msg=name)


def test_unigram_goes_by_how_often_a_token_comes_next(counts):
    log_probs = bigrams.unigram(counts, k=0.5)(ALL)
    column = counts.toarray().sum(0) + 0.5
    np.testing.assert_allclose(np.exp(log_probs[3]), column / column.sum())
    assert (log_probs == log_probs[0]).all()


def test_raw_counts_are_infinitely_wrong_about_an_unseen_pair(counts):
    raw = bigrams.add_k(counts, 0)
    assert bigrams.loss(raw, counts) < np.inf
    unseen = np.argwhere((counts.toarray() == 0) & (counts.sum(1) > 0)[:, None])[0]
    pair = csr_array(([1], ([unseen[0]], [unseen[1]])), shape=counts.shape)
    assert bigrams.loss(raw, pair) == np.inf
    assert bigrams.loss(bigrams.add_k(counts, 0.1), pair) < np.inf


def test_kneser_ney_follows_its_formula_cell_by_cell(counts):
    c, D = counts.toarray(), (0.5, 0.9, 1.3)
    follows = (c > 0).sum(0) + 1
    want = np.zeros(c.shape)
    for a in range(20):
        for b in range(20):
            q = follows[b] / follows.sum()
            if c[a].sum() == 0:
                want[a, b] = q
                continue
            taken = sum(D[min(n, 3) - 1] for n in c[a] if n)
            own = c[a, b] - D[min(c[a, b], 3) - 1] if c[a, b] else 0
            want[a, b] = (own + taken * q) / c[a].sum()
    np.testing.assert_allclose(np.exp(bigrams.kneser_ney(counts, D)(ALL)), want, atol=1e-12)


def test_kneser_ney_prefers_tokens_that_follow_many_to_tokens_that_are_frequent():
    # Token 3 ("Francisco") is frequent, and always after 2; token 4 follows each of the others, seldom.
    c = np.zeros((8, 8), dtype=int)
    c[2, 3] = 100
    c[[0, 1, 2, 3, 4], 4] = [1, 2, 3, 4, 1]
    c[0, 1] = c[1, 0] = 2
    counts = csr_array(c)
    assert c[:, 3].sum() > c[:, 4].sum()
    after_7 = bigrams.kneser_ney(counts, (0.5, 1, 1.5))(slice(7, 8))[0]  # 7 was never seen
    assert after_7[4] > after_7[3]
    assert bigrams.unigram(counts)(ALL)[7, 3] > bigrams.unigram(counts)(ALL)[7, 4]


def test_discounts_are_those_of_chen_and_goodman():
    data = [1] * 40 + [2] * 16 + [3] * 9 + [4] * 5 + [7] * 3
    counts = csr_array((data, (np.arange(73) // 10, np.arange(73) % 10)), shape=(10, 10))
    y = 40 / (40 + 2 * 16)
    want = (1 - 2 * y * 16 / 40, 2 - 3 * y * 9 / 16, 3 - 4 * y * 5 / 9)
    np.testing.assert_allclose(bigrams.chen_goodman_discounts(counts), want)


def test_loss_is_the_mean_over_pairs_each_as_often_as_it_occurs(counts, test_counts):
    log_probs = bigrams.kneser_ney(counts)(ALL)
    tokens = text(seed=0, n=6000)[3000:].tolist()
    pairs = [(a, b) for a, b in zip(tokens, tokens[1:], strict=False) if 0 not in (a, b)]
    want = -np.mean([log_probs[a, b] for a, b in pairs])
    np.testing.assert_allclose(bigrams.loss(bigrams.kneser_ney(counts), test_counts), want)


def test_losses_have_the_known_order(counts, test_counts):
    loss = {name: bigrams.loss(model, test_counts) for name, model in {
        "uniform": bigrams.uniform(20), "unigram": bigrams.unigram(counts), "kneser_ney": bigrams.kneser_ney(counts),
    }.items()}  # fmt: skip
    assert loss["uniform"] == pytest.approx(np.log(20))
    assert loss["uniform"] > loss["unigram"] > loss["kneser_ney"] + 0.1


def test_a_zero_layer_model_says_of_each_token_what_the_table_says(make_model, tokens_for):
    model = make_model(n_layers=0)
    tokens = tokens_for(model)
    want = model(tokens).log_softmax(-1)
    np.testing.assert_allclose(bigrams.zero_layer(model)(ALL)[tokens], want, atol=1e-12)


@given(rank=st.integers(1, 6), seed=st.integers(0, 50))
def test_truncated_svd_is_the_best_in_squared_error_at_every_smaller_rank(rank, seed):
    table = torch.randn(30, 25, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    A, B = bigrams.truncated_svd(table, 6, seed=seed)
    S = torch.linalg.svdvals(table)
    error = (table - A[:, :rank] @ B[:rank]).square().sum()
    torch.testing.assert_close(error, S[rank:].square().sum(), rtol=1e-6, atol=0)


def test_truncated_svd_repeats_and_leaves_the_global_generator_alone():
    table = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first, second = bigrams.truncated_svd(table, 4), bigrams.truncated_svd(table, 4)
    assert torch.equal(first[0], second[0]) and torch.equal(torch.rand(3), want)


def test_the_whole_table_is_the_rows_one_below_the_other(counts):
    model = bigrams.kneser_ney(counts)
    table = bigrams.table(model, 20)
    assert table.dtype == torch.float32
    np.testing.assert_allclose(table, model(ALL), rtol=1e-6)


@pytest.fixture(scope="module")
def shipped() -> dict[str, csr_array]:
    """Counts to fit, their last part held out, and validation counts, as chapter 2 has them."""
    held_out = corpus.count_bigrams(corpus.load_text("train")[-500_000:], 4096)
    return {
        "fit": corpus.bigram_counts() - held_out,
        "held_out": held_out,
        "validation": corpus.count_bigrams(corpus.load_text("validation"), 4096),
    }


def test_the_shipped_text_is_part_of_the_whole_so_a_part_of_it_can_be_taken_out(shipped):
    assert shipped["fit"].data.min() >= 0
    assert shipped["fit"].sum() + shipped["held_out"].sum() == corpus.bigram_counts().sum()


def test_estimated_discounts_are_near_the_best_on_held_out_text(shipped):
    fit = shipped["fit"].copy()
    fit.eliminate_zeros()
    estimated = np.array(bigrams.chen_goodman_discounts(fit))
    assert 0 < estimated[0] < 1 < estimated[1] < estimated[2] < 3
    scaled = {s: bigrams.kneser_ney(fit, tuple(s * estimated)) for s in (0.5, 0.8, 1, 1.2)}
    losses = {s: bigrams.loss(model, shipped["held_out"]) for s, model in scaled.items()}
    assert losses[1] < min(losses.values()) + 0.002


def test_kneser_ney_beats_every_added_constant_on_validation_text(shipped):
    counts = corpus.bigram_counts()
    added = [bigrams.loss(bigrams.add_k(counts, k), shipped["validation"]) for k in (1, 0.1, 0.03, 0.01)]
    assert bigrams.loss(bigrams.kneser_ney(counts), shipped["validation"]) < min(added) - 0.01
