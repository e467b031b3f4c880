"""Exercises of chapter 4, "Path expansion, and the QK and OV circuits".

Each checker draws a small random model or small tables (in 64-bit numbers), works out the answer by itself, and
compares; some do so on the trained model, too, and on one that is the same in disguise.
"""

import itertools
import math

import torch
import torch.nn.functional as F

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    disguised,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    numbers,
    one_number,
    require,
    require_close,
    require_given,
    require_parts,
    require_shape,
    second_half,
    small_model,
    whole_number,
)
from course_utils.circuits import ov_circuit, qk_circuit, random_heads
from course_utils.config import ModelConfig
from course_utils.corpus import bigram_counts, common_tokens, load_text, load_tokenizer, windows
from course_utils.losses import loss_by_position

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=1, n_heads=3, d_model=10, d_head=5, d_vocab=11, n_ctx=9)
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
        name_mistake(got, _mistaken_outputs(scores, OV, tokens), want=want)
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
def copying(answer) -> str:
    trained = load_model("one-layer", "cpu")
    hidden, order = disguised(trained, 4)
    common = common_tokens()[::16]
    cases = [(_copier(seed), torch.arange(seed, 11), k) for seed, k in ((0, 1), (1, 2), (2, 4))]
    cases += [(model, common, 10) for model in (trained, hidden)]
    for model, tokens, k in cases:
        got = numbers(answer(model, tokens.clone(), k), "The list of shares")
        n = model.cfg.n_heads
        require(tuple(got.shape) == (n,), f"The answer has shape {list(got.shape)}, expected [{n}]: one share a head.")
        tables = [model.W_E[tokens] @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(n)]
        placed = model.W_E[tokens] + model.W_pos[: 1 + len(tokens)][-1]
        want = _own(tables, tokens, k)
        mistakes = {
            "You count the very first output only: count the k largest.": _own(tables, tokens, 1),
            f"You count {k + 1} outputs, not {k}.": _own(tables, tokens, k + 1),
            "These are counts: divide by the number of tokens.": want * len(tokens),
            "These rows read a position. Values read none: only queries and keys do.":
                _own([placed @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U for h in range(n)], tokens, k),
            "You ask for the lowest outputs, not the largest.": _own([-table for table in tables], tokens, k),
        }  # fmt: skip
        name_mistake(got, mistakes, want=want)
        require_close(got, want, f"Among the {k} largest, the share", 1e-6, "W_E W_V W_O W_U, row by row.")
    shares = _own(tables, common, 10)[[order[0].index(h) for h in range(trained.cfg.n_heads)]]
    top = shares.argsort(descending=True)[:3].tolist()
    random = random_heads(trained)
    heads = range(trained.cfg.n_heads)
    chance = _own([random.W_E[common] @ random.W_V[0, h] @ random.W_O[0, h] @ random.W_U for h in heads], common, 10)
    return (
        f"In the trained model heads {', '.join(map(str, top))} copy most: "
        f"{', '.join(f'{shares[h]:.0%}' for h in top)}. Of random heads the best has {chance.max():.0%}."
    )


def _copier(seed: int):
    """A small model in which head 1 copies and head 2 does the opposite, a little."""
    model = small_model(SMALL, seed + 20)
    E = torch.linalg.pinv(model.W_E) @ torch.linalg.pinv(model.W_U)
    u, s, v = torch.linalg.svd(E)
    d = SMALL.d_head
    for head, sign in ((1, 1), (2, -1)):
        model.W_V[0, head] += 3 * u[:, :d]
        model.W_O[0, head] += 3 * sign * (s[:d, None] * v[:d])
    return model


def _own(tables, tokens, k: int) -> torch.Tensor:
    """Of each head, the share of tokens of which fewer than k outputs are raised more than the token itself."""
    ranks = [(table > table.gather(1, tokens[:, None])).sum(dim=1) for table in tables]
    return torch.stack([(rank < k).double().mean() for rank in ranks])


