"""Paths through the model: the direct one, the heads, and heads that compose into virtual heads.

[E21], "The Path Expansion Trick" and "Virtual Attention Heads".
"""

from collections.abc import Iterator

from jaxtyping import Float, Int
from torch import Tensor

from course_utils.circuits.frozen_patterns import check_pattern
from course_utils.circuits.kronecker import through_head
from course_utils.model import AttentionOnlyTransformer, check_tokens

# The heads, (layer, head), that a path runs through; () is the direct path.
Heads = tuple[tuple[int, int], ...]


def path_expansion(
    model: AttentionOnlyTransformer,
    tokens: Int[Tensor, "batch pos"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> Iterator[tuple[Heads, Float[Tensor, "batch pos d_model"]]]:
    """Each path through the model, and what it adds to the final stream while the patterns are as given.

    One layer: the direct path and n_heads more. Two: also the n_heads² virtual heads. L layers: (1 + n_heads)^L.
    Times W_U, the terms sum to the logits. They come one by one: all logits of two layers would fill the memory.
    """
    check_tokens(tokens, model.cfg, model.W_E.device)
    check_pattern(model, tokens, pattern)

    def onward(path: Heads, x: Tensor, layer: int) -> Iterator[tuple[Heads, Tensor]]:
        yield path, x
        for later in range(layer, model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                moved = through_head(model, x, pattern[later, :, head], later, head)
                yield from onward((*path, (later, head)), moved, later + 1)

    yield from onward((), model.W_E[tokens], 0)
