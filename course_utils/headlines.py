"""The book's headlines of a two-layer model in numbers, and of the population that chapter 11 compares."""

import json
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from course_utils.checked import FILLED, check, checked, numbers, within
from course_utils.circuits import ov_circuit, positivity
from course_utils.config import AnyModel, Pattern, Tokens
from course_utils.corpus import read, spread
from course_utils.interventions import cut
from course_utils.losses import stream_loss
from course_utils.scores import prefix_matching_scores, previous_token_scores

SETTLED = 32  # queries from this position on: an early one has few keys to choose from
RECORD = "population.json"  # made by `python -m tools.population`
RESTS = COPIES = 0.5  # from here on a head rests, by attention_to_start, or copies, by positivity
MATCHES = 0.1  # a head that matches less has no composition to speak of


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


def population(record: dict[str, dict] | None = None) -> dict[tuple[str, str], list[dict]]:
    """The runs of each kind (what was put back, optimiser), by seed, at the rate whose loss at seed 0 is the lowest."""
    record = json.loads(read(RECORD)) if record is None else record
    kinds = {}
    for name, run in record.items():
        if name.endswith("-longer"):
            continue
        put_back, optimiser, rate, _, seed = name.rsplit("-", 4)
        kinds.setdefault((put_back, optimiser), {}).setdefault(rate, {})[int(seed)] = run
    found = {}
    for kind, rates in kinds.items():
        runs = min(rates.values(), key=lambda runs: final_loss(runs[0]))
        found[kind] = [runs[seed] for seed in sorted(runs)]
    return found


def final_loss(run: dict) -> float:
    """By which the learning rate is chosen; of a run that ran away, infinity."""
    return np.nan_to_num(run["validation_loss"], nan=np.inf)


def summary(run: dict) -> dict[str, float]:
    """One number for each headline of a run, as `tools.population` wrote it down; NaN where there is none to give.

    "K" and "Q": the share of the best head's prefix matching that goes when its paths from layer 0 to its keys, or to
    its queries, are cut. "virtual heads": the share of the drop in loss below the direct path's that goes without them.
    """
    matching, of_nothing = max(run["prefix_matching"][1]), float("nan")
    lost = {
        side: 1 - left / matching if matching >= MATCHES else of_nothing for side, left in run["prefix_without"].items()
    }
    fell = run["direct_loss"] - run["few_loss"]
    return {
        "loss": run["validation_loss"],
        "prefix matching": matching,
        "previous token": max(run["previous_token"][0]),
        **lost,
        "copying heads": sum(value >= COPIES for value in run["positivity"][1]),
        "virtual heads": (run["loss_without_virtual_heads"] - run["few_loss"]) / fell,
        "resting heads": sum(value >= RESTS for layer in run["rests"] for value in layer),
        "outlier": run["outlier"]["variance"],
        "its loss": run["outlier"]["rise"],
        **{
            f"first {name}": of_nothing if step is None else step
            for name, step in zip(("previous token", "prefix matching"), run["first_step"].values(), strict=True)
        },
    }


@checked
def interval(values: numbers(" n", FILLED, "one value of each seed")) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % interval by Student's t; of one value there is none: NaN."""
    n, mean = len(values), float(np.mean(values))
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / n**0.5) if n > 1 else np.nan
    return mean, mean - half, mean + half


def _copying(model, layer: int) -> Float[Tensor, " n_heads"]:
    """Positivity of each head's full OV circuit, W_U centred."""
    heads = [ov_circuit(model, layer, head, centred=True) for head in range(model.cfg.n_heads)]
    return torch.stack([positivity(head.eigenvalues()) for head in heads])


def _without_virtual_heads(model, tokens: Tensor) -> Tensor:
    """The final stream when the values of layer 1 read nothing of what the heads of layer 0 wrote; patterns as ever."""
    heads = range(model.cfg.n_heads)
    paths = [((0, earlier), (1, later), "V") for earlier in heads for later in heads]
    return model.run_with_cache(tokens, cut(model, paths))[1].resid[-1]
