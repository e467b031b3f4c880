"""Interventions: heads and paths taken out of a running model ([E21], "Induction heads").

Each is an edit of `model.run_with_cache`. To ablate is to replace by zero, unless means are given. A head is
(layer, head); a path is (earlier head, later head, side): the later head's queries, keys or values ("Q", "K", "V").
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.circuits import check_pair, through_head
from course_utils.circuits.virtual_weights import SIDES
from course_utils.errors import CourseError, check_integer, check_type
from course_utils.model import AttentionOnlyTransformer, Cache, Edit, check_head, check_model, check_tokens

Head = tuple[int, int]


def ablate(heads: Iterable[Head], means: Float[Tensor, "n_layers n_heads d_head"] | None = None) -> Edit:
    """An edit: these heads put out zero or, with `means`, their mean z."""

    def edit(name: str, value: Tensor, layer: int, cache: Cache) -> Tensor:
        for at, head in heads:
            if (name, layer) == ("z", at):
                value[:, head] = 0 if means is None else means[layer, head]
        return value

    return edit


def cut(model: AttentionOnlyTransformer, paths: Iterable[tuple[Head, Head, str]]) -> Edit:
    """An edit: on each path the later head reads the stream less what the earlier head added to it."""

    def edit(name: str, value: Tensor, layer: int, cache: Cache) -> Tensor:
        for earlier, (at, head), side in paths:
            if (name, layer) == (side.lower(), at):
                value[:, head] -= model.read(cache.head_out(*earlier), layer, name, positions=False)[:, head]
        return value

    return edit


def run_without(
    model: AttentionOnlyTransformer,
    tokens: Int[Tensor, "batch pos"],
    heads: Iterable[Head] = (),
    paths: Iterable[tuple[Head, Head, str]] = (),
    means: Float[Tensor, "n_layers n_heads d_head"] | None = None,
) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
    """`run_with_cache` with some heads ablated, and some paths cut.

    A path is (earlier head, later head, side): the later head's queries, keys or values ("Q", "K", "V") are made from
    the stream less what the earlier head added to it; everybody else reads the stream as it is. With `means`, an
    ablated head puts out its mean z in place of zero.
    """
    for name, value in {"heads": heads, "paths": paths}.items():
        check_type(name, value, Iterable, "pass e.g. [(1, 6)] and [((0, 3), (1, 6), 'K')]")
    heads, paths = list(heads), list(paths)
    _check(model, heads, paths)
    if means is not None and means.shape != model.W_Q.shape[:2] + model.W_Q.shape[3:]:
        rule = f"they must be [n_layers, n_heads, d_head] = {[*model.W_Q.shape[:2], model.cfg.d_head]}"
        raise CourseError(f"means of shape {list(means.shape)}", rule, "take cache.z.mean((1, 3))")
    return model.run_with_cache(tokens, [cut(model, paths), ablate(heads, means)])


def pattern_without(
    model: AttentionOnlyTransformer, cache: Cache, later: Head, earlier: Sequence[Head], side: str
) -> Float[Tensor, "batch query key"]:
    """The later head's pattern when its path from some earlier heads, to its queries ("Q") or keys ("K"), is cut."""
    check_type("earlier", earlier, Sequence, "pass e.g. [(0, 3)]")
    check_type("cache", cache, Cache, "pass the second value of model.run_with_cache(tokens)")
    _check(model, [later], [(head, later, side) for head in earlier])
    if side == "V":
        raise CourseError("side 'V'", "values don't enter the pattern", "use 'Q' or 'K', or run_without")
    layer, head = later
    x = {side: cache.resid[layer] for side in "QK"}
    x[side] = x[side] - sum(cache.head_out(*each) for each in earlier)
    q, k = (model.read(x[side], layer, side.lower())[:, head] for side in "QK")
    return model.scores(q, k).softmax(dim=-1)


@torch.no_grad()
def path_effects(
    model: AttentionOnlyTransformer, tokens: Int[Tensor, "batch pos"], layer: int = 1
) -> dict[str, Float[Tensor, "earlier later"]]:
    """What cutting each path from a head of the layer before does to a head of `layer`.

    "Q", "K": mean over queries of KL(pattern as it is ‖ pattern with the path cut), in nats, the first query left out.
    "V": ‖change of the head's output‖ / ‖its output‖ with patterns frozen.
    """
    check_integer("layer", layer)
    _check(model, [], [((layer - 1, 0), (layer, 0), "K")])
    check_tokens(tokens, model.cfg, model.W_E.device)
    check_integer("the number of positions", tokens.shape[1], 2)  # the first query is left out
    H = model.cfg.n_heads
    cache = model.run_with_cache(tokens)[1]
    q, k = (model.read(cache.resid[layer], layer, side) for side in "qk")
    log_before = _log_pattern(model, q, k)
    effects = {side: torch.zeros(H, H, dtype=model.W_E.dtype) for side in SIDES}
    for earlier in tqdm(range(H), desc=f"paths into layer {layer}", leave=False, disable=len(tokens) < 32):
        written = cache.head_out(layer - 1, earlier)
        part = {side: model.read(written, layer, side, positions=False) for side in "qk"}
        for side, after in {"Q": (q - part["q"], k), "K": (q, k - part["k"])}.items():
            change = log_before.exp() * (log_before - _log_pattern(model, *after))
            effects[side][earlier] = change.sum(-1)[..., 1:].mean((0, 2))
        for head in range(H):
            lost = through_head(model, written, cache.pattern[layer, :, head], layer, head)
            effects["V"][earlier, head] = lost.norm() / cache.head_out(layer, head).norm()
    return effects


def _log_pattern(model: AttentionOnlyTransformer, q: Tensor, k: Tensor) -> Tensor:
    """The pattern's logarithm; finite, since two of them are subtracted."""
    return model.scores(q, k).clamp(min=-1e4).log_softmax(dim=-1)


def _check(model: AttentionOnlyTransformer, heads: list[Head], paths: list[tuple[Head, Head, str]]) -> None:
    check_model(model)
    for path in paths:
        if not isinstance(path, tuple | list) or len(path) != 3:
            rule = "a path is (earlier head, later head, side)"
            raise CourseError(f"path {path!r}", rule, "write e.g. ((0, 3), (1, 6), 'K')")
    for head in heads + [head for earlier, later, _ in paths for head in (earlier, later)]:
        check_pair(head)
        check_head(model.cfg.n_layers, model.cfg.n_heads, *head)
    for earlier, later, side in paths:
        if side not in tuple(SIDES):
            raise CourseError(f"side {side!r}", f"a path ends in one of {', '.join(SIDES)}", "use 'Q', 'K' or 'V'")
        if earlier[0] >= later[0]:
            rule = "a path leads from an earlier layer to a later one"
            raise CourseError(f"a path from layer {earlier[0]} to layer {later[0]}", rule, "swap the two heads")
