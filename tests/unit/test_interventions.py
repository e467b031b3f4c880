"""Interventions: a cut is a cut of that path alone, and orders of terms are sums over paths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import circuits, interventions, losses, term_importance
from course_utils.errors import CourseError

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def smear(model):
    """A model with smeared keys whose heads differ in how much they smear."""
    if model.cfg.smeared_keys:
        model.smear.copy_(torch.linspace(-2, 2, model.smear.numel()).view_as(model.smear))
    return model


@pytest.mark.parametrize("smeared_keys", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_without_anything_taken_out_it_is_the_run(make_model, tokens_for, n_layers, smeared_keys):
    model = smear(make_model(1, n_layers=n_layers, smeared_keys=smeared_keys))
    tokens = tokens_for(model)
    (got, mine), (want, cache) = interventions.run_without(model, tokens), model.run_with_cache(tokens)
    torch.testing.assert_close(got, want, **EXACT)
    for name in ("pattern", "z", "resid"):
        torch.testing.assert_close(getattr(mine, name), getattr(cache, name), **EXACT)
    if n_layers > 1:
        pattern = interventions.pattern_without(model, cache, (1, 2), [], "K")
        torch.testing.assert_close(pattern, cache.pattern[1, :, 2], **EXACT)


def test_an_ablated_head_is_one_that_writes_nothing(make_model, tokens_for):
    model, silent = make_model(2), make_model(2)
    tokens = tokens_for(model, 1)
    for head in [(0, 1), (1, 2)]:
        silent.W_O[head] = 0
    torch.testing.assert_close(
        interventions.run_without(model, tokens, [(0, 1), (1, 2)])[0], silent(tokens), **EXACT
    )  # fmt: skip
    torch.testing.assert_close(interventions.run_without(model, tokens)[0], model(tokens), **EXACT)


def test_an_ablated_head_may_put_out_its_mean(make_model, tokens_for):
    model = make_model(3)
    tokens = tokens_for(model, 2)
    cache = model.run_with_cache(tokens)[1]
    means = cache.z.mean(dim=(1, 3))
    _, mine = interventions.run_without(model, tokens, [(0, 2)], means=means)
    torch.testing.assert_close(mine.head_out(0, 2), (means[0, 2] @ model.W_O[0, 2]).expand(2, 9, 12), **EXACT)
    torch.testing.assert_close(mine.head_out(0, 1), cache.head_out(0, 1), **EXACT)


@pytest.mark.parametrize("smeared_keys", [False, True])
@pytest.mark.parametrize("side", "QKV")
def test_a_cut_path_changes_what_one_head_reads_on_one_side(make_model, tokens_for, side, smeared_keys):
    """Against a head of its own layer whose weights make from the cut stream what the others make of the whole."""
    model = smear(make_model(4, smeared_keys=smeared_keys))
    tokens = tokens_for(model, 3)
    earlier, later = (0, 1), (1, 2)
    cache = model.run_with_cache(tokens)[1]
    mine = interventions.run_without(model, tokens, paths=[(earlier, later, side)])[1]
    cut = cache.resid[1] - cache.head_out(*earlier)
    scores_cut = model.attention_scores(cut, 1)[:, 2]
    for head in range(3):
        same = head != 2 or side == "V"
        assert torch.allclose(mine.pattern[1, :, head], cache.pattern[1, :, head], atol=1e-10) == same
        assert torch.allclose(mine.z[1, :, head], cache.z[1, :, head], atol=1e-10) == (head != 2)
    torch.testing.assert_close(mine.pattern[0], cache.pattern[0], **EXACT)
    if side == "V":
        want = cache.pattern[1, :, 2] @ (cut @ model.W_V[later])
        torch.testing.assert_close(mine.z[1, :, 2], want, **EXACT)
    else:
        alone = interventions.pattern_without(model, cache, later, [earlier], side)
        torch.testing.assert_close(mine.pattern[1, :, 2], alone, **EXACT)
        both = interventions.run_without(model, tokens, paths=[(earlier, later, "Q"), (earlier, later, "K")])[1]
        torch.testing.assert_close(both.pattern[1, :, 2], scores_cut.softmax(dim=-1), **EXACT)


@given(seed=st.integers(0, 999))
def test_effects_of_paths_against_their_definitions(make_model, tokens_for, seed):
    model = make_model(seed)
    tokens = tokens_for(model, seed)
    cache = model.run_with_cache(tokens)[1]
    effects = interventions.path_effects(model, tokens)
    earlier, later = (0, seed % 3), (1, seed // 3 % 3)
    place = earlier[1], later[1]
    for side in "QK":
        before = cache.pattern[1, :, later[1]]
        after = interventions.pattern_without(model, cache, later, [earlier], side)
        terms = torch.where(before > 0, before * (before / after).log(), 0.0)
        assert effects[side][place].item() == pytest.approx(terms.sum(-1)[:, 1:].mean().item(), abs=1e-9)
    out = cache.head_out(*later)
    mine = interventions.run_without(model, tokens, paths=[(earlier, later, "V")])[1].head_out(*later)
    assert effects["V"][place].item() == pytest.approx(((mine - out).norm() / out.norm()).item(), abs=1e-9)


def test_a_silent_head_has_no_effect_on_anybody(make_model, tokens_for):
    model = make_model(5)
    model.W_O[0, 1] = 0
    for table in interventions.path_effects(model, tokens_for(model)).values():
        assert table[1].abs().max() < 1e-12 and (table[[0, 2]] > 0).all()


@given(n_layers=st.integers(0, 3), seed=st.integers(0, 999))
def test_orders_are_the_paths_of_so_many_heads(make_model, tokens_for, n_layers, seed):
    model = make_model(seed, n_layers=n_layers, n_heads=2)
    tokens = tokens_for(model, seed)
    _, cache = model.run_with_cache(tokens)
    streams = term_importance.streams_by_order(model, tokens, cache.pattern)
    assert len(streams) == n_layers + 1
    paths = list(circuits.path_expansion(model, tokens, cache.pattern))
    for order, stream in enumerate(streams):
        torch.testing.assert_close(stream, sum(x for path, x in paths if len(path) <= order), **EXACT)
    torch.testing.assert_close(streams[-1], cache.resid[-1], **EXACT)


def test_a_layers_output_is_the_sum_over_its_heads(make_model, tokens_for):
    model = make_model(6)
    cache = model.run_with_cache(tokens_for(model))[1]
    got = circuits.layer_output(model, cache.resid[1], cache.pattern, 1)
    torch.testing.assert_close(got, cache.resid[2] - cache.resid[1], **EXACT)


def test_the_loss_of_the_final_stream_is_the_loss(make_model, tokens_for):
    model = make_model(7)
    tokens = tokens_for(model, 4, batch=5)
    stream = model.run_with_cache(tokens)[1].resid[-1]
    want = losses.loss_by_position(model, tokens)[:, 1:].mean(dim=1)
    torch.testing.assert_close(losses.stream_loss(model, stream, tokens), want, **EXACT)


MISFITS = {
    "a head that is not there": (lambda m, t: interventions.run_without(m, t, [(0, 9)]), "heads[0][1] is 9"),
    "a path into a head that is not there": (
        lambda m, t: interventions.run_without(m, t, paths=[((0, 0), (2, 0), "K")]), "paths[0][1][0] is 2"
    ),
    "another side": (lambda m, t: interventions.run_without(m, t, paths=[((0, 0), (1, 0), "O")]), "paths[0][2] is 'O'"),
    "backwards": (lambda m, t: interventions.run_without(m, t, paths=[((1, 0), (0, 0), "K")]), "layer 1 to layer 0"),
    "values in a pattern": (
        lambda m, t: interventions.pattern_without(m, m.run_with_cache(t)[1], (1, 0), [(0, 0)], "V"),
        "values don't enter the pattern"
    ),
    "paths into the first layer": (lambda m, t: interventions.path_effects(m, t, layer=0), "layer is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_what_cannot_be_taken_out(make_model, tokens_for, name):
    build, words = MISFITS[name]
    model = make_model()
    with pytest.raises(CourseError) as caught:
        build(model, tokens_for(model))
    assert words in str(caught.value) and "Remedy:" in str(caught.value)
