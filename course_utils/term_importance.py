"""Term importance: what each order of terms is worth, patterns frozen ([E21], "Term Importance Analysis")."""

import torch

from course_utils.checked import checked
from course_utils.circuits import layer_output
from course_utils.config import AnyModel, Pattern, Stream, Tokens


@checked
def streams_by_order(model: AnyModel, tokens: Tokens, pattern: Pattern) -> list[Stream]:
    """The final stream with the terms of order 0 (the direct path), up to 1 (single heads), up to 2 (virtual heads) …

    The paper's algorithm, patterns frozen: at step n every layer reads the embedding and what the layers before it
    wrote at step n − 1; at step 0 no head writes anything.
    """
    embedding, layers = model.embed(tokens), range(model.cfg.n_layers)
    written, streams = [torch.zeros_like(embedding) for _ in layers], [embedding]
    for _ in layers:
        reads = [embedding + sum(written[:layer]) for layer in layers]
        written = [layer_output(model, reads[layer], pattern, layer) for layer in layers]
        streams.append(embedding + sum(written))
    return streams
