"""Exercises of chapter 4, "Path expansion, and the QK and OV circuits".

Each checker draws a small random model or small tables (in 64-bit numbers), works out the answer by itself, and
compares.
"""

import itertools
import math

import torch

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    normal,
    require,
    require_close,
    require_given,
    require_shape,
    small_model,
)
from course_utils.config import ModelConfig

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=1, n_heads=3, d_model=10, d_head=4, d_vocab=11, n_ctx=9)
EXACT = 1e-9  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 4.1")
def from_tables(answer) -> str:
    double = math.log(2)
    scores = torch.tensor([[0, 0, 0], [double, 0, 0], [0, 0, 0]], dtype=torch.float64)
    OV = torch.tensor([[3, 0, 0], [0, 0, 0], [0, 6, 0]], dtype=torch.float64)
    cases = [(normal((4, 4), 1), normal((4, 4), 2), [3, 0, 2, 0, 2]), (scores, OV, [0, 2, 1])]
    for scores, OV, tokens in cases:
        got = answer(scores.clone(), OV.clone(), list(tokens))
        exponentials = [torch.exp(scores[tokens[-1], a]) for a in tokens]
        want = sum(e * OV[a] for e, a in zip(exponentials, tokens, strict=True)) / sum(exponentials)
        require_shape(got, tuple(want.shape), "The answer", "One logit for each token of the vocabulary.")
        _name_mistake(got, want, _mistaken_outputs(scores, OV, tokens))
        require_close(got, want, f"For tokens {tokens} the list of logits", 1e-6, "A weighted mean of rows of OV.")
    return "By hand: weights ½, ¼, ¼ and logits 1.5, 1.5, 0."


def _mistaken_outputs(scores, OV, tokens) -> dict[str, torch.Tensor]:
    row = scores[tokens[-1], tokens]
    once = sorted(set(tokens))
    return {
        "No softmax: scores are not yet weights. They must be positive and sum to 1.": row @ OV[tokens],
        "Every position gets the same weight: use the scores.": OV[tokens].mean(dim=0),
        "scores is read the wrong way round: its rows are destinations.":
            scores[tokens, tokens[-1]].softmax(dim=0) @ OV[tokens],
        "OV is read the wrong way round: its rows are sources.": row.softmax(dim=0) @ OV[:, tokens].T,
        "A token that stands there twice is two sources: one weight for each position.":
            scores[tokens[-1], once].softmax(dim=0) @ OV[once],
        "The softmax runs over the whole vocabulary: only tokens of the context can be looked at.":
            scores[tokens[-1]].softmax(dim=0) @ OV,
        "The weights don't sum to 1: take the softmax over the positions, not over the vocabulary.":
            scores[tokens[-1]].softmax(dim=0)[tokens] @ OV[tokens],
        "The last position may look at itself, too.": row[:-1].softmax(dim=0) @ OV[tokens[:-1]],
        "The destination is the last token, not the first.":
            scores[tokens[0], tokens].softmax(dim=0) @ OV[tokens],
    }  # fmt: skip


