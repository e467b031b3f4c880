"""Circuits: what a head's weights say, whatever the text ([E21], "QK and OV circuits", "composition").

Pure functions of the weights. Rows are multiplied: `ov_circuit` is [source token, output token] and `qk_circuit` is
[destination token, source token], and neither is multiplied out unless asked.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer


def W_QK(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_Q W_Kᵀ [d_model query side, d_model key side]: where a head looks."""
    _check_head(model, layer, head)
    return FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)


def W_OV(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_V W_O [d_model source side, d_model output side]: what a look does (the paper's W_OV, transposed)."""
    _check_head(model, layer, head)
    return FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])


def qk_circuit(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_E W_Q W_Kᵀ W_Eᵀ [destination token, source token]; divide by √d_head for scores."""
    return model.W_E @ W_QK(model, layer, head) @ model.W_E.T


def ov_circuit(model: AttentionOnlyTransformer, layer: int, head: int) -> FactoredMatrix:
    """W_E W_V W_O W_U [source token, output token]: the logits that full attention to the source adds."""
    return model.W_E @ W_OV(model, layer, head) @ model.W_U


def composition_scores(model: AttentionOnlyTransformer, layer: int = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """K-, Q- and V-composition of each head of `layer` with each head of the layer before, baseline not subtracted.

    K ‖W_QK² (W_OV¹)ᵀ‖, Q ‖W_OV¹ W_QK²‖, V ‖W_OV¹ W_OV²‖, Frobenius, each over the product of the two norms.
    """
    if not 1 <= layer < model.cfg.n_layers:
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


def composition(first: FactoredMatrix, then: FactoredMatrix) -> Float[Tensor, ""]:
    """‖first @ then‖ / (‖first‖ ‖then‖), Frobenius: how much of what is written is read."""
    return (first @ then).norm() / (first.norm() * then.norm())


def _check_head(model: AttentionOnlyTransformer, layer: int, head: int) -> None:
    cfg = model.cfg
    if not (0 <= layer < cfg.n_layers and 0 <= head < cfg.n_heads):
        rule = f"this model has layers 0 to {cfg.n_layers - 1} and heads 0 to {cfg.n_heads - 1}"
        raise CourseError(
            f"head {layer}.{head}", rule if cfg.n_layers else "this model has no heads", "choose one of these"
        )
