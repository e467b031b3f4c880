"""The scores, on heads and losses whose right answer is known beforehand."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import corpus, losses, scores
from course_utils.circuits import composition_scores
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer


class HeadsByRule:
    """Stands for a model of one layer whose heads attend as functions of the tokens say."""

    def __init__(self, *rules, d_vocab=1024, n_ctx=256):
        self.rules, self.W_E = rules, torch.zeros(1)
        self.cfg = SimpleNamespace(d_vocab=d_vocab, n_ctx=n_ctx, n_layers=1, n_heads=len(rules))

    def run_with_cache(self, tokens, edit=None):
        pattern = torch.stack([rule(tokens) for rule in self.rules], dim=1)[None]
        return None, SimpleNamespace(pattern=pattern)


def attends(where):
    """A head from a function (list of tokens, query) → list of keys; it shares its attention among them."""

    def rule(tokens):
        pattern = torch.zeros(*tokens.shape, tokens.shape[1])
        for b, row in enumerate(tokens.tolist()):
            for query in range(len(row)):
                keys = where(row, query) or [0]
                pattern[b, query, keys] = 1 / len(keys)
        return pattern

    return rule


induction = attends(lambda row, q: [j + 1 for j in range(q) if row[j] == row[q]])
duplicate = attends(lambda row, q: [j for j in range(q) if row[j] == row[q]])
late_by_one = attends(lambda row, q: [j + 2 for j in range(q - 1) if row[j] == row[q]])
previous = attends(lambda row, q: [q - 1] if q else [])
present = attends(lambda row, q: [q])
everything = attends(lambda row, q: list(range(q + 1)))


def test_prefix_matching_is_one_for_induction_and_low_for_all_else():
    heads = HeadsByRule(induction, duplicate, late_by_one, previous, present, everything)
    found = scores.prefix_matching_scores(heads, n=24)
    assert found.shape == (1, 6)
    assert found[0, 0].item() == pytest.approx(1, abs=1e-6)
    assert (found[0, 1:] < 0.05).all(), found
    # Uniform attention in the second copy meets the one successor with 1/(q + 1), q from N + 1 to 2N: about ln 2 / N.
    assert 0.005 < found[0, 5] < 0.02


def test_short_repeats_would_be_passed_by_a_previous_token_head():
    assert scores.prefix_matching_scores(HeadsByRule(previous), n=16, shortest=2, longest=2)[0, 0] > 0.9


def test_a_short_context_shortens_the_repeats():
    found = scores.prefix_matching_scores(HeadsByRule(induction, n_ctx=64), n=4)
    assert found.item() == pytest.approx(1, abs=1e-6)


def test_prefix_matching_does_not_depend_on_how_sequences_are_batched():
    heads = HeadsByRule(late_by_one, everything)
    sizes = {"n": 10, "shortest": 5, "longest": 9}
    one, other = (scores.prefix_matching_scores(heads, batch=batch, **sizes) for batch in (3, 10))
    torch.testing.assert_close(one, other)


def test_repeated_tokens_repeat_common_tokens_and_lengths_vary():
    tokens, lengths = scores.repeated_tokens(1024, n=200)
    assert tokens.shape == (200, 201)
    assert lengths.min() == 40 and lengths.max() == 100 and len(lengths.unique()) > 50
    assert (tokens[:, 0] == 0).all()
    common = set(corpus.common_tokens(1024).tolist())
    for row, N in zip(tokens, lengths.tolist(), strict=True):
        assert torch.equal(row[1 : N + 1], row[N + 1 : 2 * N + 1])
        assert set(row[1 : N + 1].tolist()) <= common
        assert (row[2 * N + 1 :] == 0).all()
    again, _ = scores.repeated_tokens(1024, n=200)
    other, _ = scores.repeated_tokens(1024, n=200, seed=1)
    assert torch.equal(tokens, again) and not torch.equal(tokens, other)


def test_tokens_come_from_the_pool_where_one_is_given():
    pool = torch.tensor([3, 500, 700])
    tokens, lengths = scores.repeated_tokens(1024, n=20, shortest=6, longest=9, pool=pool)
    assert set(tokens[:, 1:].flatten().tolist()) == {0, *pool.tolist()}
    assert all(torch.equal(row[1 : N + 1], row[N + 1 : 2 * N + 1]) for row, N in zip(tokens, lengths, strict=True))
    common = corpus.common_tokens(1024)
    assert torch.equal(scores.repeated_tokens(1024, n=5, pool=common)[0], scores.repeated_tokens(1024, n=5)[0])
    assert scores.repeated_tokens(49_152, n=2, pool=pool)[0].shape == (2, 201)  # of a vocabulary that isn't ours


def test_heads_of_a_model_with_another_vocabulary_are_scored_on_a_pool(make_transformer):
    model = make_transformer(norm="rms", positions="rotary", n_ctx=201, dtype=torch.float32)
    found = scores.prefix_matching_scores(model, n=4, pool=torch.arange(1, 17))
    assert found.shape == (2, 3) and (found > 0).all() and (found < 0.9).all()
    with pytest.raises(CourseError, match="pool of shape.*Remedy:"):
        scores.prefix_matching_scores(model, n=4, pool=torch.arange(1, 18))


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=3))
def test_successors_against_loops(rows):
    found = scores.successors(torch.tensor(rows))
    for b, row in enumerate(rows):
        for q in range(6):
            for k in range(6):
                assert found[b, q, k].item() == (1 <= k <= q and row[k - 1] == row[q]), (row, q, k)


@given(rows=st.integers(1, 5), batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_loss_by_position_is_the_cross_entropy_of_the_next_token(make_model, tokens_for, rows, batch, seed):
    model = make_model(seed)
    tokens = tokens_for(model, seed, batch=rows)
    found = losses.loss_by_position(model, tokens, batch=batch)
    assert found.shape == (rows, tokens.shape[1] - 1)
    probability = model(tokens).softmax(-1)
    for row in range(rows):
        for p in range(tokens.shape[1] - 1):
            direct = -probability[row, p, tokens[row, p + 1]].log().item()
            assert found[row, p].item() == pytest.approx(direct, abs=1e-9)


def test_mean_loss_leaves_out_the_prediction_at_position_0(make_model, tokens_for):
    model = make_model(n_layers=0)
    tokens = tokens_for(model, batch=5)
    tokens[:, 0] = 0
    tokens[:, 1:] = tokens[:, 1:].clamp(min=1)  # the start token stands at position 0 alone
    before, by_position = losses.mean_loss(model, tokens), losses.loss_by_position(model, tokens)
    assert before == pytest.approx(by_position[:, 1:].mean().item(), abs=1e-12)
    model.W_E[0] *= 100
    assert losses.loss_by_position(model, tokens)[:, 0].mean() > by_position[:, 0].mean() + 1
    assert losses.mean_loss(model, tokens) == before


def constructed_model(n_ctx=64) -> AttentionOnlyTransformer:
    """A previous-token head 0.0 and an induction head 1.0, made by hand; heads 0.1 and 1.1 have no weights.

    The stream has three parts: the token, the token before it, and the position as points on 32 circles.
    """
    tok, prev, pos = slice(0, 64), slice(64, 128), slice(128, 192)
    cfg = ModelConfig(n_layers=2, n_heads=2, d_model=192, d_head=64, d_vocab=1024, n_ctx=n_ctx)
    model = AttentionOnlyTransformer(cfg).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(1024, 64, generator=generator)
    model.W_E[1:, tok] = (embedding / embedding.norm(dim=1, keepdim=True))[1:]
    speed = torch.rand(32, generator=generator) * torch.pi
    angle = torch.arange(n_ctx)[:, None] * speed
    model.W_pos[:, pos] = torch.cat([angle.cos(), angle.sin()], dim=1)
    one = torch.eye(64)
    cos, sin = speed.cos().diag(), speed.sin().diag()
    back = torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)])  # position i ↦ position i − 1, in rows
    model.W_Q[0, 0, pos], model.W_K[0, 0, pos] = 40 * back, one
    model.W_V[0, 0, tok], model.W_O[0, 0, :, prev] = one, one
    model.W_Q[1, 0, tok], model.W_K[1, 0, prev] = 400 * one, one
    model.W_V[1, 0, tok], model.W_O[1, 0, :, tok] = one, one
    return model.eval()


def test_scores_of_a_model_made_by_hand(small_text):
    model = constructed_model()
    found = scores.previous_token_scores(model, corpus.windows(small_text, 64)[:6], batch=4)
    assert found.shape == (2, 2)
    assert found[0, 0] > 0.95
    uniform = torch.tensor([1 / (i + 1) for i in range(2, 64)]).mean().item()
    assert found[0, 1].item() == pytest.approx(uniform, abs=1e-5)
    assert found[1, 1].item() == pytest.approx(uniform, abs=1e-5)
    prefix = scores.prefix_matching_scores(model, n=16)
    assert prefix.shape == (2, 2)
    assert prefix[1, 0] > 0.9
    assert (prefix.flatten()[[0, 1, 3]] < 0.05).all()


def test_previous_token_score_leaves_out_the_first_token():
    """Position 1 has only the start token before it: a head that sinks there must not score for it."""
    found = scores.previous_token_scores(
        HeadsByRule(attends(lambda row, q: [0]), previous), torch.ones(3, 10, dtype=int)
    )
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0]]))


def test_an_untrained_model_has_no_induction_heads():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=0).requires_grad_(False)
    assert scores.prefix_matching_scores(model, n=16).max() <= 0.05  # all 64 sequences: tests/models


def losses_of(generator, documents=40, per_document=6, gain=-1.0):
    """Losses with a known in-context score, in documents that differ more than their windows do."""
    document = np.repeat(np.arange(documents), per_document)
    losses = 3 + 0.3 * generator.standard_normal((len(document), 255))
    losses[:, 192:255] += gain + 0.5 * generator.standard_normal(documents)[document, None]
    losses[:, 64:192] += 100  # must not count
    losses[:, :32] += 100
    return torch.from_numpy(losses), torch.from_numpy(document)


def test_in_context_score_compares_late_with_early_positions():
    losses, document = losses_of(np.random.default_rng(0))
    score, low, high = scores.in_context_score(losses, document)
    assert score == pytest.approx((losses[:, 192:].mean() - losses[:, 32:64].mean()).item(), abs=1e-9)
    assert low < score < high and low < -1 < high
    assert scores.in_context_score(losses, document) == (score, low, high)


def test_the_interval_covers_the_truth_because_it_draws_whole_documents():
    generator = np.random.default_rng(1)
    covered = {"documents": 0, "windows": 0}
    for _ in range(150):
        losses, document = losses_of(generator)
        for unit, groups in (("documents", document), ("windows", torch.arange(len(losses)))):
            _, low, high = scores.in_context_score(losses, groups, draws=200)
            covered[unit] += low < -1 < high
    assert covered["documents"] / 150 > 0.88
    assert covered["windows"] / 150 < 0.75  # windows of one document are alike: drawing them singly promises too much


def test_bootstrap_of_documents_of_different_sizes():
    values = torch.tensor([1.0, 1.0, 1.0, 5.0])
    low, high = scores.bootstrap(values, torch.tensor([7, 7, 7, 2]), draws=2000)
    assert (low, high) == (1.0, 5.0)  # either document alone is drawn twice in a quarter of the draws
    assert scores.bootstrap(torch.full((4,), 2.5), torch.arange(4)) == (2.5, 2.5)


def in_another_basis(model, seed=0):
    """The same function: what writes to the stream is multiplied by S, what reads by its inverse."""
    S = torch.randn(model.cfg.d_model, model.cfg.d_model, generator=torch.Generator().manual_seed(seed))
    S = torch.matrix_exp(0.3 * S.double())
    same, inverse = copy.deepcopy(model), torch.linalg.inv(S)
    for name in ("W_E", "W_pos", "W_O"):
        getattr(same, name).data = getattr(model, name) @ S
    for name in ("W_Q", "W_K", "W_V", "W_U"):
        getattr(same, name).data = inverse @ getattr(model, name)
    return same


def test_the_share_of_the_scores_depends_on_no_basis_and_the_norm_does(make_model, tokens_for):
    model = make_model()
    same, tokens = in_another_basis(model), tokens_for(model)
    torch.testing.assert_close(same(tokens), model(tokens), rtol=0, atol=1e-9)
    here, there = scores.composition_shares(model, tokens), scores.composition_shares(same, tokens)
    for side in "KQ":
        torch.testing.assert_close(here[side], there[side], rtol=0, atol=1e-9)
    norms = (composition_scores(each)["K"] for each in (model, same))
    assert (next(norms) - next(norms)).abs().max() > 0.05


def centred_squares(q, k):
    """Of each head the sum of squared products, each query's less their mean over its keys, row by row."""
    total = 0
    for i in range(q.shape[-2]):
        row = torch.einsum("bhd,bhjd->bhj", q[:, :, i], k[:, :, : i + 1])
        total = total + (row - row.mean(-1, keepdim=True)).square().sum((0, 2))
    return total


def test_the_share_of_the_scores_by_hand(make_model, tokens_for):
    model = make_model()
    model.W_O.data[0, 1:] = 0  # heads that write nothing have none
    tokens = tokens_for(model)
    cache = model.run_with_cache(tokens)[1]
    x, written = cache.resid[1], cache.head_out(0, 0)
    q, k = (model.read(x, 1, side) for side in "qk")
    shares = scores.composition_shares(model, tokens)
    for side, through in {
        "K": centred_squares(q, model.read(written, 1, "k", part_of=x)),
        "Q": centred_squares(model.read(written, 1, "q", part_of=x), k),
    }.items():
        torch.testing.assert_close(shares[side][0], through / centred_squares(q, k), rtol=0, atol=1e-12)
        assert shares[side][1:].abs().max() == 0