@exercise("Exercise 4.2")
def sum_over_paths(answer) -> str:
    model, tokens = small_model(SMALL, 3), drawn_tokens(SMALL.d_vocab, (1, 7), 4)
    logits, cache = model.run_with_cache(tokens)
    A = cache.pattern[0, 0]
    got = answer(model, tokens[0], A.clone())
    heads = [cache.head_out(0, h)[0] for h in range(SMALL.n_heads)]
    want = torch.stack([cache.resid[0][0] @ model.W_U, *(out @ model.W_U for out in heads)])
    got = _stacked(got)
    if tuple(got.shape) == (SMALL.n_heads, *want.shape[1:]):
        raise Wrong(f"There are {SMALL.n_heads} paths, expected {len(want)}: the direct path is one, too.")
    if tuple(got.shape) == (len(want), want.shape[1], SMALL.d_model):
        raise Wrong("These are the paths' parts of the stream: every path ends with W_U.")
    require_shape(got, tuple(want.shape), "The paths", "One for each way past or through the layer, with all logits.")
    x = model.W_E[tokens[0]]
    transposed = [A[h].T @ x @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(SMALL.n_heads)]
    unmoved = [x @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(SMALL.n_heads)]
    placed = [A[h] @ (x + model.W_pos[: len(x)]) @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(3)]
    mistakes = {
        "The pattern is transposed: row = query, so it stands on the left as it is.":
            torch.stack([want[0], *transposed]),
        "The pattern is missing: nothing is moved between positions.": torch.stack([want[0], *unmoved]),
        "Values read no positions: only queries and keys do.": torch.stack([want[0], *placed]),
        "The direct path must come first.": torch.cat([want[1:], want[:1]]),
        "The direct path is in every head's term: then it is counted many times.":
            torch.stack([want[0], *(want[0] + head for head in want[1:])]),
    }  # fmt: skip
    _name_mistake(got, want, mistakes)
    gap = (got.double().sum(dim=0) - logits[0]).abs().max().item()
    require(gap < 1e-6, f"The paths don't sum to the logits: they differ by up to {gap:.4g}.")
    require_close(got, want, "The list of paths", 1e-6, "The direct path first, then heads 0, 1, 2.")
    # Patterns are given, not computed: others must be used as they are.
    other = normal(tuple(A.shape), 5).softmax(dim=-1)
    got = _stacked(answer(model, tokens[0], other.clone()))
    want = torch.stack(
        [x @ model.W_U, *(other[h] @ (x @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U) for h in range(3))]
    )
    require_close(got, want, "With another pattern a path", 1e-6, "Use the pattern that is given.")
    return f"The {len(want)} paths sum to the logits."


@exercise("Exercise 4.3")
def frozen_matrix(answer) -> str:
    model, tokens = small_model(SMALL, 6), drawn_tokens(SMALL.d_vocab, (1, 7), 7)
    logits, cache = model.run_with_cache(tokens)
    A, V, P = cache.pattern[0, 0], SMALL.d_vocab, tokens.shape[1]
    got = answer(model, A.clone())
    require_shape(got, (P, P, V, V), "The matrix", "[query, key, token at the key, next token].")
    got = torch.as_tensor(got).detach().double()
    x = model.W_E
    direct = x @ model.W_U
    circuits = [x @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(SMALL.n_heads)]
    moved = torch.zeros(P, P, V, V, dtype=torch.float64)
    for h, q, k in itertools.product(range(SMALL.n_heads), range(P), range(P)):
        moved[q, k] += A[h, q, k] * circuits[h]
    here = torch.zeros_like(moved)
    for q in range(P):
        here[q, q] = direct
    mistakes = {
        "The direct path is missing.": moved,
        "The heads are missing: this is the direct path alone.": here,
        "The direct path moves nothing: its block is zero unless query and key are the same.": moved + direct,
        "Query and key are swapped.": (moved + here).transpose(0, 1),
        "The tables are transposed: in our rows, the token looked at comes first, the next token last.":
            (moved + here).transpose(2, 3),
    }  # fmt: skip
    _name_mistake(got, moved + here, mistakes)
    t = torch.nn.functional.one_hot(tokens[0], V).double()
    require_close(torch.einsum("kv,qkvw->qw", t, got), logits[0], "A logit of the text", 1e-6,
                  "Each block is a sum over paths: a weight times a table.")  # fmt: skip
    require_close(got, moved + here, "The matrix", 1e-6, "The text's own logits are right: look at the other entries.")
    return "One matrix, and the whole model but for its patterns."


