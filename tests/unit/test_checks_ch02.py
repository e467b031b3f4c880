"""The checkers of chapter 2: what they say to a stub, to the chapter's own solution and to plausible mistakes."""

import ast
import math
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch

from course_utils.checks import ch02

CHAPTER = Path(__file__).parents[2] / "book/02_zero_layer_bigrams.ipynb"
CODE = [cell for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]
STUBS = [place for place, cell in enumerate(CODE) if "exercise" in cell.metadata.get("tags", [])]
CHECKERS = ("count_pairs", "next_token", "cross_entropy", "smooth", "smallest_width")


def run(source: str):
    """Execute a cell with the chapter's names and return the value of its last line."""
    names = {"torch": torch, "pairwise": pairwise, "check": ch02}
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(last, "cell", "eval"), names)


def test_the_chapter_has_these_exercises():
    assert [CODE[place + 1].source for place in STUBS] == [f"check.{name}({name})" for name in CHECKERS]


@pytest.mark.parametrize("place", STUBS)
def test_a_stub_is_not_attempted(place):
    outcome = run(CODE[place].source + "\n\n\n" + CODE[place + 1].source)
    assert outcome.status == "not attempted"
    assert CODE[place + 1].outputs[0].data["text/plain"] == repr(outcome)


@pytest.mark.parametrize("place", STUBS)
def test_the_chapters_solution_passes(place):
    outcome = run(CODE[place + 2].source)
    assert (outcome.status, outcome.exercise) == ("passed", f"Exercise 2.{STUBS.index(place) + 1}")


# --- plausible mistakes: (checker, answer, what the message must say) ---


def counted(pairs, d_vocab):
    counts = torch.zeros(d_vocab, d_vocab)
    for now, after in pairs:
        counts[now, after] += 1
    return counts


def count_all(tokens, d_vocab, start_id):
    return counted(pairwise(tokens), d_vocab)


def count_across(tokens, d_vocab, start_id):
    return counted(pairwise(t for t in tokens if t != start_id), d_vocab)


def count_transposed(tokens, d_vocab, start_id):
    return counted(((b, a) for a, b in pairwise(tokens) if start_id not in (a, b)), d_vocab)


def count_once(tokens, d_vocab, start_id):
    return counted({(a, b) for a, b in pairwise(tokens) if start_id not in (a, b)}, d_vocab)


def kept(tokens, start_id):
    return [(a, b) for a, b in pairwise(tokens) if start_id not in (a, b)]


def mean(values):
    return sum(values) / len(values)


MISTAKES = [
    ("count_pairs", count_all, "with the start token"),
    ("count_pairs", count_across, "across two documents"),
    ("count_pairs", count_transposed, "transposed"),
    ("count_pairs", count_once, "expected"),
    ("count_pairs", lambda tokens, d_vocab, start_id: None, "is None"),
    ("count_pairs", lambda tokens, d_vocab, start_id: torch.zeros(3), "has shape [3], expected [6, 6]"),
    ("next_token", lambda W_E, W_U, token: W_E[token] @ W_U, "Those are logits"),
    ("next_token", lambda W_E, W_U, token: 2 * W_E[token] @ W_U, "expected none below 0"),
    ("next_token", lambda W_E, W_U, token: (W_E[token] @ W_U).sigmoid(), "sum to"),
    ("next_token", lambda W_E, W_U, token: (W_E @ W_U).softmax(dim=0)[token], "sum to"),
    ("next_token", lambda W_E, W_U, token: (W_E @ W_U)[:, token].softmax(0), "a column"),
    ("next_token", lambda W_E, W_U, token: (W_E @ W_U).softmax(1), "has shape [7, 7], expected [7]"),
    (
        "next_token",
        lambda W_E, W_U, token: (W_E[token] @ W_U).float().exp() / (W_E[token] @ W_U).float().exp().sum(),
        "overflows",
    ),
    ("cross_entropy", lambda L, t, s: mean([-L[a, b] for a, b in pairwise(t)]), "Pairs with the start token are in it"),
    ("cross_entropy", lambda L, t, s: mean([L[a, b] for a, b in kept(t, s)]), "sign is wrong"),
    ("cross_entropy", lambda L, t, s: mean([-L[a, b] / math.log(2) for a, b in kept(t, s)]), "in bits"),
    ("cross_entropy", lambda L, t, s: sum(-L[a, b] for a, b in kept(t, s)), "divide by the number of pairs"),
    ("cross_entropy", lambda L, t, s: mean([-L[a, b] for a, b in set(kept(t, s))]), "however often"),
    ("cross_entropy", lambda L, t, s: mean([L[a, b].exp() for a, b in kept(t, s)]), "average probability"),
    ("cross_entropy", lambda L, t, s: mean([-L[b, a] for a, b in kept(t, s)]), "exchanged"),
    ("cross_entropy", lambda L, t, s: sum(-L[a, b] for a, b in kept(t, s)) / len(t), "expected"),
    ("smooth", lambda c, k: c / c.sum(1, keepdim=True), "never seen"),
    ("smooth", lambda c, k: (c + k) / (c.sum(1, keepdim=True) + k), "expected 1"),
    ("smooth", lambda c, k: (c + 1) / (c + 1).sum(1, keepdim=True), "added 1 to each count"),
    ("smooth", lambda c, k: (c + k) / (c + k).sum(0, keepdim=True), "expected 1"),
    ("smooth", lambda c, k: (c + k).softmax(1), "The table for k = 1.0"),
    (
        "smooth",
        lambda c, k: torch.where(c.sum(1, keepdim=True) > 0, c / c.sum(1, keepdim=True).clamp(min=1), 1 / 6),
        "a probability is 0",
    ),
    ("smallest_width", lambda P: torch.linalg.matrix_rank(P), "the rank of the probabilities"),
    ("smallest_width", lambda P: torch.linalg.matrix_rank(P.log()), "the rank of log P"),
    ("smallest_width", lambda P: len(P), "is 8, expected 3"),
    ("smallest_width", lambda P: torch.linalg.matrix_rank(P - P.mean(1, keepdim=True), atol=1e-9), "is 7, expected 3"),
]


@pytest.mark.parametrize(("name", "answer", "says"), MISTAKES)
def test_a_mistake_fails_with_a_message_that_names_it(name, answer, says):
    outcome = getattr(ch02, name)(answer)
    assert outcome.status == "failed", outcome
    assert says in outcome.message
