"""Paths through the model: the direct one, the heads, and heads that compose into virtual heads.

[E21], "The Path Expansion Trick" and "Virtual Attention Heads".
"""

from collections.abc import Iterator

from torch import Tensor

from course_utils.checked import checked
from course_utils.circuits.kronecker import through_head
from course_utils.config import AnyModel, Pattern, Stream, Tokens

# The heads, (layer, head), that a path runs through; () is the direct path.
Heads = tuple[tuple[int, int], ...]


@checked
def path_expansion(model: AnyModel, tokens: Tokens, pattern: Pattern) -> Iterator[tuple[Heads, Stream]]:
    """Each path through the model, and what it adds to the final stream while the patterns are as given.

    One layer: the direct path and n_heads more. Two: also the n_heads² virtual heads. L layers: (1 + n_heads)^L.
    Times W_U, the terms sum to the logits. They come one by one: all logits of two layers would fill the memory.
    """

    def onward(path: Heads, x: Tensor, layer: int) -> Iterator[tuple[Heads, Tensor]]:
        yield path, x
        for later in range(layer, model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                moved = through_head(model, x, pattern[later, :, head], later, head)
                yield from onward((*path, (later, head)), moved, later + 1)

    return onward((), model.embed(tokens), 0)
