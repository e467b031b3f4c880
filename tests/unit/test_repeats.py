"""The task and the model that train in the page: what a sequence is, what is measured, and that it turns."""

import numpy as np
import pytest
import torch

from course_utils import clamping
from course_utils.errors import CourseError
from course_utils.repeats import (
    BATCHES,
    FRESH,
    TURNED,
    RepeatsConfig,
    by_copy,
    head_scores,
    initial,
    sequences,
    train_on_repeats,
)  # fmt: skip
from course_utils.scores import successors

TINY = RepeatsConfig(n_heads=2, d_head=4, d_vocab=10, n_ctx=12, shortest=3, longest=5, batch=4)


@pytest.mark.parametrize("stream", [FRESH, BATCHES, BATCHES + 1])
def test_a_sequence_repeats_to_the_end(stream):
    settings = RepeatsConfig()
    tokens, lengths = sequences(settings, stream, 400)
    assert set(lengths.tolist()) == set(range(5, 16)) and (tokens[:, 0] == 0).all()
    for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True):
        assert row[1 + n :] == row[1:-n]
    assert set(tokens[:, 1:].flatten().tolist()) == set(range(1, settings.d_vocab))


def test_each_batch_is_another_and_a_fixed_length_is_measured_on_others():
    settings = RepeatsConfig(shortest=8, longest=8)
    one, other = (sequences(settings, BATCHES + i, 16)[0] for i in range(2))
    assert (one != other).any()
    assert set(sequences(settings, BATCHES, 16)[1].tolist()) == {8}
    assert len(set(sequences(settings, FRESH, 64)[1].tolist())) > 5


def test_losses_by_copy():
    losses = torch.arange(10.0).repeat(2, 1)  # made at positions 1 to 10
    first, later = by_copy(losses, torch.tensor([3, 5]))
    assert first == pytest.approx(np.mean([0, 1, 0, 1, 2, 3]))  # at 3 and 5 nobody can know that it begins anew
    assert later == pytest.approx(np.mean([*range(3, 10), *range(5, 10)]))


def test_a_clamped_head_looks_one_back_and_learns_no_pattern():
    settings = RepeatsConfig(**TINY.to_dict() | {"clamped": True})
    tokens, lengths = sequences(settings, FRESH, 8)
    model, record = train_on_repeats(settings, 3, every=3)
    previous, prefix = head_scores(model, settings, tokens, lengths)
    assert previous[0, 0] == 1 and previous[0, 1] < 0.9 and (prefix < 0.9).all()
    assert record["step"].tolist() == [0, 3]
    assert (model.W_Q.grad[0, 0] == 0).all() and (model.W_V.grad[0, 0] != 0).any()


def test_a_model_without_positions_has_none():
    settings = RepeatsConfig(**TINY.to_dict() | {"positions": "none"})
    assert (train_on_repeats(settings, 2)[0].W_pos == 0).all()
    assert (initial(TINY).W_pos != 0).all()


def test_a_seed_gives_the_same_run():
    (one, _), (same, _) = (train_on_repeats(TINY, 5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    other = initial(RepeatsConfig(**TINY.to_dict() | {"seed": 1}))
    assert (other.W_E != initial(TINY).W_E).all()


def test_two_layers_turn_and_one_does_not():
    model, record = train_on_repeats(RepeatsConfig(), 600, stop=True)
    assert record["prefix"][-1].max() >= TURNED > record["prefix"][:-1].max() and 100 < record["step"][-1] <= 600
    assert record["later"][-1] < record["first"][-1] - 0.5 and record["later"][0] > record["first"][0] - 0.5
    steps = int(record["step"][-1])
    alone = train_on_repeats(RepeatsConfig(n_layers=1), steps, every=steps)[1]
    assert alone["prefix"].max() < TURNED / 2


@pytest.mark.release
def test_at_least_nine_seeds_of_ten_turn(record_property):
    steps = [int(train_on_repeats(RepeatsConfig(seed=seed), 1000, stop=True)[1]["step"][-1]) for seed in range(10)]
    record_property("measured", f"turned at steps {steps}")
    assert sum(step < 1000 for step in steps) >= 9


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"shortest": 9, "longest": 8}, ["9 to 8", "shortest"]),
        ({"longest": 16}, ["5 to 16", "15", "two copies"]),
        ({"n_layers": 3}, ["n_layers is 3", "1 to 2"]),
        ({"positions": "rotary"}, ["positions is 'rotary'", "stream"]),
        ({"optimiser": "muon"}, ["optimiser", "sgd"]),
        ({"lr": -1}, ["lr is -1", "0"]),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(CourseError) as caught:
        RepeatsConfig(**wrong)
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value


def test_parts_of_the_circuit_are_held():
    """Held from the start, matching and looking back are a perfect induction pattern; copying needs no weight."""
    settings = RepeatsConfig(**TINY.to_dict() | {"n_ctx": 32, "longest": 9})
    model, tokens = initial(settings), sequences(settings, FRESH, 8)[0]
    one = lambda parts: clamping.run(model, tokens, parts)  # noqa: E731
    held = one(("previous", "match"))[1]
    assert (held.pattern[0, :, 0].diagonal(-1, 1, 2) == 1).all()
    repeated = sequences(RepeatsConfig(), FRESH, 8)
    big = initial(RepeatsConfig())
    _, cache = clamping.run(big, repeated[0], ("previous", "match"))
    at = torch.arange(32)
    second = (at > repeated[1][:, None]) & (at <= 2 * repeated[1][:, None])
    looks = (cache.pattern[1, :, 0] * successors(repeated[0])).sum(-1)[second]
    assert looks.mean() > 0.9
    logits, cache = one(("copy",))
    assert (cache.z[1][:, 0] == 0).all() and (cache.z[1][:, 1] != 0).any()
    plain = model.unembed(cache.resid[-1])
    raised = (logits - plain)[0, -1].detach()
    for token in set(tokens[0].tolist()):
        weight = cache.pattern[1, 0, 0, -1][tokens[0] == token].sum().item()
        assert raised[token].item() == pytest.approx(clamping.GAIN * weight)
    model.zero_grad()
    one(("previous", "match", "copy"))[0].sum().backward()
    assert (model.W_Q.grad[:, 0] == 0).all() and (model.W_Q.grad[:, 1] != 0).any()
    torch.testing.assert_close(one(())[0], model(tokens))
