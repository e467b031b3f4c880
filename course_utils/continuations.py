"""What a model goes on to write, its best guess at each step, with or without some of its heads (chapter 12)."""

from typing import Annotated

import torch
from jaxtyping import Int
from torch import Tensor

from course_utils.checked import check, checked, within
from course_utils.config import AnyModel, Count, Tokens
from course_utils.errors import CourseError
from course_utils.interventions import Heads


@checked
@torch.no_grad()
def continue_greedily(model: AnyModel, tokens: Tokens, steps: Count, ablated: Heads = ()) -> Int[Tensor, "batch steps"]:
    """The likeliest next token, `steps` times. Keys and values are kept: each step reads one token more.

    `ablated`: heads that put out zero. Raises CourseError beyond the model's context.
    """
    check("the length", tokens.shape[1] + steps, Annotated[int, within(1, model.cfg.n_ctx)])
    if getattr(model.cfg, "positions", "read") == "stream" or model.cfg.smeared_keys:
        rule = "one token at a time has neither the place in the stream nor the key before its own"
        raise CourseError("a model with positions in the stream or smeared keys", rule, "use another model")
    kept, written, done = {}, [], 0

    def attend(x: Tensor, layer: int) -> Tensor:
        q, k, v = (model.read(x, layer, side, first=done) for side in "qkv")
        if layer in kept:
            k, v = (torch.cat(pair, dim=-2) for pair in zip(kept[layer], (k, v), strict=True))
        kept[layer] = k, v
        z = model.scores(q, k).softmax(dim=-1) @ v
        z[:, [head for at, head in ablated if at == layer]] = 0
        return z

    for _ in range(steps):
        x = model.run(model.embed(tokens), attend)
        done += tokens.shape[1]
        tokens = model.unembed(x[:, -1]).argmax(dim=-1, keepdim=True)
        written.append(tokens)
    return torch.cat(written, dim=1)
