"""A head as a Kronecker product A ⊗ W_OV: A moves between positions, W_OV acts at each ([E21], "Attention Heads …")."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from course_utils.checked import checked
from course_utils.config import AnyModel, HeadNumber, Layer, Stream

HeadPattern = Annotated[Float[Tensor, "batch pos pos"], "take cache.pattern[layer, :, head] of the same run"]


@checked
def through_head(model: AnyModel, x: Stream, pattern: HeadPattern, layer: Layer, head: HeadNumber) -> Stream:
    """(A ⊗ W_OV) x: averaged over positions by the pattern, mapped at each position by W_V W_O."""
    return pattern @ (x @ model.W_V[layer, head]) @ model.W_O[layer, head]
