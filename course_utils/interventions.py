"""Interventions: heads and paths taken out of a running model, and what each order of terms is worth.

[E21], "Induction heads" and "Term Importance Analysis". To ablate is to replace by zero, unless means are given.
A head is (layer, head).
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.circuits import check_pair, check_pattern, through_head
from course_utils.errors import CourseError, check_integer, check_type
from course_utils.model import AttentionOnlyTransformer, Cache, check_head, check_model, check_stream, check_tokens

Head = tuple[int, int]
SIDES = "QKV"


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
    check_tokens(tokens, model.cfg)
    if means is not None and means.shape != model.W_Q.shape[:2] + model.W_Q.shape[3:]:
        rule = f"they must be [n_layers, n_heads, d_head] = {[*model.W_Q.shape[:2], model.cfg.d_head]}"
        raise CourseError(f"means of shape {list(means.shape)}", rule, "take cache.z.mean((1, 3))")
    if not model.cfg.n_layers:
        return model.run_with_cache(tokens)
    x = model.W_E[tokens]
    resid, patterns, zs = [x], [], []

    def written(head: Head) -> Tensor:
        return zs[head[0]][:, head[1]] @ model.W_O[head]

    for layer in range(model.cfg.n_layers):
        at = x + model.W_pos[: x.shape[1]]
        weights = {"Q": model.W_Q[layer], "K": model.W_K[layer], "V": model.W_V[layer]}
        read = {side: torch.einsum("bpm,hmd->bhpd", x if side == "V" else at, W) for side, W in weights.items()}
        for earlier, later, side in paths:
            if later[0] == layer:
                read[side][:, later[1]] -= written(earlier) @ weights[side][later[1]]
        scores = read["Q"] @ model.smeared(read["K"], layer).mT / model.cfg.d_head**0.5
        patterns.append(_causal(scores).softmax(dim=-1))
        z = patterns[-1] @ read["V"]
        for at_layer, head in heads:
            if at_layer == layer:
                z[:, head] = 0 if means is None else means[layer, head]
        zs.append(z)
        x = x + torch.einsum("bhpd,hdm->bpm", z, model.W_O[layer])
        resid.append(x)
    cache = Cache(torch.stack(patterns), torch.stack(zs), torch.stack(resid), model.W_O)
    return x @ model.W_U, cache


def pattern_without(
    model: AttentionOnlyTransformer, cache: Cache, later: Head, earlier: Sequence[Head], side: str
) -> Float[Tensor, "batch query key"]:
    """The later head's pattern when its path from some earlier heads, to its queries ("Q") or keys ("K"), is cut."""
    check_type("earlier", earlier, Sequence, "pass e.g. [(0, 3)]")
    check_type("cache", cache, Cache, "pass the second value of model.run_with_cache(tokens)")
    _check(model, [later], [(head, later, side) for head in earlier])
    if side == "V":
        raise CourseError("side 'V'", "values don't enter the pattern", "use 'Q' or 'K', or run_without")
    whole = cache.resid[later[0]]
    whole = whole + model.W_pos[: whole.shape[1]]
    cut = whole - sum(cache.head_out(*head) for head in earlier)
    q, k = (_read(model, cut if side == this else whole, later, this) for this in "QK")
    return _causal(q @ k.mT / model.cfg.d_head**0.5).softmax(dim=-1)


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
    check_tokens(tokens, model.cfg)
    check_integer("the number of positions", tokens.shape[1], 2)  # the first query is left out
    heads, root = range(model.cfg.n_heads), model.cfg.d_head**0.5
    cache = model.run_with_cache(tokens)[1]
    written = [cache.head_out(layer - 1, head) for head in heads]
    whole = cache.resid[layer] + model.W_pos[: tokens.shape[1]]
    effects = {side: torch.zeros(len(heads), len(heads), dtype=model.W_E.dtype) for side in SIDES}
    for later in tqdm(
        [(layer, head) for head in heads], desc=f"paths into layer {layer}", leave=False, disable=len(tokens) < 32
    ):
        q, k = (_read(model, whole, later, side) for side in "QK")
        scores = _causal(q @ k.mT / root).clamp(min=-1e4)  # finite: the difference of two logarithms is taken below
        log_before, out = scores.log_softmax(dim=-1), cache.head_out(*later)
        before = log_before.exp()
        for earlier in heads:
            # Scores are linear in either side: the path's own part of them is taken off.
            parts = {
                "Q": _read(model, written[earlier], later, "Q") @ k.mT,
                "K": q @ _read(model, written[earlier], later, "K").mT,
            }
            for side, part in parts.items():
                log_after = (scores - part / root).log_softmax(dim=-1)
                divergence = (before * (log_before - log_after)).sum(dim=-1)
                effects[side][earlier, later[1]] = divergence[:, 1:].mean()
            lost = through_head(model, written[earlier], cache.pattern[layer, :, later[1]], *later)
            effects["V"][earlier, later[1]] = lost.norm() / out.norm()
    return effects


