"""Term importance: what each order of terms is worth, patterns frozen ([E21], "Term Importance Analysis")."""

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import checked
from course_utils.circuits import layer_output
from course_utils.config import AnyModel, Pattern, Stream, Tokens

Resid = Annotated[Float[Tensor, "n_layers_plus_1 batch pos d_model"], "take cache.resid of run_with_cache"]


@checked
def streams_by_order(model: AnyModel, tokens: Tokens, pattern: Pattern, resid: Resid | None = None) -> list[Stream]:
    """The final stream with the terms of order 0 (the direct path), up to 1 (single heads), up to 2 (virtual heads) …

    The paper's algorithm, patterns frozen: at step n every layer reads the embedding and what the layers before it
    wrote at step n − 1; at step 0 no head writes anything. With `resid`, the streams of the whole run, norms keep the
    scales that they have there (chapter 11).
    """
    embedding, layers = model.embed(tokens), range(model.cfg.n_layers)
    written, streams = [torch.zeros_like(embedding) for _ in layers], [embedding]
    for _ in layers:
        reads = [embedding + sum(written[:layer]) for layer in layers]
        whole = [None] * len(layers) if resid is None else resid
        written = [layer_output(model, reads[layer], pattern, layer, whole[layer]) for layer in layers]
        streams.append(embedding + sum(written))
    return streams
