"""Circuits: what a head's weights say, whatever the text, and a model as the sum of its paths.

Follows [E21], "The Path Expansion Trick", "Splitting Attention Head Terms into Circuits", "Summarizing OV/QK Matrices"
and "Composition". Pure functions. Rows are multiplied: `ov_circuit` is [source token, output token] and `qk_circuit`
is [destination token, source token], and neither is multiplied out unless asked.
"""

import copy
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.errors import CourseError, check_integer, check_titled, check_type, is_integer
from course_utils.factored import FactoredMatrix, check_product
from course_utils.model import AttentionOnlyTransformer, Cache, check_head, check_model, check_stream, check_tokens


def W_QK(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_Q W_Kᵀ [d_model query side, d_model key side]: where a head looks."""
    check_model(model)
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, head)
    return FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)


def W_OV(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_V W_O [d_model source side, d_model output side]: what a look does (the paper's W_OV, transposed)."""
    check_model(model)
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, head)
    return FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])


def qk_circuit(model: AttentionOnlyTransformer, layer: int, head: int, centred: bool = False) -> FactoredMatrix:
    """W_E W_Q W_Kᵀ W_Eᵀ [destination token, source token]; divide by √d_head for scores.

    `centred` takes each row's mean over the source tokens off: a constant added to all scores of one query changes
    nothing that the model does.
    """
    keys = centre(model.W_E, dim=0) if centred else model.W_E
    return model.W_E @ W_QK(model, layer, head) @ keys.T


def qk_circuit_through(
    model: AttentionOnlyTransformer, later: tuple[int, int], earlier: tuple[int, int], centred: bool = False
) -> FactoredMatrix:
    """W_E W_QK² (W_E W_OV¹)ᵀ [destination token, token that the earlier head carried into the key]: K-composition.

    The term Id ⊗ A ⊗ W of the later head's scores ([E21], "Path Expansion of Attention Scores QK Circuit"): what it
    looks for among the tokens that the earlier head has moved. `centred` as in `qk_circuit`.
    """
    for head in (later, earlier):
        check_pair(head)
    carried = (centre(model.W_E, dim=0) if centred else model.W_E) @ W_OV(model, *earlier)
    return model.W_E @ W_QK(model, *later) @ carried.T


def ov_circuit(model: AttentionOnlyTransformer, layer: int, head: int, centred: bool = False) -> FactoredMatrix:
    """W_E W_V W_O W_U [source token, output token]: the logits that full attention to the source adds.

    `centred` takes each row's mean over the output tokens off: a constant added to all logits changes nothing.
    """
    return model.W_E @ W_OV(model, layer, head) @ (centre(model.W_U, dim=1) if centred else model.W_U)


def centre(values: Tensor, dim: int) -> Tensor:
    """The values less their mean along `dim`."""
    if not isinstance(values, Tensor) or not (values.is_floating_point() or values.is_complex()) or not values.ndim:
        rule = "they must be a tensor of floating point numbers"
        raise CourseError(f"values of type {type(values).__name__}", rule, "pass e.g. model.W_U")
    check_integer("dim", dim, -values.ndim, values.ndim - 1)
    return values - values.mean(dim, keepdim=True)


def positivity(eigenvalues: Tensor) -> Float[Tensor, "..."]:
    """Σλ / Σ|λ| over the last axis: 1 if all eigenvalues are positive, −1 if all are negative ([E21], Fig. 16).

    For eigenvalues of a real matrix, whose sum is real. Without any but zeros it is 0.
    """
    if not isinstance(eigenvalues, Tensor) or not (eigenvalues.is_floating_point() or eigenvalues.is_complex()):
        rule = "they must be a tensor of real or complex numbers"
        raise CourseError(f"eigenvalues of type {type(eigenvalues).__name__}", rule, "see FactoredMatrix.eigenvalues")
    total = eigenvalues.abs().sum(-1)
    return torch.where(total > 0, eigenvalues.sum(-1).real / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)


