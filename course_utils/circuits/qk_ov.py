"""A head's two circuits: where it looks (QK) and what a look does (OV), whatever the text.

Follows [E21], "Splitting Attention Head Terms into Circuits". Rows are multiplied: `ov_circuit` is [source token,
output token] and `qk_circuit` is [destination token, source token]; neither is multiplied out unless asked.
"""

import copy

import torch
from torch import Tensor

from course_utils.errors import CourseError, check_integer
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer, check_head, check_model

ALL = slice(None)  # all heads of a layer at once


def W_QK(model: AttentionOnlyTransformer, layer: int, head: int | slice = ALL) -> FactoredMatrix:
    """W_Q W_Kᵀ [d_model query side, d_model key side]: where a head looks. Of all heads: [n_heads, …]."""
    _check(model, layer, head)
    return FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].mT)


def W_OV(model: AttentionOnlyTransformer, layer: int, head: int | slice = ALL) -> FactoredMatrix:
    """W_V W_O [d_model source side, d_model output side]: what a look does (the paper's W_OV, transposed).

    Of all heads: [n_heads, …].
    """
    _check(model, layer, head)
    return FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])


def qk_circuit(model: AttentionOnlyTransformer, layer: int, head: int, centred: bool = False) -> FactoredMatrix:
    """W_E W_Q W_Kᵀ W_Eᵀ [destination token, source token]; divide by √d_head for scores.

    `centred` takes each row's mean over the source tokens off: a constant added to all scores of one query changes
    nothing that the model does.
    """
    keys = centre(model.W_E, dim=0) if centred else model.W_E
    return model.W_E @ W_QK(model, layer, head) @ keys.T


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


def _check(model: AttentionOnlyTransformer, layer: int, head: int | slice) -> None:
    check_model(model)
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, 0 if head == ALL else head)