@exercise("Exercise 4.4")
def four_terms(answer) -> str:
    model, tokens, head = small_model(SMALL, 8), drawn_tokens(SMALL.d_vocab, (1, 7), 9), 1
    got = _stacked(answer(model, tokens[0], head))
    P = tokens.shape[1]
    require_shape(got, (4, P, P), "The list of terms", "Four tables [query, key].")
    e, p = model.W_E[tokens[0]], model.W_pos[:P]
    W = model.W_Q[0, head] @ model.W_K[0, head].T
    want = torch.stack([e @ W @ e.T, e @ W @ p.T, p @ W @ e.T, p @ W @ p.T]) / SMALL.d_head**0.5
    lower = torch.ones(P, P).tril()
    mistakes = {
        "√d_head is missing: scores are divided by it.": want * SMALL.d_head**0.5,
        "Divided by d_head: it should be its square root.": want / SMALL.d_head**0.5,
        "Divided by √d_model: it should be √d_head.": want * (SMALL.d_head / SMALL.d_model) ** 0.5,
        "Query and key are swapped in each table.": want.transpose(1, 2),
        "The two mixed terms are swapped: the query's side is named first.": want[[0, 2, 1, 3]],
        "This is another head.": _terms(model, tokens[0], 0),
        "W_Q and W_K have changed places.": torch.stack([a @ W.T @ b.T for a in (e, p) for b in (e, p)]) / 2,
        "The terms are masked: leave that to the softmax.": want * lower,
        "The terms are masked: leave that to the softmax. ": want.masked_fill(lower == 0, float("-inf")),
    }
    _name_mistake(got, want, mistakes)
    scores = model.attention_scores(model.W_E[tokens], 0)[0, head]
    seen = lower.bool()
    gap = (got.double().sum(dim=0) - scores)[seen].abs().max().item()
    require(gap < 1e-6, f"The four terms don't sum to the scores: they differ by up to {gap:.4g}.")
    require_close(got, want, "The list of terms", 1e-6, "The sum is right: token–token first, position–position last.")
    return "Four terms, and their sum is the scores."


def _terms(model, tokens, head) -> torch.Tensor:
    reads = model.W_E[tokens], model.W_pos[: len(tokens)]
    W = model.W_Q[0, head] @ model.W_K[0, head].T
    return torch.stack([a @ W @ b.T for a in reads for b in reads]) / model.cfg.d_head**0.5


@exercise("Exercise 4.5")
def trigram_value(answer) -> str:
    model, head = small_model(SMALL, 10), 2
    E = model.W_E.double()
    raw_qk = torch.einsum("bm,md,nd,an->ba", E, model.W_Q[0, head], model.W_K[0, head], E)
    raw_ov = torch.einsum("am,md,dn,nc->ac", E, model.W_V[0, head], model.W_O[0, head], model.W_U)
    qk = (raw_qk - raw_qk.mean(dim=1, keepdim=True)) / 2  # √d_head = 2
    ov = raw_ov - raw_ov.mean(dim=1, keepdim=True)
    triples = list(itertools.product(range(0, 11, 2), range(1, 11, 3), range(0, 11, 3)))
    a, b, c = torch.tensor(triples).T
    look, rise = qk[b, a], ov[a, c]
    got = torch.stack([_number(answer(model, head, *triple)) for triple in triples])
    positive = lambda x, y: x.clamp(min=0) * y.clamp(min=0)  # noqa: E731
    want = positive(look, rise)
    raw_look, raw_rise = raw_qk[b, a] / 2, raw_ov[a, c]
    over_destinations = (raw_qk - raw_qk.mean(dim=0))[b, a] / 2
    over_sources = (raw_ov - raw_ov.mean(dim=0))[a, c]
    mistakes = {
        "√d_head is missing: the QK entry is to be a score.": positive(2 * look, rise),
        "Divided by d_head: it should be its square root.": positive(look / 2, rise),
        "The product of two negative entries is positive: the value must be 0 unless both are positive.":
            (look * rise).clamp(min=0),
        "Where an entry is negative the value must be 0.": look * rise,
        "Nothing is centred.": positive(raw_look, raw_rise),
        "The QK entry is not centred: take the row's mean over sources off.": positive(raw_look, rise),
        "The OV entry is not centred: take the row's mean over outputs off.": positive(look, raw_rise),
        "The QK entry is centred over destinations: take off the mean over the sources, of one destination.":
            positive(over_destinations, rise),
        "The OV entry is centred over sources: take off the mean over the outputs, of one source.":
            positive(look, over_sources),
        "The QK entry is read the wrong way round: the destination makes the query.": positive(qk[a, b], rise),
        "OV is entered by the destination: it is the source that is carried.": positive(look, ov[b, c]),
        "OV is read the wrong way round: from the source to the output.": positive(look, ov[c, a]),
    }  # fmt: skip
    _name_mistake(got, want, mistakes)
    first = int((got - want).abs().nan_to_num(torch.inf).argmax())
    where = "source {}, destination {}, out {}".format(*triples[first])
    require_close(got[first], want[first], f"The value for {where}", 1e-6, "Score times logit, both centred.")
    return f"{int((want > 0).sum())} of {len(triples)} triples have a value above 0."


