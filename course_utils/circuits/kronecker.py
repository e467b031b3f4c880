"""A head as a Kronecker product A ⊗ W_OV: A moves between positions, W_OV acts at each ([E21], "Attention Heads …")."""

from jaxtyping import Float
from torch import Tensor

from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer, check_head


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