@exercise("Exercise 4.3")
def frozen_matrix(answer, borrower) -> str:
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
    placed = moved + here
    for h, q, k in itertools.product(range(SMALL.n_heads), range(P), range(P)):
        placed[q, k] += A[h, q, k] * model.W_pos[k] @ model.W_V[0, h] @ model.W_O[0, h] @ model.W_U
    mistakes = {
        "The positions are in the values here. Only queries and keys read them.": placed,
        "The direct path is missing.": moved,
        "The heads are missing: this is the direct path alone.": here,
        "The direct path moves nothing: its block is zero unless query and key are the same.": moved + direct,
        "Query and key are swapped.": (moved + here).transpose(0, 1),
        "The tables are transposed: in our rows, the token looked at comes first, the next token last.":
            (moved + here).transpose(2, 3),
    }  # fmt: skip
    name_mistake(got, mistakes, want=moved + here)
    t = torch.nn.functional.one_hot(tokens[0], V).double()
    require_close(torch.einsum("kv,qkvw->qw", t, got), logits[0], "A logit of the text", 1e-6,
                  "Each block is a sum over paths: a weight times a table.")  # fmt: skip
    require_close(got, moved + here, "The matrix", 1e-6, "The text's own logits are right: look at the other entries.")
    said = "One matrix, and the whole model but for its patterns."
    for seed in (5, 4, 32):
        small = small_model(SMALL, seed, W_O=4, W_Q=4)
        _judge_borrower(borrower, said, small, drawn_tokens(SMALL.d_vocab, (2, 8), seed), "a small model", 1e-5)
    trained = load_model("one-layer", "cpu")
    texts = windows(load_text("validation"), 128)[[40, 1500]]
    for model, which in ((trained, "the trained model"), (disguised(trained, 9)[0], "a model of ours")):
        _judge_borrower(borrower, said, model, texts, which, 1e-3)
    head, borrowed, cut = _borrower(_rises_held(trained, texts))
    return (
        f"{said} In the trained model head {head} can borrow its pattern from another text ({borrowed:+.2f} nats), and "
        f"with none the loss rises by {cut:.2f}."
    )


def _rises_held(model, tokens, skip: int = 1) -> torch.Tensor:
    """[head, 2] the rise of the loss with a head's pattern on the other text, and with none; the others' as they are.

    The last row: all heads at once.
    """
    pattern, x = model.run_with_cache(tokens)[1].pattern[0], model.W_E[tokens]

    def written(pattern):
        return torch.einsum("bhqk,bkm,hmd,hdn->hbqn", pattern, x, model.W_V[0], model.W_O[0])

    def loss(stream) -> float:
        logits = stream[:, skip:-1] @ model.W_U
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, skip + 1 :].flatten()).item()

    own, other = written(pattern), written(pattern.flip(0))
    whole = x + own.sum(dim=0)
    heads = [(whole - a + b, whole - a) for a, b in zip(own, other, strict=True)]
    before = loss(whole)
    rises = [[loss(stream) - before for stream in pair] for pair in (*heads, (x + other.sum(dim=0), x))]
    return torch.tensor(rises, dtype=torch.float64)


def _borrower(rises: torch.Tensor) -> tuple[int, float, float]:
    head = int((rises[:-1, 1] - rises[:-1, 0]).argmax())
    return head, *rises[head].tolist()


def _judge_borrower(answer, said: str, model, tokens, which: str, tolerance: float) -> None:
    got = second_half(answer, "borrower", said, model, tokens.clone())
    require_parts(got, 3, f"borrower returns {got!r}, expected a head and two rises of the loss.")
    found = whole_number(got[0], "The head")
    pair = torch.tensor([one_number(x, "A rise") for x in got[1:]], dtype=torch.float64)
    rises, loss = _rises_held(model, tokens), loss_by_position(model, tokens)[:, 1:].mean()
    head, told = _borrower(rises)[0], f"On {which} you say head {found}, {pair[0]:+.4g} and {pair[1]:+.4g} nats"
    require(0 <= found < model.cfg.n_heads, f"{told}: its heads count from 0 to {model.cfg.n_heads - 1}.")
    slips = {
        "All heads are changed at once: one at a time, with the others' patterns as they are.": rises[-1],
        "The two are swapped: the borrowed pattern comes first.": rises[found].flip(0),
        "The sign is the other way round: count a rise of the loss up.": -rises[found],
        "That is the loss itself; asked is by how much it rises.": rises[found] + loss,
        "The prediction at position 0 counts for you: leave it out.": _rises_held(model, tokens, skip=0)[found],
    }
    name_mistake(pair, slips, f"{told}. {{}}", tolerance, rises[found])
    if found != head:
        least = found == int(rises[:-1, 0].argmin())
        why = "It may borrow, but is it needed?" if least else "Another has more between the two."
        raise Wrong(f"{told}. {why} Take the head for which the second rise exceeds the first most.")
    require_close(pair[0], rises[head, 0], f"On {which}, the rise for head {head} with a borrowed pattern", tolerance,
                  "Exchange this head's patterns between the two texts; the texts stay where they are.")  # fmt: skip
    require_close(pair[1], rises[head, 1], f"On {which}, the rise for head {head} with none", tolerance,
                  "Its pattern is zero everywhere.")  # fmt: skip


