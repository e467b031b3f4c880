"""Bigram models from a count table: what a zero-layer transformer is measured against.

A model is a function that takes a slice of tokens (rows) and gives log-probabilities of the next token,
[rows, d_vocab], in float64. Rows are worked on in blocks: the whole table in float64 would take 134 MB.
Counts are sparse [present token, next token], as `corpus.bigram_counts` gives them.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.special import log_softmax
from torch import Tensor

from course_utils.checked import FINITE, checked, within
from course_utils.config import AnyModel
from course_utils.corpus import Counts
from course_utils.errors import CourseError

LogProbs = Annotated[Callable[[slice], Float[np.ndarray, "rows d_vocab"]], "pass e.g. add_k(counts)"]
Size = Annotated[int, within(1)]
Added = Annotated[float, within(0)]
Discount = Annotated[float, within(0)]


@checked
def uniform(d_vocab: Size) -> LogProbs:
    """Every token alike."""
    return lambda rows: np.full((len(range(d_vocab)[rows]), d_vocab), -np.log(d_vocab))


@checked
def unigram(counts: Counts, k: Added = 1.0) -> LogProbs:
    """The next token by its frequency, whatever the present one. `k` is added to every count."""
    after = counts.sum(0) + k
    log_probs = np.log(after / after.sum())
    return lambda rows: np.tile(log_probs, (len(range(counts.shape[0])[rows]), 1))


@checked
def add_k(counts: Counts, k: Added = 1.0) -> LogProbs:
    """Counts with `k` added to every cell, over their row's sum. With k = 0 an unseen pair has probability 0."""

    def log_probs(rows: slice) -> np.ndarray:
        block = counts[rows].toarray() + k
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(block / block.sum(1, keepdims=True))

    return log_probs


@checked
def kneser_ney(counts: Counts, discounts: tuple[Discount, Discount, Discount] | None = None) -> LogProbs:
    """Interpolated modified Kneser-Ney smoothing [kneser1995, chen1999].

    Take a discount off every count (one for counts of 1, of 2, of 3 and more), and share out what was taken by how
    many different tokens each token follows: "Francisco" may be frequent, but follows only "San".
    """
    take = np.array([0.0, *(discounts or chen_goodman_discounts(counts))])
    kept = csr_array((counts.data - take[np.minimum(counts.data, 3)], counts.indices, counts.indptr), counts.shape)
    total = counts.sum(1)
    spare = np.where(total > 0, total - kept.sum(1), 1.0)  # a token never seen leaves all to the shared part
    total = np.maximum(total, 1)
    follows = np.bincount(counts.indices, minlength=counts.shape[1]) + 1  # plus 1: something for those that follow none
    shared = follows / follows.sum()
    return lambda rows: np.log((kept[rows].toarray() + spare[rows, None] * shared) / total[rows, None])


@checked
def chen_goodman_discounts(counts: Counts) -> tuple[float, float, float]:
    """The three discounts estimated from how many pairs were seen once, twice, three and four times [chen1999]."""
    n1, n2, n3, n4 = np.bincount(np.minimum(counts.data, 5), minlength=6)[1:5]
    if not (n1 and n2 and n3):
        rule = "the estimate needs pairs that were seen once, twice and three times"
        raise CourseError(f"{n1}, {n2} and {n3} such pairs", rule, "count more text, or pass discounts")
    y = n1 / (n1 + 2 * n2)
    return 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3


@checked
def zero_layer(model: AnyModel) -> LogProbs:
    """What a zero-layer model says: the log-softmax of the rows of W_E W_U."""
    return low_rank(model.W_E, model.W_U)


@checked
def low_rank(A: Float[Tensor, "d_vocab rank"], B: Float[Tensor, "rank d_vocab"]) -> LogProbs:
    """The bigram model whose table of logits is the product of two thin matrices."""
    return lambda rows: log_softmax((A[rows] @ B).detach().cpu().double().numpy(), axis=1)


@checked
def truncated_svd(
    matrix: Annotated[Float[Tensor, "rows columns"], FINITE, "smooth the counts first"],
    rank: Size,
    seed: Annotated[int, within(0)] = 0,
) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, "rank columns"]]:
    """The two factors of the best matrix of this rank in squared error; their first k columns and rows: of rank k.

    Randomised, with power iterations and directions to spare: seconds in place of a minute.
    """
    if rank > min(matrix.shape):
        raise CourseError(f"rank is {rank}", f"this matrix has rank {min(matrix.shape)} at most", "take a smaller one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        U, S, V = torch.svd_lowrank(matrix, q=min(rank + 32, *matrix.shape), niter=4)
    return U[:, :rank] * S[:rank], V[:, :rank].T


@checked
def table(log_probs: LogProbs, d_vocab: Size) -> Float[Tensor, "d_vocab d_vocab"]:
    """The whole table in float32 (67 MB at 4096 tokens)."""
    _check_log_probs(log_probs, d_vocab)
    whole = np.empty((d_vocab, d_vocab), dtype=np.float32)
    for rows in _blocks(d_vocab):
        whole[rows] = log_probs(rows)
    return torch.from_numpy(whole)


@checked
def loss(log_probs: LogProbs, counts: Counts) -> float:
    """Mean loss in nats over the pairs of a count table: infinite if one of them has probability 0."""
    _check_log_probs(log_probs, counts.shape[1])
    total = 0.0
    for rows in _blocks(counts.shape[0]):
        pairs = counts[rows].tocoo()
        total -= (pairs.data * log_probs(rows)[pairs.coords]).sum()
    return float(total / counts.sum())


def _blocks(n: int, size: int = 256) -> Iterator[slice]:
    return (slice(a, min(a + size, n)) for a in range(0, n, size))


def _check_log_probs(log_probs: LogProbs, d_vocab: int) -> None:
    columns = np.shape(log_probs(slice(0, 1)))[-1]
    if columns != d_vocab:
        rule = f"the table has {d_vocab}"
        raise CourseError(f"a bigram model of {columns} tokens", rule, "make both of one vocabulary")
