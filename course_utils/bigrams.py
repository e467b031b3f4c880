"""Bigram models from a count table: what a zero-layer transformer is measured against.

A model is a function that takes a slice of tokens (rows) and gives log-probabilities of the next token,
[rows, d_vocab], in float64. Rows are worked on in blocks: the whole table in float64 would take 134 MB.
Counts are sparse [present token, next token], as `corpus.bigram_counts` gives them.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.special import log_softmax
from torch import Tensor

from course_utils.corpus import check_counts
from course_utils.errors import CourseError, check_integer, check_number
from course_utils.model import AttentionOnlyTransformer, check_model

LogProbs = Callable[[slice], Float[np.ndarray, "rows d_vocab"]]


def uniform(d_vocab: int) -> LogProbs:
    """Every token alike."""
    check_integer("d_vocab", d_vocab, 1)
    return lambda rows: np.full((len(range(d_vocab)[rows]), d_vocab), -np.log(d_vocab))


def unigram(counts: csr_array, k: float = 1.0) -> LogProbs:
    """The next token by its frequency, whatever the present one. `k` is added to every count."""
    check_counts(counts)
    check_number("k", k)
    after = counts.sum(0) + k
    log_probs = np.log(after / after.sum())
    return lambda rows: np.tile(log_probs, (len(range(counts.shape[0])[rows]), 1))


def add_k(counts: csr_array, k: float = 1.0) -> LogProbs:
    """Counts with `k` added to every cell, over their row's sum. With k = 0 an unseen pair has probability 0."""
    check_counts(counts)
    check_number("k", k)

    def log_probs(rows: slice) -> np.ndarray:
        block = counts[rows].toarray() + k
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(block / block.sum(1, keepdims=True))

    return log_probs


def kneser_ney(counts: csr_array, discounts: tuple[float, float, float] | None = None) -> LogProbs:
    """Interpolated modified Kneser-Ney smoothing [kneser1995, chen1999].

    Take a discount off every count (one for counts of 1, of 2, of 3 and more), and share out what was taken by how
    many different tokens each token follows: "Francisco" may be frequent, but follows only "San".
    """
    check_counts(counts)
    for discount in discounts or ():
        check_number("a discount", discount)
    if discounts and len(discounts) != 3:
        rule = "there are three: for counts of 1, of 2, and of 3 and more"
        raise CourseError(f"{len(discounts)} discounts", rule, "see chen_goodman_discounts")
    take = np.array([0.0, *(discounts or chen_goodman_discounts(counts))])
    kept = csr_array((counts.data - take[np.minimum(counts.data, 3)], counts.indices, counts.indptr), counts.shape)
    total = counts.sum(1)
    spare = np.where(total > 0, total - kept.sum(1), 1.0)  # a token never seen leaves all to the shared part
    total = np.maximum(total, 1)
    follows = np.bincount(counts.indices, minlength=counts.shape[1]) + 1  # plus 1: something for those that follow none
    shared = follows / follows.sum()
    return lambda rows: np.log((kept[rows].toarray() + spare[rows, None] * shared) / total[rows, None])


def chen_goodman_discounts(counts: csr_array) -> tuple[float, float, float]:
    """The three discounts estimated from how many pairs were seen once, twice, three and four times [chen1999]."""
    check_counts(counts)
    n1, n2, n3, n4 = np.bincount(np.minimum(counts.data, 5), minlength=6)[1:5]
    if not (n1 and n2 and n3):
        rule = "the estimate needs pairs that were seen once, twice and three times"
        raise CourseError(f"{n1}, {n2} and {n3} such pairs", rule, "count more text, or pass discounts")
    y = n1 / (n1 + 2 * n2)
    return 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3


def zero_layer(model: AttentionOnlyTransformer) -> LogProbs:
    """What a zero-layer model says: the log-softmax of the rows of W_E W_U."""
    check_model(model)
    return low_rank(model.W_E, model.W_U)


def low_rank(A: Float[Tensor, "d_vocab rank"], B: Float[Tensor, "rank d_vocab"]) -> LogProbs:
    """The bigram model whose table of logits is the product of two thin matrices."""
    if A.ndim != 2 or tuple(B.shape) != (A.shape[1], A.shape[0]):
        rule = "they must be [d_vocab, rank] and [rank, d_vocab]"
        raise CourseError(f"factors of shapes {list(A.shape)} and {list(B.shape)}", rule, "check their order")
    return lambda rows: log_softmax((A[rows] @ B).detach().cpu().double().numpy(), axis=1)


def truncated_svd(
    matrix: Float[Tensor, "rows columns"], rank: int, seed: int = 0
) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, "rank columns"]]:
    """The two factors of the best matrix of this rank in squared error; their first k columns and rows: of rank k.

    Randomised, with power iterations and directions to spare: seconds in place of a minute.
    """
    if matrix.ndim != 2 or not matrix.is_floating_point() or not matrix.isfinite().all():
        rule = "it must be [rows, columns], of finite floating point numbers"
        raise CourseError(f"a matrix of shape {list(matrix.shape)}, {matrix.dtype}", rule, "smooth the counts first")
    check_integer("rank", rank, 1, min(matrix.shape))
    check_integer("seed", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        U, S, V = torch.svd_lowrank(matrix, q=min(rank + 32, *matrix.shape), niter=4)
    return U[:, :rank] * S[:rank], V[:, :rank].T


def table(log_probs: LogProbs, d_vocab: int) -> Float[Tensor, "d_vocab d_vocab"]:
    """The whole table in float32 (67 MB at 4096 tokens)."""
    _check_log_probs(log_probs, d_vocab)
    whole = np.empty((d_vocab, d_vocab), dtype=np.float32)
    for rows in _blocks(d_vocab):
        whole[rows] = log_probs(rows)
    return torch.from_numpy(whole)


def loss(log_probs: LogProbs, counts: csr_array) -> float:
    """Mean loss in nats over the pairs of a count table: infinite if one of them has probability 0."""
    check_counts(counts)
    _check_log_probs(log_probs, counts.shape[1])
    total = 0.0
    for rows in _blocks(counts.shape[0]):
        pairs = counts[rows].tocoo()
        total -= (pairs.data * log_probs(rows)[pairs.coords]).sum()
    return float(total / counts.sum())


def _blocks(n: int, size: int = 256) -> Iterator[slice]:
    return (slice(a, min(a + size, n)) for a in range(0, n, size))


def _check_log_probs(log_probs: LogProbs, d_vocab: int) -> None:
    check_integer("d_vocab", d_vocab, 1)
    if not callable(log_probs):
        raise CourseError(f"log_probs {log_probs!r:.40}", "it must be a function of rows", "pass e.g. add_k(counts)")
    columns = np.shape(log_probs(slice(0, 1)))[-1]
    if columns != d_vocab:
        rule = f"the table has {d_vocab}"
        raise CourseError(f"a bigram model of {columns} tokens", rule, "make both of one vocabulary")
