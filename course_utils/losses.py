"""Losses, all in nats. The prediction made at position 0, from the start token alone, is left out of every mean."""

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.checked import check, checked, long, within
from course_utils.config import AnyModel, Count, Stream, Tokens
from course_utils.device import fast_products
from course_utils.model import AttentionOnlyTransformer, check_place

Pairs, Triples = Annotated[Tokens, long("pos", 2)], Annotated[Tokens, long("pos", 3)]
Answers = Annotated[Integer[Tensor, "batch pos"], long("pos", 2), within(below="d_vocab"), "pass what the model read"]


@checked
def token_losses(logits: Float[Tensor, "batch pos d_vocab"], tokens: Answers) -> Float[Tensor, "batch predictions"]:
    """Column p: the loss of the prediction made at position p, of the token at p + 1."""
    rows, answers = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten().long()
    return F.cross_entropy(rows, answers, reduction="none").view(len(tokens), -1)


@checked
@torch.no_grad()
def loss_by_position(model: AnyModel, windows: Pairs, batch: Count = 4) -> Float[Tensor, "n predictions"]:
    """`token_losses` of the model on every window."""
    # Filled in place: small tensors kept from step to step would break up the memory that the logits come back to.
    losses = torch.empty(len(windows), windows.shape[1] - 1, dtype=model.W_E.dtype)
    parts = tqdm(losses.split(batch), desc="loss", leave=False, disable=len(windows) < 1000)
    for rows, tokens in zip(parts, windows.split(batch), strict=True):
        here = tokens.to(model.W_E.device)
        rows.copy_(token_losses(model(here), here))
    return losses


@checked
def mean_loss(model: AnyModel, windows: Triples) -> float:
    """Mean loss over all predictions but those made at position 0, from the start token alone."""
    return loss_by_position(model, windows)[:, 1:].double().mean().item()


@checked
def stream_loss(model: AnyModel, stream: Stream, tokens: Triples) -> Float[Tensor, " batch"]:
    """Mean loss of each context when `stream` is unembedded; the prediction at position 0 is left out."""
    check_place(model, tokens)
    # One context at a time: the logits of many would fill the memory.
    contexts = zip(stream.split(1), tokens.split(1), strict=True)
    return torch.cat([token_losses(model.unembed(x), answers)[:, 1:].mean(1) for x, answers in contexts])


def next_token_loss(
    model: AttentionOnlyTransformer, tokens: Int[Tensor, "batch n_ctx"], chunk: int | None = None
) -> Tensor:
    """Mean loss over all positions but 0: fast products, a float32 softmax, `chunk` rows of logits at a time.

    The tokens are checked where they are and then go to the model's device: from the CPU, where `sample_windows` puts
    them, a step waits for no answer from a GPU. Chunks keep the logits in a CPU's cache, 1 024 rows unless told
    otherwise; a GPU takes them whole. Measured in bf16 on two CPU cores at 4 064 × 384 × 4 096: 72 ms forward and
    backward, against 83 ms for `linear_cross_entropy` (whose loss is then bf16 too) and 243 ms for its own chunks.
    """
    check("tokens", tokens, Triples, {**vars(model.cfg)})
    check("chunk", chunk, Count | None)
    on_gpu = model.W_E.is_cuda
    tokens = tokens.pin_memory() if on_gpu and not tokens.is_cuda else tokens  # else the host waits for their arrival
    tokens = tokens.to(model.W_E.device, non_blocking=on_gpu)
    with fast_products(tokens.device):
        x, target = model.stream(tokens, checked=True)[:, 1:-1].flatten(0, 1), tokens[:, 2:].flatten()
        chunk = chunk or (len(x) if x.is_cuda else 1024)
        total = x.new_zeros((), dtype=torch.float32)
        for rows, answers in zip(x.split(chunk), target.split(chunk), strict=True):
            total = total + F.cross_entropy(model.unembed(rows).float(), answers, reduction="sum")
    return total / len(target)