@exercise("Exercise 4.4")
def term_variation(answer) -> str:
    trained = load_model("one-layer", "cpu")
    hidden, order = disguised(trained, 6)
    text = windows(load_text("validation"), 256)[75]
    cases = [
        (small_model(SMALL, seed), drawn_tokens(SMALL.d_vocab, (n,), seed)) for seed, n in ((8, 7), (9, 2), (10, 5))
    ]
    for model, tokens in (*cases, (trained, text), (hidden, text)):
        got = numbers(answer(model, tokens.clone()), "The table")
        require_shape(got, (model.cfg.n_heads, 4), "The table", "One row a head, one column a kind of term.")
        d, lower = model.cfg.d_head, torch.ones(len(tokens), len(tokens)).tril().bool()
        terms = torch.stack([_terms(model, tokens, head) for head in range(model.cfg.n_heads)])
        want = _spread(terms, lower)
        mistakes = {
            "√d_head is missing: scores are divided by it.": want * d**0.5,
            "Divided by d_head: it should be its square root.": want / d**0.5,
            "The two mixed terms are swapped: the query's side is named first.": want[:, [0, 2, 1, 3]],
            "Query and key are swapped in each table.": _spread(terms.mT, lower),
            "W_Q and W_K have changed places.":
                _spread(torch.stack([_terms(model, tokens, h, swap=True) for h in range(model.cfg.n_heads)]), lower),
            "Every query sees all keys here: take only keys up to the query.":
                _spread(terms, torch.ones_like(lower)),
            "The masked keys count as zeros here: leave them out.":
                _spread(terms * lower, torch.ones_like(lower)),
            "This is the variance: take its root, query by query.": _spread(terms, lower, root=False),
            "This divides by the number of keys less one: divide by the number of keys.":
                _spread(terms, lower, correction=1),
            "Query 0 sees one key only, and is left out of the mean.":
                want * (len(tokens) - 1) / len(tokens),
        }  # fmt: skip
        name_mistake(got, mistakes, want=want)
        require_close(got, want, "An entry", 1e-4, "Row = head, column = kind; token–token first.")
    table = want[[order[0].index(h) for h in range(trained.cfg.n_heads)]]
    head = int(table[:, 3].argmax())
    by_token = (table.argmax(dim=1) == 0).nonzero().flatten().tolist()
    return (
        f"In the trained model head {head} goes most by positions, and the token–token term varies most in heads "
        f"{', '.join(map(str, by_token))}."
    )


def _terms(model, tokens, head, swap: bool = False) -> torch.Tensor:
    reads = model.W_E[tokens], model.W_pos[: len(tokens)]
    W = model.W_Q[0, head] @ model.W_K[0, head].T
    W = W.T if swap else W
    return torch.stack([a @ W @ b.T for a in reads for b in reads]) / model.cfg.d_head**0.5


def _spread(terms: torch.Tensor, seen: torch.Tensor, root: bool = True, correction: int = 0) -> torch.Tensor:
    """Standard deviation over the keys seen, mean over the queries from 1 on, by sums."""
    n = seen.sum(dim=1)[1:]
    terms, seen = terms[..., 1:, :].double(), seen[1:]
    mean = (terms * seen).sum(dim=-1) / n
    variance = ((terms - mean[..., None]).square() * seen).sum(dim=-1) / (n - correction)
    return (variance.sqrt() if root else variance).mean(dim=-1)