def _read(model: AttentionOnlyTransformer, x: Tensor, head: Head, side: str) -> Float[Tensor, "batch pos d_head"]:
    """A head's queries, keys or values of `x`."""
    read = x @ {"Q": model.W_Q, "K": model.W_K, "V": model.W_V}[side][head]
    if side == "K" and model.cfg.smeared_keys:
        read = model.smeared(read.unsqueeze(-3), head[0])[..., head[1], :, :]
    return read


def streams_by_order(
    model: AttentionOnlyTransformer,
    tokens: Int[Tensor, "batch pos"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> list[Float[Tensor, "batch pos d_model"]]:
    """The final stream with the terms of order 0 (the direct path), up to 1 (single heads), up to 2 (virtual heads) …

    The paper's algorithm, patterns frozen: at step n every layer reads the embedding and what the layers before it
    wrote at step n − 1; at step 0 no head writes anything.
    """
    check_tokens(tokens, model.cfg)
    check_pattern(model, tokens, pattern)
    embedding, layers = model.W_E[tokens], range(model.cfg.n_layers)
    written, streams = [torch.zeros_like(embedding) for _ in layers], [embedding]
    for _ in layers:
        reads = [embedding + sum(written[:layer]) for layer in layers]
        written = [layer_output(model, reads[layer], pattern, layer) for layer in layers]
        streams.append(embedding + sum(written))
    return streams


def layer_output(
    model: AttentionOnlyTransformer,
    x: Float[Tensor, "batch pos d_model"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
    layer: int,
) -> Float[Tensor, "batch pos d_model"]:
    """What all heads of a layer together write when they read `x`, patterns as given."""
    check_stream(x, model.cfg)
    check_pattern(model, x[..., 0], pattern)
    check_integer("layer", layer, 0, model.cfg.n_layers - 1)
    return sum(through_head(model, x, pattern[layer, :, head], layer, head) for head in range(model.cfg.n_heads))


def stream_loss(
    model: AttentionOnlyTransformer, stream: Float[Tensor, "batch pos d_model"], tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, " batch"]:
    """Mean loss of each context, in nats, when `stream` is unembedded; the prediction at position 0 is left out."""
    check_stream(stream, model.cfg)
    check_tokens(tokens, model.cfg)
    if stream.shape[:2] != tokens.shape or tokens.shape[1] < 3:
        rule = "they must be of one batch and length, of 3 tokens at least"
        raise CourseError(f"a stream {list(stream.shape)} and tokens {list(tokens.shape)}", rule, "cut both alike")
    losses = [
        F.cross_entropy(x[1:-1] @ model.W_U, answers[2:]) for x, answers in zip(stream, tokens.long(), strict=True)
    ]  # one context at a time: the logits of many would fill the memory
    return torch.stack(losses)


def _causal(scores: Float[Tensor, "... query key"]) -> Float[Tensor, "... query key"]:
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(future, float("-inf"))


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