def random_heads(model: AttentionOnlyTransformer, seed: int = 0) -> AttentionOnlyTransformer:
    """The random baseline: the same embeddings and unembedding, and heads drawn at random.

    W_Q, W_K, W_V and W_O are Gaussian, and each has the Frobenius norm that it has in `model`.
    """
    check_model(model)
    check_integer("seed", seed)
    baseline, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (baseline.W_Q, baseline.W_K, baseline.W_V, baseline.W_O):
            norm = weight.norm(dim=(-2, -1), keepdim=True)
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
            weight.copy_(drawn * norm / drawn.norm(dim=(-2, -1), keepdim=True))
    return baseline


Path = tuple[tuple[int, int], ...]  # the heads, (layer, head), that a path runs through; () is the direct path


def path_expansion(
    model: AttentionOnlyTransformer,
    tokens: Int[Tensor, "batch pos"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> Iterator[tuple[Path, Float[Tensor, "batch pos d_model"]]]:
    """Each path through the model, and what it adds to the final stream while the patterns are as given.

    One layer: the direct path and n_heads more. Two: also the n_heads² virtual heads. L layers: (1 + n_heads)^L.
    Times W_U, the terms sum to the logits. They come one by one: all logits of two layers would fill the memory.
    """
    check_tokens(tokens, model.cfg)
    check_pattern(model, tokens, pattern)

    def onward(path: Path, x: Tensor, layer: int) -> Iterator[tuple[Path, Tensor]]:
        yield path, x
        for later in range(layer, model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                moved = through_head(model, x, pattern[later, :, head], later, head)
                yield from onward((*path, (later, head)), moved, later + 1)

    yield from onward((), model.W_E[tokens], 0)


def through_head(
    model: AttentionOnlyTransformer,
    x: Float[Tensor, "batch pos d_model"],
    pattern: Float[Tensor, "batch query key"],
    layer: int,
    head: int,
) -> Float[Tensor, "batch pos d_model"]:
    """(A ⊗ W_OV) x: averaged over positions by the pattern, mapped at each position by W_V W_O."""
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, head)
    if x.shape[-1:] != (model.cfg.d_model,) or pattern.shape[-1:] != x.shape[-2:-1]:
        rule = f"they must be [..., pos, {model.cfg.d_model}] and [..., query, key], with as many keys as positions"
        raise CourseError(
            f"a stream {list(x.shape)} and a pattern {list(pattern.shape)}", rule, "take them of one cache"
        )
    return pattern @ (x @ model.W_V[layer, head]) @ model.W_O[layer, head]


def frozen(
    model: AttentionOnlyTransformer,
    x: Float[Tensor, "batch pos d_model"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> Float[Tensor, "batch pos d_model"]:
    """The final stream of a run that starts with the stream `x` and whose patterns are as given: linear in `x`."""
    check_stream(x, model.cfg)
    check_pattern(model, x[..., 0], pattern)
    for layer in range(model.cfg.n_layers):
        heads = range(model.cfg.n_heads)
        x = x + sum(through_head(model, x, pattern[layer, :, head], layer, head) for head in heads)
    return x


def score_terms(
    model: AttentionOnlyTransformer, resid_parts: dict[str, Float[Tensor, "batch pos d_model"]], layer: int, head: int
) -> Float[Tensor, "query_part key_part batch query key"]:
    """A head's scores as a sum: the term of each part of what queries read with each part of what keys read.

    `resid_parts`: what the stream before this layer is the sum of, from `stream_parts`, positions included. Divided
    by √d_head; later keys are not masked.
    """
    check_model(model)
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, head)
    check_titled("resid_parts", resid_parts)
    for part in resid_parts.values():
        check_stream(part, model.cfg)
    if len({part.shape for part in resid_parts.values()}) > 1:
        shapes = [list(part.shape) for part in resid_parts.values()]
        raise CourseError(f"parts of shapes {shapes}", "they must be of one shape", "take them from stream_parts")
    parts = torch.stack(list(resid_parts.values()))
    q, k = parts @ model.W_Q[layer, head], parts @ model.W_K[layer, head]
    if model.cfg.smeared_keys:
        k = model.smeared(k.unsqueeze(-3), layer)[..., head, :, :]
    return torch.einsum("ibqd,jbkd->ijbqk", q, k) / model.cfg.d_head**0.5


def stream_parts(
    model: AttentionOnlyTransformer, cache: Cache, layer: int
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """What queries and keys of `layer` read, part by part: "token", "position", then each earlier head, "0.0" …"""
    check_type("cache", cache, Cache, "pass the second value of model.run_with_cache(tokens)")
    check_integer("layer", layer, 0, model.cfg.n_layers)
    token = cache.resid[0]
    position = model.W_pos[: token.shape[1]].expand_as(token)
    heads = [(earlier, head) for earlier in range(layer) for head in range(model.cfg.n_heads)]
    return {"token": token, "position": position} | {f"{at}.{head}": cache.head_out(at, head) for at, head in heads}


def composition_scores(model: AttentionOnlyTransformer, layer: int = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """K-, Q- and V-composition of each head of `layer` with each head of the layer before, baseline not subtracted.

    K ‖W_QK² (W_OV¹)ᵀ‖, Q ‖W_OV¹ W_QK²‖, V ‖W_OV¹ W_OV²‖, Frobenius, each over the product of the two norms.
    """
    check_model(model)
    if not is_integer(layer) or not 1 <= layer < model.cfg.n_layers:
        rule = f"it must have a layer before it, of {model.cfg.n_layers} in all"
        raise CourseError(f"layer {layer}", rule, "use a model of two layers and layer=1")
    heads = range(model.cfg.n_heads)
    earlier = [W_OV(model, layer - 1, h) for h in heads]
    reads = {
        "K": [W_QK(model, layer, h).T for h in heads],  # ‖W_QK² (W_OV¹)ᵀ‖ = ‖W_OV¹ (W_QK²)ᵀ‖
        "Q": [W_QK(model, layer, h) for h in heads],
        "V": [W_OV(model, layer, h) for h in heads],
    }
    return {
        kind: torch.stack([torch.stack([composition(a, b) for b in later]) for a in earlier])
        for kind, later in reads.items()
    }


def composition_baseline(model: AttentionOnlyTransformer, draws: int = 4, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of `composition_scores` when all heads are random: what two strangers score.

    The matrices are products of Gaussian factors, so of the same shapes and ranks as the model's. About 1 / √d_model.
    """
    check_integer("draws", draws, 1)
    drawn = (composition_scores(random_heads(model, seed + draw)) for draw in range(draws))
    scores = torch.stack([torch.stack(list(by_kind.values())) for by_kind in drawn])
    return scores.mean().item(), scores.std().item()


def composition(first: FactoredMatrix, then: FactoredMatrix) -> Float[Tensor, ""]:
    """‖first @ then‖ / (‖first‖ ‖then‖), Frobenius: how much of what is written is read."""
    for matrix in (first, then):
        check_type("a matrix", matrix, (FactoredMatrix, Tensor), "pass e.g. W_OV(model, 0, 3)")
    check_product(first, then)
    return (first @ then).norm() / (first.norm() * then.norm())


def check_pattern(model: AttentionOnlyTransformer, tokens: Tensor, pattern: Tensor) -> None:
    """Raise CourseError unless `pattern` is what all heads of the model have on tokens of this shape."""
    check_type("pattern", pattern, Tensor, "take cache.pattern of run_with_cache")
    want = [model.cfg.n_layers, len(tokens), model.cfg.n_heads, tokens.shape[1], tokens.shape[1]]
    if list(pattern.shape) != want:
        rule = f"for these tokens they must be [n_layers, batch, n_heads, query, key] = {want}"
        raise CourseError(f"patterns of shape {list(pattern.shape)}", rule, "take cache.pattern of run_with_cache")


def check_pair(head) -> None:
    """Raise CourseError unless `head` is two integers, (layer, head)."""
    if not isinstance(head, tuple | list) or len(head) != 2 or not all(map(is_integer, head)):
        raise CourseError(f"head {head!r}", "a head is two numbers, (layer, head)", "write e.g. (1, 6)")
