"""Interventions: heads and paths taken out of a running model ([E21], "Induction heads").

Each is an edit of `model.run_with_cache`. To ablate is to replace by zero, unless means are given. A head is
(layer, head); a path is (earlier head, later head, side): the later head's queries, keys or values ("Q", "K", "V").
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.checked import checked, long
from course_utils.config import AnyModel, Head, Later, Side, Tokens
from course_utils.errors import CourseError
from course_utils.model import AnyCache, AttentionOnlyTransformer, Cache, Edit

Heads, Paths = Iterable[Head], Iterable[Annotated[tuple[Head, Head, Side], "write e.g. ((0, 3), (1, 6), 'K')"]]
Means = Annotated[Float[Tensor, "n_layers n_heads d_head"], "take cache.z.mean((1, 3))"]
OfPatterns = Annotated[Literal["Q", "K"], "values don't enter the pattern: use 'Q' or 'K', or run_without"]
Pairs = Annotated[Tokens, long("pos", 2)]


@checked
def ablate(heads: Heads, means: Means | None = None) -> Edit:
    """An edit: these heads put out zero or, with `means`, their mean z."""

    def edit(name: str, value: Tensor, layer: int, cache: Cache) -> Tensor:
        for at, head in heads:
            if (name, layer) == ("z", at):
                value[:, head] = 0 if means is None else means[layer, head]
        return value

    return edit


@checked
def cut(model: AnyModel, paths: Paths) -> Edit:
    """An edit: on each path the later head reads the stream less what the earlier head added to it."""
    readers = defaultdict(list)  # of each earlier head, by layer and side: what it wrote is read once for all of them
    for earlier, later, side in paths:
        _check_order(earlier, later)
        readers[side.lower(), later[0], *earlier].append(later[1])

    def edit(name: str, value: Tensor, layer: int, cache: Cache) -> Tensor:
        for (side, at, *earlier), heads in readers.items():
            if (name, layer) == (side, at):
                written, whole = cache.head_out(*earlier), cache.resid[layer]
                value[:, heads] -= model.read(written, layer, name, part_of=whole)[:, heads]
        return value

    return edit


@checked
def run_without(
    model: AnyModel, tokens: Tokens, heads: Heads = (), paths: Paths = (), means: Means | None = None
) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
    """`run_with_cache` with some heads ablated, and some paths cut.

    A path is (earlier head, later head, side): the later head's queries, keys or values ("Q", "K", "V") are made from
    the stream less what the earlier head added to it; everybody else reads the stream as it is. With `means`, an
    ablated head puts out its mean z in place of zero.
    """
    return model.run_with_cache(tokens, [cut(model, paths), ablate(heads, means)])


@checked
def pattern_without(
    model: AnyModel, cache: AnyCache, later: Head, earlier: Heads, side: OfPatterns
) -> Float[Tensor, "batch query key"]:
    """The later head's pattern when its path from some earlier heads, to its queries ("Q") or keys ("K"), is cut."""
    for each in earlier:
        _check_order(each, later)
    layer, head = later
    x = cache.resid[layer]
    written = sum((cache.head_out(*each) for each in earlier), torch.zeros_like(x))
    read = {each: model.read(x, layer, each.lower())[:, head] for each in "QK"}
    read[side] = read[side] - model.read(written, layer, side.lower(), part_of=x)[:, head]
    return model.scores(read["Q"], read["K"]).softmax(dim=-1)


@checked
@torch.no_grad()
def path_effects(model: AnyModel, tokens: Pairs, layer: Later = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """What cutting each path from a head of the layer before does to a head of `layer`.

    "Q", "K": mean over queries of KL(pattern as it is ‖ pattern with the path cut), in nats, the first query left out.
    "V": ‖change of the head's output‖ / ‖its output‖ with patterns frozen.
    """
    H = model.cfg.n_heads
    cache = model.run_with_cache(tokens)[1]
    x = cache.resid[layer]
    q, k = (model.read(x, layer, side) for side in "qk")
    log_before = _log_pattern(model, q, k)
    effects = {side: torch.zeros(H, H, dtype=model.W_E.dtype) for side in "QKV"}
    for earlier in tqdm(range(H), desc=f"paths into layer {layer}", leave=False, disable=len(tokens) < 32):
        written = cache.head_out(layer - 1, earlier)
        part = {side: model.read(written, layer, side, part_of=x) for side in "qkv"}
        for side, after in {"Q": (q - part["q"], k), "K": (q, k - part["k"])}.items():
            change = log_before.exp() * (log_before - _log_pattern(model, *after))
            effects[side][earlier] = change.sum(-1)[..., 1:].mean((0, 2))
        for head in range(H):
            lost = cache.pattern[layer, :, head] @ part["v"][:, head] @ model.W_O[layer, head]
            effects["V"][earlier, head] = lost.norm() / cache.head_out(layer, head).norm()
    return effects


def _log_pattern(model: AttentionOnlyTransformer, q: Tensor, k: Tensor) -> Tensor:
    """The pattern's logarithm; finite, since two of them are subtracted."""
    return model.scores(q, k).clamp(min=-1e4).log_softmax(dim=-1)


def _check_order(earlier: Head, later: Head) -> None:
    if earlier[0] >= later[0]:
        rule = "a path leads from an earlier layer to a later one"
        raise CourseError(f"a path from layer {earlier[0]} to layer {later[0]}", rule, "swap the two heads")
