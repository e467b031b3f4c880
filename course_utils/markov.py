"""Markov chains in context: each sequence has a chain of its own, to be found out as it is read (chapter 10).

After Edelman et al. (2024). A sequence is the start token, then states of a chain whose rows of probabilities are drawn
from a flat Dirichlet distribution; the first state is uniform. What is best said of the next state is then known: how
often each has followed the present one, plus one. That is what an induction head can count.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from course_utils.checked import check, checked, within
from course_utils.config import Count, Step, Tokens
from course_utils.repeats import BATCHES, FRESH, SmallConfig, train, uniform
from course_utils.scores import previous_token_scores, successors
from course_utils.transformer import Transformer

MEASURED = 128  # sequences on which all runs of a task are measured


@dataclass(frozen=True)
class MarkovConfig(SmallConfig):
    """A small model, the size of the chains, and how it learns them."""

    d_vocab: Annotated[int, within(3)] = 4  # the start token, 0, and the states
    n_ctx: Annotated[int, within(8)] = 64


@checked
def chains(settings: MarkovConfig, stream: Step, n: Count = 1) -> Int[Tensor, "n pos"]:
    """`n` sequences, each of a chain of its own."""
    k, length = settings.d_vocab - 1, settings.n_ctx - 1
    drawn = uniform(settings.seed, stream, n * (k * k + length)).reshape(n, -1)
    rows = -np.log1p(-drawn[:, : k * k].reshape(n, k, k))  # exponential numbers: their shares are flat Dirichlet
    ends = (rows / rows.sum(-1, keepdims=True)).cumsum(-1)[..., :-1]  # where one state's part of 0 to 1 ends
    tokens, end = np.zeros((n, 1 + length), dtype=int), np.arange(1, k) / k
    for i, number in enumerate(drawn[:, k * k :].T, start=1):
        tokens[:, i] = 1 + (number[:, None] >= end).sum(-1)
        end = ends[np.arange(n), tokens[:, i] - 1]
    return torch.from_numpy(tokens)


@checked
def predictors(
    settings: MarkovConfig, tokens: Integer[Tensor, "batch pos"]
) -> dict[str, Float[Tensor, "batch pos states"]]:
    """Probabilities of the next state by counts in the context, plus one.

    "bigrams": of what has followed the present state, which is Bayes's answer; "unigrams": of all; "uniform": of none.
    """
    check("tokens", tokens, Tokens, {"d_vocab": settings.d_vocab, "n_ctx": settings.n_ctx})
    states = F.one_hot(tokens.long(), settings.d_vocab)[..., 1:].double()
    counts = {
        "bigrams": successors(tokens).double() @ states,
        "unigrams": states.cumsum(1),
        "uniform": torch.zeros_like(states),
    }
    return {name: (seen + 1) / (seen + 1).sum(-1, keepdim=True) for name, seen in counts.items()}


def distance(says: Float[Tensor, "batch pos states"], other: Float[Tensor, "batch pos states"]) -> float:
    """KL divergence of `other` from what a predictor says, in nats: mean of the predictions that are trained."""
    return (says * (says.log() - other.log())).sum(-1)[:, 1:-1].mean().item()


@checked
def train_on_chains(
    settings: MarkovConfig, steps: Step, every: Count = 20
) -> tuple[Transformer, dict[str, np.ndarray]]:
    """The model after `steps` steps, and what was measured on the way, every so many steps, on fresh sequences.

    Beside step and loss: the distance from what counts of "bigrams" and "unigrams" say, and of each head the
    "previous"-token score and the mean attention to "successors" of the present state.
    """
    fresh = chains(replace(settings, seed=0), FRESH, MEASURED)
    count, follows = predictors(settings, fresh), successors(fresh).double()

    @torch.no_grad()
    def measure(model: Transformer, _: Tensor) -> dict:
        logits, cache = model.run_with_cache(fresh)
        states = logits.softmax(-1)[..., 1:]
        looks = torch.einsum("lbhqk,bqk->lhq", cache.pattern, follows)[..., 1:].mean(-1) / len(fresh)
        distances = {name: distance(count[name], states) for name in ("bigrams", "unigrams")}
        return distances | {"previous": previous_token_scores(model, fresh).numpy(), "successors": looks.numpy()}

    return train(settings, steps, every, lambda step: (chains(settings, BATCHES + step, settings.batch),), measure)
