"""Parts of an induction circuit held as they should become, while the rest is trained (chapter 10).

After Singh et al. (2024), who ask in this way what an induction head waits for. Of a two-layer model, in training:

    "previous"  head 0.0 looks at the token before
    "match"     head 1.0 looks where a key that is made of what head 0.0 looks at equals its own token
    "copy"      head 1.0 raises the logit of each token by its attention to it, and does nothing else

With "match" the head's pattern is right only as far as head 0.0 looks back; with both it is right from the start.
"""

from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.model import AttentionOnlyTransformer, Cache, Edit

Part = Literal["previous", "match", "copy"]
SHARPNESS = 8.0  # of a perfect match, in scores; the start token, where a head rests, has half of it
GAIN = 8.0  # of a full look, in logits


def run(
    model: AttentionOnlyTransformer, tokens: Int[Tensor, "batch pos"], parts: Collection[Part]
) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
    """Logits and cache of a run in which these parts are held."""
    same = F.one_hot(tokens, model.cfg.d_vocab).to(model.W_E)  # [batch, pos, d_vocab]
    logits, cache = model.run_with_cache(tokens, _held(parts, same))
    return (logits + GAIN * cache.pattern[1, :, 0] @ same if "copy" in parts else logits), cache


def _held(parts: Collection[Part], same: Tensor) -> Edit:
    def edit(name: str, value: Tensor, layer: int, cache: Cache) -> Tensor:
        part = {("pattern", 0): "previous", ("pattern", 1): "match", ("z", 1): "copy"}.get((name, layer))
        if part not in parts:
            return value
        held = {"previous": _one_back, "match": _matching, "copy": lambda z, *_: torch.zeros_like(z[:, 0])}[part]
        return torch.cat([held(value, cache, same)[:, None], value[:, 1:]], dim=1)

    return edit


def _one_back(pattern: Tensor, *_) -> Tensor:
    back = torch.eye(pattern.shape[-1], dtype=pattern.dtype).roll(-1, dims=1).tril()
    back[0, 0] = 1  # the first has none before it
    return back.expand_as(pattern[:, 0])


def _matching(pattern: Tensor, cache: Cache, same: Tensor) -> Tensor:
    carried = cache.pattern[0][:, 0] @ same  # [batch, key, d_vocab]: what head 0.0 looks at
    scores = SHARPNESS * same @ carried.mT
    scores[..., 0] = SHARPNESS / 2
    return scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), float("-inf")).softmax(dim=-1)
