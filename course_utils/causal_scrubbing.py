"""Causal scrubbing [chan2022]: how much of what heads do an explanation explains (chapter 9).

An explanation says which parts of the stream a head's queries, keys and values depend on. Everything else is taken from
another text, at the same position. If the explanation is whole, the model does as well as before.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.checked import FILLED, Rule, checked, is_integer, numbers, within
from course_utils.config import AnyModel, Count, Later, Tokens
from course_utils.losses import token_losses
from course_utils.model import Cache, Edit
from course_utils.scores import ratio_interval

# A head of the layer before, the embedding, or all of the stream.
Part = Annotated[
    object,
    Rule(
        lambda part, sizes: part in ("token", "everything") or (is_integer(part) and 0 <= part < sizes["n_heads"]),
        lambda sizes: "'token', 'everything' or the number of a head of the layer before",
    ),
]
Kept = Annotated[Mapping[Literal["q", "k", "v"], Sequence[Part]], "write e.g. {'q': ['token'], 'k': [8]}"]
Heads = Annotated[Sequence[int], FILLED, "give the numbers of heads of one layer"]
Order = Annotated[Int[Tensor, " batch"], within(0, below="batch"), "see partners"]
# What comes in place of all that is not kept, made of it.
INSTEAD = {
    "another text": lambda rest, order: rest[order],
    "mean": lambda rest, order: rest.mean(0, keepdim=True).expand_as(rest),
    "zero": lambda rest, order: torch.zeros_like(rest),
}
Seed = Annotated[int, within(0)]
Sums = numbers(" n", FILLED, "one sum of losses for each text")


@checked
def scrub(
    model: AnyModel, heads: Heads, kept: Kept, order: Order, layer: Later = 1,
    instead: Literal[tuple(INSTEAD)] = "another text",
) -> Edit:  # fmt: skip
    """An edit: some heads of a layer read the kept parts of their own text, and all else of text `order[i]`.

    Of queries, keys and values each. A side that is not named keeps nothing. `instead` of another text all else may be
    its mean over the texts, or zero.
    """

    def edit(name: str, value: Tensor, at: int, cache: Cache) -> Tensor:
        if at == layer and name in ("q", "k", "v"):
            x = cache.resid[layer]
            own = torch.zeros_like(x) + sum(_part(cache, part, layer) for part in kept.get(name, ()))
            value[:, heads] = model.read(own + INSTEAD[instead](x - own, order), layer, name)[:, heads]
        return value

    return edit


@checked
def partners(n: Annotated[int, within(2)], seed: Seed = 0) -> Int[Tensor, " n"]:
    """For each of n texts another one, drawn at random: an order in which none stays in its place."""
    circle = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    order = torch.empty(n, dtype=torch.long)
    order[circle] = circle.roll(1)
    return order


@checked
@torch.no_grad()
def summed_losses(
    model: AnyModel, tokens: Tokens, counted: Bool[Tensor, "batch pos"], edit: Edit | None = None
) -> Float[Tensor, " batch"]:
    """Of each text the sum of the losses of predictions that are counted, in nats; the last position makes none."""
    logits = model.run_with_cache(tokens, edit)[0]
    return (token_losses(logits, tokens) * counted[:, :-1]).sum(1)


@checked
def ladder(
    model: AnyModel,
    tokens: Tokens,
    counted: Bool[Tensor, "batch pos"],
    heads: Heads,
    rungs: Annotated[Mapping[str, Kept], "give each rung a name"],
    resamples: Count = 3,
    seed: Seed = 0,
) -> dict[str, Float[Tensor, " batch"]]:
    """`summed_losses` for each rung, an explanation: the mean over some draws of the other texts.

    Beside the rungs there are "whole", nothing replaced, and "all scrubbed", nothing kept. Each text should be of a
    document of its own.
    """
    found = {"whole": summed_losses(model, tokens, counted)}
    for name, kept in tqdm({"all scrubbed": {}, **rungs}.items(), desc="ladder", leave=False):
        edits = (scrub(model, heads, kept, partners(len(tokens), seed + draw)) for draw in range(resamples))
        found[name] = torch.stack([summed_losses(model, tokens, counted, edit) for edit in edits]).mean(0)
    return found


@checked
def recovered_share(whole: Sums, scrubbed: Sums, rung: Sums) -> float:
    """The share of the loss that scrubbing all of the heads' input costs which a rung gives back; 1: all of it."""
    return float((scrubbed - rung).sum() / (scrubbed - whole).sum())


@checked
def share_interval(whole: Sums, scrubbed: Sums, rung: Sums, draws: Count = 1000, seed: Seed = 0) -> tuple[float, float]:
    """95 % interval of `recovered_share` when the texts, each a document, are drawn again with replacement."""
    return ratio_interval(scrubbed - rung, scrubbed - whole, draws, seed)


def _part(cache: Cache, part: Part, layer: int) -> Float[Tensor, "batch pos d_model"]:
    if part == "everything":
        return cache.resid[layer]
    return cache.resid[0] if part == "token" else cache.head_out(layer - 1, part)
