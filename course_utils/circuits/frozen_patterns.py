"""The model with its attention patterns held as they are: it is linear ([E21], "Freezing Attention Patterns")."""

from course_utils.checked import checked
from course_utils.config import AnyModel, Layer, Pattern, Stream


@checked
def frozen(model: AnyModel, x: Stream, pattern: Pattern) -> Stream:
    """The final stream of a run that starts with the stream `x` and whose patterns are as given: linear in `x`."""
    for layer in range(model.cfg.n_layers):
        x = x + layer_output(model, x, pattern, layer)
    return x


@checked
def layer_output(model: AnyModel, x: Stream, pattern: Pattern, layer: Layer, part_of: Stream | None = None) -> Stream:
    """What all heads of a layer together write when they read `x`, patterns as given; of a part as `model.read`."""
    return model.write(pattern[layer] @ model.read(x, layer, "v", part_of=part_of), layer)
