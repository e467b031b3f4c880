"""Exercises of chapter 2, "Zero layers: bigrams".

Each checker makes small texts and tables, works out the answer by itself, and compares.
"""

import math
from itertools import pairwise

import torch

from course_utils.checks.base import Wrong, close, exercise, normal, numbers, require, require_close, require_given

START, D_VOCAB = 0, 6
# Two documents. The pair (5, 0) crosses from one into the other; token 4 never comes before another.
TEXT = [START, 3, 1, 2, 1, 2, 5, START, 2, 1, 2, 2, 3, 4]


@exercise("Exercise 2.1")
def count_pairs(answer) -> str:
    for tokens in ([START, 1, 2], TEXT, [START, 3, START, 3]):
        want = _pairs(tokens)
        got = _table(answer(tokens, D_VOCAB, START), "Your table", (D_VOCAB, D_VOCAB))
        if not close(got, want):
            if close(got, want.T):
                raise Wrong("The table is transposed: rows are the present token, columns the next one.")
            with_start = _pairs(tokens, keep_start=True)
            start_pairs = got[START].sum() + got[:, START].sum()
            require(start_pairs == 0, f"{start_pairs:g} pairs with the start token are counted; leave them out.")
            joined = _pairs([t for t in tokens if t != START])
            if close(got, joined) and not close(with_start, joined):
                raise Wrong(f"In {tokens} a pair was counted across two documents; the start token parts them.")
            require(got.sum() == want.sum(), f"{got.sum():g} pairs are counted in {tokens}, expected {want.sum():g}.")
        require_close(got, want, f"The table of {tokens}")
    return "Every pair is counted once, and none that contains the start token."


@exercise("Exercise 2.2")
def next_token(answer) -> str:
    W_E, W_U = normal((7, 3), 0), 2 * normal((3, 7), 1)
    table = (W_E @ W_U).softmax(dim=1)
    for token in (4, 0):
        got = _table(answer(W_E, W_U, token), "Your answer", (7,))
        require(not close(got, W_E[token] @ W_U), "Those are logits: softmax makes them probabilities.")
        require(bool((got >= 0).all()), f"A probability is {got.min():.3g}, expected none below 0.")
        total = got.sum()
        require(abs(total - 1) < 1e-6, f"The probabilities sum to {total:.4g}, expected 1: divide by their sum.")
        if close(got, (W_U.T @ W_E.T).softmax(dim=1)[token]) and not close(got, table[token]):
            raise Wrong("That is a column of W_E W_U: the present token picks the row.")
        require_close(got, table[token], f"The probabilities after token {token}", 1e-6)
    shifted = _table(answer(W_E, W_U + 1000 * torch.ones(3, 1), 2), "Your answer", (7,))
    require(bool(shifted.isfinite().all()), "With large logits an exponential overflows: use torch.softmax.")
    return "One row of W_E W_U, made to sum to 1."


@exercise("Exercise 2.3")
def cross_entropy(answer) -> str:
    log_probs = normal((D_VOCAB, D_VOCAB), 2).log_softmax(dim=1)
    pairs, with_start = _pairs(TEXT), _pairs(TEXT, keep_start=True)

    def mean(counts, values):
        return (counts * values).sum() / counts.sum()

    want = mean(pairs, -log_probs)
    got = answer(log_probs, TEXT, START)
    require_given(got, "The loss")
    got = _table(got, "The loss", ())
    known = {
        "Pairs with the start token are in it: leave them out.": mean(with_start, -log_probs),
        "The sign is wrong: a loss is minus a log-probability.": -want,
        "It is in bits: use the natural logarithm, which log_probs has.": want / math.log(2),
        "That is the sum: divide by the number of pairs.": want * pairs.sum(),
        "Every pair counts once there, however often it occurs.": -log_probs[pairs > 0].mean(),
        "That is the average probability, not the average log-probability.": mean(pairs, log_probs.exp()),
        "Row and column are exchanged: log_probs is [present token, next token].": mean(pairs.T, -log_probs),
    }
    for message, value in known.items():
        if close(got, value) and not close(value, want):
            raise Wrong(f"The loss is {got:.4f}, expected {want:.4f}. {message}")
    require_close(got, want, "The loss", 1e-6)
    return "Mean of minus the log-probability, in nats."


@exercise("Exercise 2.4")
def smooth(answer) -> str:
    counts = _pairs(TEXT)
    for k in (1.0, 0.25):
        got = _table(answer(counts.clone(), k), "Your table", (D_VOCAB, D_VOCAB))
        row = [round(value, 3) for value in got[4].tolist()]
        require(bool(got[4].isfinite().all()), f"Row 4 is {row}: its token was never seen, yet it needs probabilities.")
        sums = got.sum(1)
        worst = (sums - 1).abs().argmax()
        hint = "k is added to each of the d_vocab cells, so a row's total grows by k × d_vocab."
        require(abs(sums[worst] - 1) < 1e-6, f"Row {int(worst)} sums to {sums[worst]:.4f}, expected 1. {hint}")
        require(bool((got > 0).all()), f"With k = {k} a probability is 0: add k to the cells without a count too.")
        if k != 1 and close(got, _add(counts, 1.0)):
            raise Wrong(f"With k = {k} you added 1 to each count, expected {k}.")
        require_close(got, _add(counts, k), f"The table for k = {k}", 1e-6)
    return "Every row sums to 1, and no pair is impossible any more."


@exercise("Exercise 2.5")
def smallest_width(answer) -> str:
    one_row = normal((8,), 3).softmax(0).repeat(8, 1)
    tables = {
        "the table of a zero-layer model with d_model = 3": ((normal((8, 3), 4) @ normal((3, 8), 5)).softmax(1), 3),
        "a table whose rows are all the same": (one_row, 1),
        "the uniform table": (torch.full((8, 8), 1 / 8, dtype=torch.float64), 0),
        "a table drawn at random": (normal((8, 8), 6).softmax(1), 7),
    }
    for name, (P, want) in tables.items():
        got = answer(P.clone())
        require_given(got, "The width")
        got = int(got)
        if got == int(torch.linalg.matrix_rank(P)) != want:
            hint = "That is the rank of the probabilities: W_E W_U is a table of logits."
        elif got == int(torch.linalg.matrix_rank(P.log())) != want:
            hint = "That is the rank of log P: but a constant added to a row of logits changes no probability."
        else:
            hint = ""
        require(got == want, f"For {name} your width is {got}, expected {want}. {hint}".strip())
    return "The rank of log P, once each row may be shifted by a constant."


def _pairs(tokens: list[int], keep_start: bool = False) -> torch.Tensor:
    counts = torch.zeros(D_VOCAB, D_VOCAB, dtype=torch.float64)
    for now, after in pairwise(tokens):
        if keep_start or START not in (now, after):
            counts[now, after] += 1
    return counts


def _add(counts: torch.Tensor, k: float) -> torch.Tensor:
    return (counts + k) / (counts + k).sum(1, keepdim=True)


def _table(got, what: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The answer in float64, if it has this shape."""
    got = numbers(got, what)
    require(got.shape == shape, f"{what} has shape {list(got.shape)}, expected {list(shape)}.")
    return got
