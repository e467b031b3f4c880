"""Q-, K- and V-composition: how much of what one head writes another reads ([E21], "Composition")."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import checked
from course_utils.circuits.qk_ov import W_OV, random_heads
from course_utils.circuits.virtual_weights import reading
from course_utils.config import AnyModel, Count, Later, Step
from course_utils.factored import AnyMatrix, check_product


@checked
def composition_scores(model: AnyModel, layer: Later = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """K-, Q- and V-composition of each head of `layer` with each head of the layer before, baseline not subtracted.

    K ‖W_QK² (W_OV¹)ᵀ‖, Q ‖W_OV¹ W_QK²‖, V ‖W_OV¹ W_OV²‖, Frobenius, each over the product of the two norms.
    """
    written = W_OV(model, layer - 1)[:, None]  # [earlier head, 1, ...]
    return {side: composition(written, read) for side, read in reading(model, layer).items()}


@checked
def composition_baseline(model: AnyModel, draws: Count = 4, seed: Step = 0) -> tuple[float, float]:
    """Mean and standard deviation of `composition_scores` when all heads are random: what two strangers score.

    The matrices are products of Gaussian factors, so of the same shapes and ranks as the model's. About 1 / √d_model.
    """
    drawn = (composition_scores(random_heads(model, seed + draw)) for draw in range(draws))
    scores = torch.stack([torch.stack(list(by_kind.values())) for by_kind in drawn])
    return scores.mean().item(), scores.std().item()


@checked
def composition(first: AnyMatrix, then: AnyMatrix) -> Float[Tensor, "*batch"]:
    """‖first @ then‖ / (‖first‖ ‖then‖), Frobenius: how much of what is written is read."""
    check_product(first, then)
    norms = [torch.linalg.matrix_norm(M) if isinstance(M, Tensor) else M.norm() for M in (first @ then, first, then)]
    return norms[0] / (norms[1] * norms[2])
