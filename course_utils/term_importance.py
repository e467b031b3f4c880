"""Term importance: what each order of terms is worth, patterns frozen ([E21], "Term Importance Analysis")."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.circuits import check_pattern, layer_output
from course_utils.model import AttentionOnlyTransformer, check_tokens


def streams_by_order(
    model: AttentionOnlyTransformer,
    tokens: Int[Tensor, "batch pos"],
    pattern: Float[Tensor, "n_layers batch n_heads query key"],
) -> list[Float[Tensor, "batch pos d_model"]]:
    """The final stream with the terms of order 0 (the direct path), up to 1 (single heads), up to 2 (virtual heads) …

    The paper's algorithm, patterns frozen: at step n every layer reads the embedding and what the layers before it
    wrote at step n − 1; at step 0 no head writes anything.
    """
    check_tokens(tokens, model.cfg, model.W_E.device)
    check_pattern(model, tokens, pattern)
    embedding, layers = model.W_E[tokens], range(model.cfg.n_layers)
    written, streams = [torch.zeros_like(embedding) for _ in layers], [embedding]
    for _ in layers:
        reads = [embedding + sum(written[:layer]) for layer in layers]
        written = [layer_output(model, reads[layer], pattern, layer) for layer in layers]
        streams.append(embedding + sum(written))
    return streams
