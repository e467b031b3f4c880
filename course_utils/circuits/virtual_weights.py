"""Virtual weights: what joins two heads across the stream ([E21], "Virtual Weights and the Residual Stream …")."""

from course_utils.circuits.qk_ov import ALL, W_OV, W_QK
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer

SIDES = "QKV"


def virtual_weights(
    model: AttentionOnlyTransformer, earlier: tuple[int, int], later: tuple[int, int], side: str
) -> FactoredMatrix:
    """W_OV¹ W_QK², W_OV¹ (W_QK²)ᵀ or W_OV¹ W_OV² [d_model, d_model]: what `later` reads of what `earlier` writes.

    With its queries ("Q"), keys ("K") or values ("V"). Heads are (layer, head).
    """
    if side not in tuple(SIDES):
        raise CourseError(f"side {side!r}", f"a head reads on one of {', '.join(SIDES)}", "use 'Q', 'K' or 'V'")
    return W_OV(model, *earlier) @ reading(model, *later)[side]


def reading(model: AttentionOnlyTransformer, layer: int, head: int | slice = ALL) -> dict[str, FactoredMatrix]:
    """What a head, or all of a layer, does with what it reads [d_model, d_model], on each side."""
    W = W_QK(model, layer, head)
    return {"K": W.T, "Q": W, "V": W_OV(model, layer, head)}
