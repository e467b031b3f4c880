"""What heads and models do, measured by behaviour: the scores of [O22], and losses by position.

Definitions and their pitfalls stand in the appendix on notation. All losses are in nats.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.corpus import common_tokens
from course_utils.device import to_numpy
from course_utils.errors import CourseError, check_integer, check_type, is_integer
from course_utils.model import AttentionOnlyTransformer, check_model

EARLY, LATE = slice(32, 64), slice(192, 255)  # positions that the in-context score compares, at context 256


@torch.no_grad()
def loss_by_position(
    model: AttentionOnlyTransformer, windows: Int[Tensor, "n n_ctx"], batch: int = 4
) -> Float[Tensor, "n n_ctx_minus_1"]:
    """Column p: the loss of the prediction made at position p, of the token at p + 1."""
    batches = _batches(model, windows, batch)
    # Filled in place: small tensors kept from step to step would break up the memory that the logits come back to.
    losses = torch.empty(len(windows), windows.shape[1] - 1, dtype=model.W_E.dtype)
    parts = tqdm(losses.split(batch), desc="loss", leave=False, disable=len(windows) < 1000)
    for rows, tokens in zip(parts, batches, strict=True):
        logits, answers = model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        rows.copy_(F.cross_entropy(logits, answers, reduction="none").view(rows.shape))
    return losses


def mean_loss(model: AttentionOnlyTransformer, windows: Int[Tensor, "n n_ctx"]) -> float:
    """Mean loss over all predictions but those made at position 0, from the start token alone."""
    _check_windows(windows, least=3)
    return loss_by_position(model, windows)[:, 1:].double().mean().item()


def repeated_tokens(
    d_vocab: int, n: int = 64, shortest: int = 40, longest: int = 100, seed: int = 0
) -> tuple[Int[Tensor, "n pos"], Int[Tensor, " n"]]:
    """Sequences of the start token, N random tokens and the same N again; and each sequence's N.

    N is uniform in shortest…longest: a fixed N would let a head pass that looks a fixed number of tokens back. Tokens
    are uniform over the common ones. Shorter sequences are filled up with start tokens at the end.
    """
    check_integer("n", n, 1)
    check_integer("seed", seed)
    if not (is_integer(shortest) and is_integer(longest) and 1 <= shortest <= longest):
        raise CourseError(f"repeats of {shortest} to {longest}", "1 ≤ shortest ≤ longest must hold", "use 40 and 100")
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (n,), generator=generator)
    pool = common_tokens(d_vocab)
    tokens = torch.zeros(n, 1 + 2 * longest, dtype=torch.long)
    for row, N in zip(tokens, lengths.tolist(), strict=True):
        once = pool[torch.randint(len(pool), (N,), generator=generator)]
        row[1 : 1 + 2 * N] = once.repeat(2)
    return tokens, lengths


@torch.no_grad()
def prefix_matching_scores(
    model: AttentionOnlyTransformer, n: int = 64, shortest: int = 40, longest: int = 100, seed: int = 0, batch: int = 16
) -> Float[Tensor, "n_layers n_heads"]:
    """Mean attention, over the second copy, from each token to the successors of its earlier occurrences [O22]."""
    check_model(model)
    check_integer("batch", batch, 1)
    longest = min(longest, (model.cfg.n_ctx - 1) // 2)
    tokens, lengths = repeated_tokens(model.cfg.d_vocab, n, min(shortest, longest), longest, seed)
    total, count = 0.0, 0
    for part, N in zip(tokens.split(batch), lengths.split(batch), strict=True):
        position = torch.arange(part.shape[1])
        query = (position > N[:, None]) & (position <= 2 * N[:, None])  # [batch, pos]: in the second copy
        target = successors(part) & query[:, :, None]
        pattern = model.run_with_cache(part.to(model.W_E.device))[1].pattern
        total = total + torch.einsum("lbhqk,bqk->lh", pattern, target.float().to(pattern.device))
        count += query.sum().item()
    return total.cpu() / count


def successors(tokens: Int[Tensor, "batch pos"]) -> Tensor:
    """[batch, query, key]: true where the key follows an earlier occurrence of the query's token."""
    _check_windows(tokens, least=1)
    same = tokens[:, :, None] == tokens[:, None, :]  # same[q, j]: token q equals token j
    earlier = same & torch.ones_like(same[0]).tril(-1)  # j < q
    return F.pad(earlier, (1, 0))[:, :, :-1]  # key j + 1


