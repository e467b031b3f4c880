"""Q-, K- and V-composition: how much of what one head writes another reads ([E21], "Composition")."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.circuits.qk_ov import W_OV, random_heads
from course_utils.circuits.virtual_weights import reading
from course_utils.errors import CourseError, check_integer, check_type, is_integer
from course_utils.factored import FactoredMatrix, check_product
from course_utils.model import AttentionOnlyTransformer, check_model


def composition_scores(model: AttentionOnlyTransformer, layer: int = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """K-, Q- and V-composition of each head of `layer` with each head of the layer before, baseline not subtracted.

    K ‖W_QK² (W_OV¹)ᵀ‖, Q ‖W_OV¹ W_QK²‖, V ‖W_OV¹ W_OV²‖, Frobenius, each over the product of the two norms.
    """
    check_model(model)
    if not is_integer(layer) or not 1 <= layer < model.cfg.n_layers:
        rule = f"it must have a layer before it, of {model.cfg.n_layers} in all"
        raise CourseError(f"layer {layer}", rule, "use a model of two layers and layer=1")
    written = W_OV(model, layer - 1)[:, None]  # [earlier head, 1, ...]
    return {side: composition(written, read) for side, read in reading(model, layer).items()}


def composition_baseline(model: AttentionOnlyTransformer, draws: int = 4, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of `composition_scores` when all heads are random: what two strangers score.

    The matrices are products of Gaussian factors, so of the same shapes and ranks as the model's. About 1 / √d_model.
    """
    check_integer("draws", draws, 1)
    drawn = (composition_scores(random_heads(model, seed + draw)) for draw in range(draws))
    scores = torch.stack([torch.stack(list(by_kind.values())) for by_kind in drawn])
    return scores.mean().item(), scores.std().item()


def composition(first: FactoredMatrix, then: FactoredMatrix) -> Float[Tensor, "*batch"]:
    """‖first @ then‖ / (‖first‖ ‖then‖), Frobenius: how much of what is written is read."""
    for matrix in (first, then):
        check_type("a matrix", matrix, (FactoredMatrix, Tensor), "pass e.g. W_OV(model, 0, 3)")
    check_product(first, then)
    return (first @ then).norm() / (first.norm() * then.norm())