@exercise("Exercise 4.5")
def trigram_value(answer, strongest) -> str:
    model, head, root = small_model(SMALL, 10), 2, SMALL.d_head**0.5
    E = model.W_E.double()
    raw_qk = torch.einsum("bm,md,nd,an->ba", E, model.W_Q[0, head], model.W_K[0, head], E)
    raw_ov = torch.einsum("am,md,dn,nc->ac", E, model.W_V[0, head], model.W_O[0, head], model.W_U)
    qk = (raw_qk - raw_qk.mean(dim=1, keepdim=True)) / root
    ov = raw_ov - raw_ov.mean(dim=1, keepdim=True)
    triples = list(itertools.product(range(0, 11, 2), range(1, 11, 3), range(0, 11, 3)))
    a, b, c = torch.tensor(triples).T
    look, rise = qk[b, a], ov[a, c]
    got = torch.stack([_number(answer(model, head, *triple)) for triple in triples])
    positive = lambda x, y: x.clamp(min=0) * y.clamp(min=0)  # noqa: E731
    want = positive(look, rise)
    raw_look, raw_rise = raw_qk[b, a] / root, raw_ov[a, c]
    over_destinations = (raw_qk - raw_qk.mean(dim=0))[b, a] / root
    over_sources = (raw_ov - raw_ov.mean(dim=0))[a, c]
    mistakes = {
        "√d_head is missing: the QK entry is to be a score.": positive(root * look, rise),
        "Divided by d_head: it should be its square root.": positive(look / root, rise),
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
        "Source and destination are swapped: the source makes the key, and is what OV carries.":
            positive(qk[a, b], ov[b, c]),
        "OV is entered by the destination: it is the source that is carried.": positive(look, ov[b, c]),
        "OV is read the wrong way round: from the source to the output.": positive(look, ov[c, a]),
    }  # fmt: skip
    name_mistake(got, mistakes, want=want)
    first = int((got - want).abs().nan_to_num(torch.inf).argmax())
    where = "source {}, destination {}, out {}".format(*triples[first])
    require_close(got[first], want[first], f"The value for {where}", 1e-6, "Score times logit, both centred.")
    said = f"{int((want > 0).sum())} of {len(triples)} triples have a value above 0."
    # In the last two another head has the largest sum over the sources.
    for seed, sources in (
        (10, [1, 4, 6, 9]), (12, [10, 3, 8, 5]), (17, [7, 2, 9]), (274, [8, 1, 6, 9]), (400, [1, 5, 6, 10])
    ):  # fmt: skip
        _judge_strongest(strongest, said, small_model(SMALL, seed), sources, 3, 2, "a small model")
    trained, one = load_model("one-layer", "cpu"), load_tokenizer().one
    sources = [one(word) for word in PYTHON]
    hidden, _ = disguised(trained, 12)
    for destination, out in ((" in", " range"), (" =", " await"), (")", " as"), ("(", "self")):
        for model, which in ((trained, "the trained model"), (hidden, "a model of ours")):
            _judge_strongest(strongest, said, model, sources, one(destination), one(out), which)
    look, rise = _halves(trained, sources, one(" in"), one(" range"))
    value, (head, place) = _largest(look.clamp(min=0) * rise.clamp(min=0))
    chance = _halves(random_heads(trained), sources, one(" in"), one(" range"))
    random, _ = _largest(chance[0].clamp(min=0) * chance[1].clamp(min=0))
    return (
        f"{said} In the trained model {PYTHON[place].replace(' ', '·')} … ·in → ·range is the work of head {head}, "
        f"value {value:.1f}; random heads reach {random:.1f}."
    )


PYTHON = (" def", " if", " import", " try", " with", " for", " async", " class", " return", " while", " yield")