@torch.no_grad()
def previous_token_scores(
    model: AttentionOnlyTransformer, windows: Int[Tensor, "n n_ctx"], batch: int = 4
) -> Float[Tensor, "n_layers n_heads"]:
    """Mean of pattern[i, i − 1] over i ≥ 2 on text."""
    _check_windows(windows, least=3)
    total = 0.0
    for tokens in _batches(model, windows, batch):
        pattern = model.run_with_cache(tokens)[1].pattern
        total = total + pattern.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:].mean(-1).sum(1)
    return total.cpu() / len(windows)


def in_context_score(
    losses: Float[Tensor, "n n_ctx_minus_1"], document: Int[Tensor, " n"], draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean loss late in the context less that early in it (below 0: context helps), with a 95 % bootstrap interval.

    `losses` from `loss_by_position`; `document`: which document each window is from (`corpus.window_documents`):
    documents are resampled whole, since windows of one document are alike.
    """
    difference = late_less_early(losses)
    low, high = bootstrap(difference, document, draws, seed)
    return difference.mean().item(), low, high


def late_less_early(losses: Float[Tensor, "n n_ctx_minus_1"]) -> Float[Tensor, " n"]:
    """Of each window: mean loss late in the context less that early in it."""
    check_type("losses", losses, Tensor, "take them from loss_by_position")
    if losses.ndim != 2:
        raise CourseError(
            f"losses of shape {list(losses.shape)}", "they must be [n, n_ctx - 1]", "see loss_by_position"
        )
    if losses.shape[1] < LATE.stop:
        rule = f"the score compares positions {EARLY.start}…{EARLY.stop - 1} and {LATE.start}…{LATE.stop - 1}"
        raise CourseError(f"losses at {losses.shape[1]} positions", rule, "use windows of 256 tokens")
    return (losses[:, LATE].mean(1) - losses[:, EARLY].mean(1)).cpu().double()


def bootstrap(
    values: Float[Tensor, " n"], document: Int[Tensor, " n"], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of `values` when whole documents are drawn again with replacement."""
    check_integer("draws", draws, 1)
    check_integer("seed", seed)
    shapes = list(np.shape(values)), list(np.shape(document))
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
        rule = "they must be two rows of one length, not empty"
        raise CourseError(f"values and documents of shapes {shapes[0]} and {shapes[1]}", rule, "see window_documents")
    values, document = to_numpy(values, None), to_numpy(document, None)
    if values.dtype.kind not in "biuf":
        raise CourseError("values that are no numbers", "their mean is taken", "pass losses or differences of losses")
    _, index = np.unique(document, return_inverse=True)
    sums, sizes = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def share_that_varies(outputs: Float[Tensor, "... pos d_model"]) -> Float[Tensor, ""]:
    """Share of what is written, in squared length, that differs from its mean: 0 if it is the same everywhere."""
    outputs = outputs.flatten(0, -2)
    return (outputs - outputs.mean(dim=0)).square().sum() / outputs.square().sum()


def _batches(model: AttentionOnlyTransformer, windows: Tensor, size: int) -> Iterator[Tensor]:
    check_model(model)
    check_integer("batch", size, 1)
    _check_windows(windows, least=2)
    return (part.to(model.W_E.device) for part in windows.split(size))


def _check_windows(windows: Tensor, least: int) -> None:
    check_type("windows", windows, Tensor, "use windows()")
    if windows.ndim != 2 or not len(windows) or windows.shape[1] < least:
        rule = f"they must be [n, n_ctx], not empty, with n_ctx ≥ {least}"
        raise CourseError(f"windows of shape {list(windows.shape)}", rule, "use windows()")