@exercise("Exercise 4.6")
def find_bug(answer) -> str:
    for seed in (11, 12, 13):
        qk, ov = normal((6, 5), seed), normal((5, 7), seed + 20)
        qk, ov = qk - qk.mean(dim=1, keepdim=True), ov - ov.mean(dim=1, keepdim=True)
        follows = normal((6, 7), seed + 40) > 0
        got = answer(qk.clone(), ov.clone(), follows.clone())
        require_given(got)
        got = [int(index) for index in got]
        require(len(got) == 5, f"The answer has {len(got)} numbers, expected five: a, b1, c1, b2, c2.")
        a, b1, c1, b2, c2 = got
        fits = all(0 <= i < n for i, n in zip(got, (5, 6, 7, 6, 7), strict=True))
        sizes = "5 sources, 6 destinations, 7 outputs"
        require(fits, f"{got} is out of range ({sizes}): the order is source, destination, out, destination, out.")
        for b, c in ((b1, c1), (b2, c2)):
            require(bool(follows[b, c]), f"{b} → {c} never occurs: both skip-trigrams must be true of the text.")
        for b, c in ((b1, c2), (b2, c1)):
            require(not follows[b, c], f"{b} → {c} does occur, so it is no bug to raise it.")
        looks, rises = (qk[b1, a], qk[b2, a]), (ov[a, c1], ov[a, c2])
        lowest = [x.item() for x in (*looks, *rises)]
        told = "Source {} has QK entries {:.2f}, {:.2f} and OV entries {:.2f}, {:.2f}".format(a, *lowest)
        why = "the head raises an output only where both are positive. Beware of the product of two negative ones."
        require(min(lowest) > 0, f"{told}: {why}")
        weakest = float(min(looks) * min(rises))
        best, where = _worst_bug(qk, ov, follows)
        more = "Look at the smallest of the four, not at their sum or at two of them."
        require(
            weakest > best - EXACT,
            f"The smallest value of {tuple(got)} is {weakest:.3f}, but {where} has {best:.3f}. {more}",
        )
    return "Found, in three pairs of tables."


def _worst_bug(qk, ov, follows) -> tuple[float, tuple]:
    """The largest smallest value, by all combinations at once."""
    raised = qk.clamp(min=0)[:, :, None] * ov.clamp(min=0)[None]  # [destination, source, out]
    best = (0.0, ())
    for a in range(len(ov)):
        for b1, b2 in itertools.combinations(range(len(qk)), 2):
            for c1, c2 in itertools.permutations(range(ov.shape[1]), 2):
                if follows[b1, c1] and follows[b2, c2] and not follows[b1, c2] and not follows[b2, c1]:
                    value = min(raised[b, a, c].item() for b in (b1, b2) for c in (c1, c2))
                    best = max(best, (value, (a, b1, c1, b2, c2)))
    return best


def _stacked(got) -> torch.Tensor:
    """A tensor of the answer, which may be a list of tensors or a dict of them."""
    require_given(got)
    got = list(got.values()) if isinstance(got, dict) else got
    return torch.stack([torch.as_tensor(x) for x in got]) if isinstance(got, tuple | list) else torch.as_tensor(got)


def _number(got) -> torch.Tensor:
    require_given(got)
    got = torch.as_tensor(got).detach().double()
    require(got.numel() == 1, f"The value has shape {list(got.shape)}, expected one number.")
    return got.reshape(())


def _name_mistake(got, want, mistakes: dict[str, torch.Tensor]) -> None:
    """Raise Wrong if `got` is one of the wrong answers, by name; one that is right by chance is none."""
    for message, wrong in mistakes.items():
        require(close(got, want) or not close(got, wrong), message.strip())
