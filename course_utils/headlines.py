"""The book's headlines of one two-layer model, in numbers: what chapter 11 compares over seeds and kinds of model."""

from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import check, checked, within
from course_utils.circuits import ov_circuit, positivity
from course_utils.config import AnyModel, Pattern, Tokens
from course_utils.corpus import spread
from course_utils.interventions import cut
from course_utils.losses import stream_loss
from course_utils.scores import prefix_matching_scores, previous_token_scores

SETTLED = 32  # queries from this position on: an early one has few keys to choose from


@checked
@torch.no_grad()
def headlines(model: AnyModel, windows: Tokens, n: Annotated[int, within(1)] = 64) -> dict[str, Any]:
    """Losses, scores and effects of a two-layer model, as plain numbers and lists [layer][head].

    `windows` of text; `n`: sequences of repeated tokens.
    """
    check("n_layers", model.cfg.n_layers, Annotated[int, within(2, 2)])
    few = spread(windows, 32)
    prefix = prefix_matching_scores(model, n)
    best, heads = int(prefix[1].argmax()), range(model.cfg.n_heads)
    paths = {side: [((0, earlier), (1, best), side) for earlier in heads] for side in "KQ"}
    without = {side: prefix_matching_scores(model, n, edit=cut(model, paths[side]))[1, best] for side in "KQ"}
    cache = model.run_with_cache(few)[1]
    return {
        "prefix_matching": prefix.tolist(),
        "previous_token": previous_token_scores(model, few).tolist(),
        "rests": attention_to_start(cache.pattern).tolist(),
        "prefix_without": {side: score.item() for side, score in without.items()},
        "positivity": [_copying(model, layer).tolist() for layer in range(2)],
        "outlier": outlier(model, few, cache.resid[-1]),
        "direct_loss": stream_loss(model, cache.resid[0], few).mean().item(),
        "few_loss": stream_loss(model, cache.resid[-1], few).mean().item(),
        "loss_without_virtual_heads": stream_loss(model, _without_virtual_heads(model, few), few).mean().item(),
    }


@checked
def attention_to_start(pattern: Pattern) -> Float[Tensor, "n_layers n_heads"]:
    """Mean attention of each head to the start token: 1 for one that rests ("attention sinks")."""
    return pattern[..., min(SETTLED, pattern.shape[-2] - 1) :, 0].mean((1, 3))


@checked
def outlier(model: AnyModel, tokens: Tokens, stream: Float[Tensor, "batch pos d_model"]) -> dict[str, float]:
    """The final stream's largest coordinate: its variance over the median, and what its mean in its place costs."""
    variance = stream.flatten(0, -2).var(0)
    largest = int(variance.argmax())
    without = stream.clone()
    without[..., largest] = stream[..., largest].mean()
    rise = stream_loss(model, without, tokens).mean() - stream_loss(model, stream, tokens).mean()
    return {"variance": (variance.max() / variance.median()).item(), "rise": rise.item()}


def first_step(steps: np.ndarray, scores: np.ndarray, least: float) -> int | None:
    """The first step of a log at which a score reaches `least`."""
    reached = np.flatnonzero(scores >= least)
    return int(steps[reached[0]]) if len(reached) else None


def _copying(model, layer: int) -> Float[Tensor, " n_heads"]:
    """Positivity of each head's full OV circuit, W_U centred."""
    heads = [ov_circuit(model, layer, head, centred=True) for head in range(model.cfg.n_heads)]
    return torch.stack([positivity(head.eigenvalues()) for head in heads])


def _without_virtual_heads(model, tokens: Tensor) -> Tensor:
    """The final stream when the values of layer 1 read nothing of what the heads of layer 0 wrote; patterns as ever."""
    heads = range(model.cfg.n_heads)
    paths = [((0, earlier), (1, later), "V") for earlier in heads for later in heads]
    return model.run_with_cache(tokens, cut(model, paths))[1].resid[-1]
