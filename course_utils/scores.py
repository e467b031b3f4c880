"""What heads and models do, measured by behaviour: the scores of [O22].

Definitions and their pitfalls stand in the appendix on notation.
"""

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from course_utils.checked import FILLED, checked, long, numbers, within
from course_utils.config import AnyModel, Count, Later
from course_utils.corpus import common_tokens
from course_utils.errors import CourseError
from course_utils.model import Edit

EARLY, LATE = slice(32, 64), slice(192, 255)  # positions that the in-context score compares, at context 256
Seed = Annotated[int, within(0)]
Pool = Annotated[Integer[Tensor, " n_pool"], FILLED, within(below="d_vocab"), "see common_tokens"] | None
Tokens = Annotated[Integer[Tensor, "n pos"], long("n"), "use windows()"]
Pairs = Annotated[Tokens, long("pos", 2)]
Triples = Annotated[Tokens, long("pos", 3)]
OfEach = numbers(" n", FILLED, "one number for each document")
Losses = Annotated[
    Float[Tensor, "n predictions"],
    long("predictions", LATE.stop),
    "see loss_by_position, and use windows of 256 tokens",
]


@checked
def repeated_tokens(
    d_vocab: Count, n: Count = 64, shortest: Count = 40, longest: Count = 100, seed: Seed = 0, pool: Pool = None
) -> tuple[Int[Tensor, "n pos"], Int[Tensor, " n"]]:
    """Sequences of the start token, N random tokens and the same N again; and each sequence's N.

    N is uniform in shortest…longest: a fixed N would let a head pass that looks a fixed number of tokens back. Tokens
    are uniform over `pool`, the common ones unless told. Shorter sequences are filled up with start tokens at the end.
    """
    if shortest > longest:
        raise CourseError(f"repeats of {shortest} to {longest}", "shortest ≤ longest must hold", "use 40 and 100")
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (n,), generator=generator)
    pool = common_tokens(d_vocab) if pool is None else pool
    tokens = torch.zeros(n, 1 + 2 * longest, dtype=torch.long)
    for row, N in zip(tokens, lengths.tolist(), strict=True):
        once = pool[torch.randint(len(pool), (N,), generator=generator)]
        row[1 : 1 + 2 * N] = once.repeat(2)
    return tokens, lengths


@checked
@torch.no_grad()
def prefix_matching_scores(
    model: AnyModel,
    n: Count = 64,
    shortest: Count = 40,
    longest: Count = 100,
    seed: Seed = 0,
    batch: Count = 16,
    pool: Pool = None,
    edit: Edit | None = None,
) -> Float[Tensor, "n_layers n_heads"]:
    """Mean attention, over the second copy, from each token to the successors of its earlier occurrences [O22].

    Of the runs as they are, or edited: with heads or paths taken out.
    """
    longest = min(longest, (model.cfg.n_ctx - 1) // 2)
    tokens, lengths = repeated_tokens(model.cfg.d_vocab, n, min(shortest, longest), longest, seed, pool)
    total, count = 0.0, 0
    for part, N in zip(tokens.split(batch), lengths.split(batch), strict=True):
        position = torch.arange(part.shape[1])
        query = (position > N[:, None]) & (position <= 2 * N[:, None])  # [batch, pos]: in the second copy
        target = successors(part) & query[:, :, None]
        pattern = model.run_with_cache(part.to(model.W_E.device), edit)[1].pattern
        total = total + torch.einsum("lbhqk,bqk->lh", pattern, target.to(pattern))
        count += query.sum().item()
    return total.cpu() / count


@checked
def successors(tokens: Tokens) -> Bool[Tensor, "n query key"]:
    """True where the key follows an earlier occurrence of the query's token."""
    same = tokens[:, :, None] == tokens[:, None, :]  # same[q, j]: token q equals token j
    earlier = same & torch.ones_like(same[0]).tril(-1)  # j < q
    return F.pad(earlier, (1, 0))[:, :, :-1]  # key j + 1


@checked
@torch.no_grad()
def previous_token_scores(model: AnyModel, windows: Triples, batch: Count = 4) -> Float[Tensor, "n_layers n_heads"]:
    """Mean of pattern[i, i − 1] over i ≥ 2 on text."""
    total = 0.0
    for tokens in windows.split(batch):
        pattern = model.run_with_cache(tokens.to(model.W_E.device))[1].pattern
        total = total + pattern.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:].mean(-1).sum(1)
    return total.cpu() / len(windows)