def _halves(model, sources: list[int], destination: int, out: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[head, source]: the score, centred over all sources, and the logit, centred over all outputs."""
    q = model.W_E[destination] @ model.W_Q[0]
    scores = torch.einsum("hd,hmd,am->ha", q, model.W_K[0], model.W_E - model.W_E.mean(dim=0)) / model.cfg.d_head**0.5
    target = model.W_U[:, out] - model.W_U.mean(dim=1)
    return scores[:, sources], torch.einsum("am,hmd,hdn,n->ha", model.W_E[sources], model.W_V[0], model.W_O[0], target)


def _largest(table: torch.Tensor) -> tuple[float, tuple[int, int]]:
    """The largest entry, and where it is: head, place of the source."""
    return table.max().item(), divmod(int(table.argmax()), table.shape[1])


def _judge_strongest(answer, said: str, model, sources: list[int], destination: int, out: int, which: str) -> None:
    got = second_half(answer, "strongest", said, model, list(sources), destination, out)
    require_parts(got, 3, f"strongest returns {got!r}, expected a head, a source and the value.")
    found, value = tuple(whole_number(x, "A head or a source") for x in got[:2]), one_number(got[2], "The value")
    look, rise = _halves(model, sources, destination, out)
    values = look.clamp(min=0) * rise.clamp(min=0)
    best, (head, place) = _largest(values)
    right, told = (head, sources[place]), f"On {which} you find head {found[0]}, source {found[1]}"
    if found == right:
        require_close(value, best, f"On {which} the value of head {head}, source {sources[place]},", 1e-3 * best,
                      "It is what your first function returns.")  # fmt: skip
        return
    most = int(values.sum(dim=1).argmax())
    slips = {
        "That head has the largest sum over the sources: asked is the largest value of one.": (
            most, sources[int(values[most].argmax())]),
        "Return the source itself, a token's id, and not its place in the list.": (head, place),
        "The head comes first.": right[::-1],
    }  # fmt: skip
    of_tables = {
        "That is the largest product, but both its factors are negative.": look * rise,
        "That is where the look is largest; what does the look raise?": look,
        "That is where the output rises most; is it looked at?": rise,
    }
    slips |= {words: (h, sources[at]) for words, (_, (h, at)) in zip(of_tables, map(_largest, of_tables.values()),
                                                                     strict=True)}  # fmt: skip
    for words, wrong in slips.items():
        require(found != wrong, f"{told}. {words}")
    fits = found[0] in range(len(look)) and found[1] in sources
    require(fits, f"{told}: expected a head, 0 to {len(look) - 1}, and one of the sources.")
    at = found[0], sources.index(found[1])
    own = f"whose value is {values[at]:.4g}"
    raise Wrong(f"{told}, {own}; another pair has {best:.4g}. Go through all {len(look)} heads and all the sources.")


@exercise("Exercise 4.6")
def find_bug(answer) -> str:
    for seed in (13, 15, 28, 30, 32):  # the worst bug is another if cells are left out, or signs, or a product taken
        qk, ov = normal((6, 5), seed), normal((5, 7), seed + 20)
        qk, ov = qk - qk.mean(dim=1, keepdim=True), ov - ov.mean(dim=1, keepdim=True)
        _judge_bug(answer, qk, ov, normal((6, 7), seed + 40) > 0)
    return "Found, in five pairs of tables" + _trained_bug(answer)


def _judge_bug(answer, qk, ov, follows) -> list[int]:
    got = answer(qk.clone(), ov.clone(), follows.clone())
    require_given(got)
    got = [int(index) for index in got]
    require(len(got) == 5, f"The answer has {len(got)} numbers, expected five: a, b1, c1, b2, c2.")
    a, b1, c1, b2, c2 = got
    fits = all(0 <= i < n for i, n in zip(got, (qk.shape[1], *2 * follows.shape), strict=True))
    sizes = f"{qk.shape[1]} sources, {len(qk)} destinations, {ov.shape[1]} outputs"
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
    return got


def _trained_bug(answer) -> str:
    """The same search in a head of the trained model, among some tokens, with the pairs that the text has."""
    model, tokenizer, head = load_model("one-layer", "cpu").double(), load_tokenizer(), 4
    sources = torch.tensor([tokenizer.one(word) for word in ("mary", "jugate", "clar", " async", "joint")])
    destinations = torch.tensor([tokenizer.one(word) for word in ("pri", "ver", "con", "trans", "ad", "pro")])
    outs = torch.tensor([tokenizer.one(word) for word in ("mary", "bose", "jugate", "pose", "joint", " await", "tent")])
    qk = qk_circuit(model, 0, head, centred=True).take(destinations, sources).AB / model.cfg.d_head**0.5
    ov = ov_circuit(model, 0, head, centred=True).take(sources, outs).AB
    follows = torch.from_numpy(bigram_counts()[destinations.tolist()][:, outs.tolist()].toarray()) > 0
    a, b1, c1, b2, c2 = _judge_bug(answer, qk, ov, follows)
    (b1, c1), (b2, c2) = sorted(((b1, c1), (b2, c2)))  # whichever comes first in the answer
    a, b1, c1, b2, c2 = map(tokenizer.show, (sources[a], destinations[b1], outs[c1], destinations[b2], outs[c2]))
    return f", and in head 4 of the trained model: {a} … {b1} → {c1}, {b2} → {c2}, so also {b1} → {c2}, {b2} → {c1}."


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


def _number(got) -> torch.Tensor:
    require_given(got)
    got = torch.as_tensor(got).detach().double()
    require(got.numel() == 1, f"The value has shape {list(got.shape)}, expected one number.")
    return got.reshape(())
