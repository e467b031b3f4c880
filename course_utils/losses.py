"""Losses, all in nats. The prediction made at position 0, from the start token alone, is left out of every mean."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer, check_stream, check_tokens


def stream_loss(
    model: AttentionOnlyTransformer, stream: Float[Tensor, "batch pos d_model"], tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, " batch"]:
    """Mean loss of each context, in nats, when `stream` is unembedded; the prediction at position 0 is left out."""
    check_stream(stream, model.cfg)
    check_tokens(tokens, model.cfg, model.W_E.device)
    if stream.shape[:2] != tokens.shape or tokens.shape[1] < 3:
        rule = "they must be of one batch and length, of 3 tokens at least"
        raise CourseError(f"a stream {list(stream.shape)} and tokens {list(tokens.shape)}", rule, "cut both alike")
    losses = [
        F.cross_entropy(x[1:-1] @ model.W_U, answers[2:]) for x, answers in zip(stream, tokens.long(), strict=True)
    ]  # one context at a time: the logits of many would fill the memory
    return torch.stack(losses)
