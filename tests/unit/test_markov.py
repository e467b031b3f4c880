"""Markov chains in context: how they are drawn, what Bayes says of them, what a run records, and that it goes on."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch

from course_utils import corpus
from course_utils.errors import CourseError
from course_utils.markov import FRESH, MEASURED, MarkovConfig, chains, distance, predictors, train_on_chains
from tools import markov

QUANTITIES = ("bigrams", "unigrams", "previous", "successors")
TWO = MarkovConfig(d_vocab=3, n_ctx=8)  # chains of two states


def integrated(states: list[int], grid: int = 400) -> float:
    """The probability of a path of two states, over chains of which each is as likely: the midpoint rule."""
    stays = (np.arange(grid) + 0.5) / grid  # the chance to stay in either state, one axis each
    chance = np.full((grid, grid), 0.5)
    for one, next_one in itertools.pairwise(states):
        each = stays if one == next_one else 1 - stays
        chance = chance * (each[:, None] if one == 1 else each[None])
    return chance.mean()


def test_counts_of_pairs_are_the_answer_of_bayes():
    """Against the integral over all chains of two states, for every path of five."""
    paths = torch.tensor([[0, *path] for path in itertools.product((1, 2), repeat=5)])
    says = predictors(TWO, paths)["bigrams"]
    for path, probabilities in zip(paths[:, 1:].tolist(), says[:, 1:], strict=True):
        for i in range(5):
            exact = integrated([*path[: i + 1], 1]) / integrated(path[: i + 1])
            assert probabilities[i].tolist() == pytest.approx([exact, 1 - exact], abs=1e-4), path[: i + 1]


def test_paths_are_as_frequent_as_such_chains_make_them():
    """Start, rows and steps at once: the share of each path of four states is its probability."""
    n = 20_000
    found = Counter(map(tuple, chains(TWO, FRESH, n)[:, 1:5].tolist()))
    assert len(found) == 16
    for path, times in found.items():
        exact = integrated(path)
        assert abs(times / n - exact) < 4 * (exact * (1 - exact) / n) ** 0.5, path


def test_each_sequence_has_a_chain_of_its_own_and_a_seed_gives_the_same():
    settings = MarkovConfig()
    tokens = chains(settings, FRESH, 64)
    assert tokens.shape == (64, 64) and (tokens[:, 0] == 0).all() and set(tokens[:, 1:].flatten().tolist()) == {1, 2, 3}
    stays = (tokens[:, 2:] == tokens[:, 1:-1]).double().mean(1)
    assert stays.std() > 0.1  # of one chain for all it were 0.06
    assert torch.equal(tokens, chains(settings, FRESH, 64)) and not torch.equal(tokens, chains(settings, FRESH + 1, 64))


def test_counts_by_hand():
    says = predictors(MarkovConfig(), torch.tensor([[0, 1, 2, 1, 3, 1]]))
    assert says["bigrams"][0, -1].tolist() == pytest.approx([1 / 5, 2 / 5, 2 / 5])  # 1 was followed by 2 and by 3
    assert says["unigrams"][0, -1].tolist() == pytest.approx([4 / 8, 2 / 8, 2 / 8])
    assert (says["uniform"] == 1 / 3).all()
    with pytest.raises(CourseError, match="tokens"):
        predictors(MarkovConfig(), torch.tensor([[0, 4]]))


def test_nobody_is_nearer_than_the_answer_itself():
    says = predictors(MarkovConfig(), chains(MarkovConfig(), FRESH, 32))
    assert distance(says["bigrams"], says["bigrams"]) == 0 < distance(says["bigrams"], says["unigrams"])
    assert distance(says["bigrams"], says["unigrams"]) < distance(says["bigrams"], says["uniform"])


def test_a_run_is_measured_on_the_way():
    settings = MarkovConfig(n_heads=2, d_head=4, n_ctx=16, batch=8, n_layers=1)
    model, record = train_on_chains(settings, 60, every=30)
    assert record["step"].tolist() == [0, 30, 60] and record["previous"].shape == record["successors"].shape == (
        3,
        1,
        2,
    )
    assert record["unigrams"][-1] < record["unigrams"][0] and record["loss"][-1] < record["loss"][0]
    fresh = chains(settings, FRESH, MEASURED)
    logits, cache = model.run_with_cache(fresh)
    looks, apart = [], []
    for n, row in enumerate(fresh.tolist()):
        for i in range(1, 16):
            after = [j for j in range(1, i + 1) if row[j - 1] == row[i]]
            looks.append(cache.pattern[0, n, :, i, after].sum(-1).detach().numpy())
            counts = np.array([1 + sum(row[j] == state for j in after) for state in (1, 2, 3)])
            said = logits[n, i].softmax(-1)[1:].detach().numpy()
            if i < 15:  # the last state is followed by none
                apart.append((counts / counts.sum() * np.log(counts / counts.sum() / said)).sum())
    assert record["successors"][-1, 0] == pytest.approx(np.mean(looks, 0))
    assert record["bigrams"][-1] == pytest.approx(np.mean(apart))


def test_only_what_is_missing_is_trained(made_of_missing, monkeypatch):
    monkeypatch.setattr(markov, "SEEDS", range(1))
    names = [markov.name(model, 0) for model in markov.MODELS]
    made = made_of_missing(markov, names, "one layer, seed 0", 0)
    assert made["steps"] == 0 and [len(made[key]) for key in QUANTITIES] == [1] * 4


def test_the_record_has_every_run_to_its_end():
    record = json.loads(corpus.read("markov.json"))
    assert set(record) == {markov.name(model, seed) for model in markov.MODELS for seed in markov.SEEDS}
    for run in record.values():
        assert run.pop("steps") == markov.STEPS
        assert {key: len(values) for key, values in run.items()} == dict.fromkeys(
            QUANTITIES, 1 + markov.STEPS // markov.EVERY
        )


@pytest.mark.release
def test_a_recorded_run_comes_out_again(record_property):
    name, found = markov.train((("two layers", 0), markov.STEPS))
    recorded = json.loads(corpus.read("markov.json"))[name]
    apart = {key: np.abs(np.array(found[key]) - recorded[key]).max() for key in QUANTITIES}
    record_property("measured", f"of the recorded run: {apart}")
    # 64 bits and one order of the data; what other processors round differently grows on the way
    assert max(apart["bigrams"], apart["unigrams"]) < 0.01 and max(apart["previous"], apart["successors"]) < 0.05
