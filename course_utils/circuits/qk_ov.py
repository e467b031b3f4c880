"""A head's two circuits: where it looks (QK) and what a look does (OV), whatever the text.

Follows [E21], "Splitting Attention Head Terms into Circuits". Rows are multiplied: `ov_circuit` is [source token,
output token] and `qk_circuit` is [destination token, source token]; neither is multiplied out unless asked.
"""

import copy
from typing import Annotated

import torch
from jaxtyping import Inexact
from torch import Tensor

from course_utils.checked import check, checked, within
from course_utils.config import AnyModel, HeadNumber, Layer, Step
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer


@checked
def W_QK(model: AnyModel, layer: Layer, head: HeadNumber | None = None) -> FactoredMatrix:
    """W_Q W_Kᵀ [d_model query side, d_model key side]: where a head looks. Of all heads: [n_heads, …]."""
    at = _place(layer, head)
    return FactoredMatrix(model.W_Q[at], model.W_K[at].mT)


@checked
def W_OV(model: AnyModel, layer: Layer, head: HeadNumber | None = None) -> FactoredMatrix:
    """W_V W_O [d_model source side, d_model output side]: what a look does (the paper's W_OV, transposed).

    Of all heads: [n_heads, …].
    """
    at = _place(layer, head)
    return FactoredMatrix(model.W_V[at], model.W_O[at])


@checked
def qk_circuit(model: AnyModel, layer: Layer, head: HeadNumber, centred: bool = False) -> FactoredMatrix:
    """W_E W_Q W_Kᵀ W_Eᵀ [destination token, source token]; divide by √d_head for scores.

    `centred` takes each row's mean over the source tokens off: a constant added to all scores of one query changes
    nothing that the model does.
    """
    keys = centre(model.W_E, dim=0) if centred else model.W_E
    return model.W_E @ W_QK(model, layer, head) @ keys.T


@checked
def ov_circuit(model: AnyModel, layer: Layer, head: HeadNumber, centred: bool = False) -> FactoredMatrix:
    """W_E W_V W_O W_U [source token, output token]: the logits that full attention to the source adds.

    `centred` takes each row's mean over the output tokens off: a constant added to all logits changes nothing.
    """
    return model.W_E @ W_OV(model, layer, head) @ (centre(model.W_U, dim=1) if centred else model.W_U)


@checked
def centre(values: Annotated[Inexact[Tensor, "..."], "pass e.g. model.W_U"], dim: int) -> Tensor:
    """The values less their mean along `dim`."""
    check("dim", dim, Annotated[int, within(-values.ndim, values.ndim - 1)])
    return values - values.mean(dim, keepdim=True)


@checked
def random_heads(model: AnyModel, seed: Step = 0) -> AttentionOnlyTransformer:
    """The random baseline: the same embeddings and unembedding, and heads drawn at random.

    W_Q, W_K, W_V and W_O are Gaussian, and each has the Frobenius norm that it has in `model`.
    """
    baseline, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (baseline.W_Q, baseline.W_K, baseline.W_V, baseline.W_O):
            norm = weight.norm(dim=(-2, -1), keepdim=True)
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
            weight.copy_(drawn * norm / drawn.norm(dim=(-2, -1), keepdim=True))
    return baseline


def _place(layer: int, head: int | None) -> tuple[int, ...]:
    return (layer,) if head is None else (layer, head)