@checked
@torch.no_grad()
def composition_shares(model: AnyModel, windows: Pairs, layer: Later = 1) -> dict[str, Float[Tensor, "earlier later"]]:
    """K- and Q-composition in a measure that no change of the stream's basis moves.

    The share of E[(q·k)²], over the queries and keys of text, that comes through a head of the layer before: by way of
    the keys ("K") or of the queries ("Q"). Each query's scores are less their mean over the keys that it may look at.
    """
    H = model.cfg.n_heads
    parts = {side: torch.zeros(H, H, dtype=torch.float64) for side in "KQ"}
    whole = torch.zeros(H, dtype=torch.float64)
    for tokens in windows.split(1):
        cache = model.run_with_cache(tokens.to(model.W_E.device))[1]
        x = cache.resid[layer]
        q, k = (model.read(x, layer, side) for side in "qk")
        whole += _squares(q, k)
        for earlier in range(H):
            written = cache.head_out(layer - 1, earlier)
            parts["K"][earlier] += _squares(q, model.read(written, layer, "k", part_of=x))
            parts["Q"][earlier] += _squares(model.read(written, layer, "q", part_of=x), k)
    return {side: part / whole for side, part in parts.items()}


def _squares(q: Float[Tensor, "1 n_heads pos d_head"], k: Float[Tensor, "1 n_heads pos d_head"]) -> Tensor:
    """Of each head: the sum of squared products, each query's less their mean over its keys, which are the earlier."""
    products = (q @ k.mT).tril()
    number = torch.arange(1, q.shape[-2] + 1, device=q.device)[:, None]
    return (products - products.sum(-1, keepdim=True) / number).tril().square().sum((0, 2, 3)).cpu().double()


@checked
def in_context_score(
    losses: Losses, document: Integer[Tensor, " n"], draws: Count = 1000, seed: Seed = 0
) -> tuple[float, float, float]:
    """Mean loss late in the context less that early in it (below 0: context helps), with a 95 % bootstrap interval.

    `losses` from `loss_by_position`; `document`: which document each window is from (`corpus.window_documents`):
    documents are resampled whole, since windows of one document are alike.
    """
    difference = late_less_early(losses)
    low, high = bootstrap(difference, document, draws, seed)
    return difference.mean().item(), low, high


@checked
def late_less_early(losses: Losses) -> Float[Tensor, " n"]:
    """Of each window: mean loss late in the context less that early in it."""
    return (losses[:, LATE].mean(1) - losses[:, EARLY].mean(1)).cpu().double()


@checked
def bootstrap(
    values: numbers(" n", FILLED, "pass losses or differences of losses"),
    document: numbers(" n", "see window_documents"),
    draws: Count = 1000,
    seed: Seed = 0,
) -> tuple[float, float]:
    """95 % interval of the mean of `values` when whole documents are drawn again with replacement."""
    _, index = np.unique(document, return_inverse=True)
    return ratio_interval(np.bincount(index, weights=values), np.bincount(index), draws, seed)


@checked
def ratio_interval(sums: OfEach, sizes: OfEach, draws: Count = 1000, seed: Seed = 0) -> tuple[float, float]:
    """95 % interval of Σ sums / Σ sizes when the documents, one entry each, are drawn again with replacement."""
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


@checked
def share_that_varies(outputs: Float[Tensor, "... pos d_model"]) -> Float[Tensor, ""]:
    """Share of what is written, in squared length, that differs from its mean: 0 if it is the same everywhere."""
    outputs = outputs.flatten(0, -2)
    return (outputs - outputs.mean(dim=0)).square().sum() / outputs.square().sum()
