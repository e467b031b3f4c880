"""The model with its attention patterns held as they are: it is linear ([E21], "Freezing Attention Patterns")."""

from jaxtyping import Float
from torch import Tensor

from course_utils.errors import CourseError, check_integer, check_type
from course_utils.model import AttentionOnlyTransformer, check_stream


def frozen(
    model: AttentionOnlyTransformer,
    x: Float[Tensor, "batch pos d_model"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> Float[Tensor, "batch pos d_model"]:
    """The final stream of a run that starts with the stream `x` and whose patterns are as given: linear in `x`."""
    check_stream(x, model.cfg)
    check_pattern(model, x[..., 0], pattern)
    for layer in range(model.cfg.n_layers):
        x = x + model.write(pattern[layer] @ model.read(x, layer, "v"), layer)
    return x


def layer_output(
    model: AttentionOnlyTransformer,
    x: Float[Tensor, "batch pos d_model"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
    layer: int,
) -> Float[Tensor, "batch pos d_model"]:
    """What all heads of a layer together write when they read `x`, patterns as given."""
    check_stream(x, model.cfg)
    check_pattern(model, x[..., 0], pattern)
    check_integer("layer", layer, 0, model.cfg.n_layers - 1)
    return model.write(pattern[layer] @ model.read(x, layer, "v"), layer)


def check_pattern(model: AttentionOnlyTransformer, tokens: Tensor, pattern: Tensor) -> None:
    """Raise CourseError unless `pattern` is what all heads of the model have on tokens of this shape."""
    check_type("pattern", pattern, Tensor, "take cache.pattern of run_with_cache")
    want = [model.cfg.n_layers, len(tokens), model.cfg.n_heads, tokens.shape[1], tokens.shape[1]]
    if list(pattern.shape) != want:
        rule = f"for these tokens they must be [n_layers, batch, n_heads, query, key] = {want}"
        raise CourseError(f"patterns of shape {list(pattern.shape)}", rule, "take cache.pattern of run_with_cache")
