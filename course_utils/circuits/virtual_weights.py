"""Virtual weights: what joins two heads across the stream ([E21], "Virtual Weights and the Residual Stream …")."""

from course_utils.checked import checked
from course_utils.circuits.qk_ov import W_OV, W_QK
from course_utils.config import AnyModel, Head, HeadNumber, Layer, Side
from course_utils.factored import FactoredMatrix


@checked
def virtual_weights(model: AnyModel, earlier: Head, later: Head, side: Side) -> FactoredMatrix:
    """W_OV¹ W_QK², W_OV¹ (W_QK²)ᵀ or W_OV¹ W_OV² [d_model, d_model]: what `later` reads of what `earlier` writes.

    With its queries ("Q"), keys ("K") or values ("V"). Heads are (layer, head).
    """
    return W_OV(model, *earlier) @ reading(model, *later)[side]


@checked
def reading(model: AnyModel, layer: Layer, head: HeadNumber | None = None) -> dict[str, FactoredMatrix]:
    """What a head, or all of a layer, does with what it reads [d_model, d_model], on each side."""
    W = W_QK(model, layer, head)
    return {"K": W.T, "Q": W, "V": W_OV(model, layer, head)}
