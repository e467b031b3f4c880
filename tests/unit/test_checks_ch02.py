"""The checkers of chapter 2: what they say to plausible mistakes."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch02

# --- plausible mistakes: (checker, answer, what the message must say) ---


def counted(pairs, d_vocab):
    now, after = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).T
    return torch.zeros(d_vocab, d_vocab).index_put((now, after), torch.ones(()), accumulate=True)


def count_all(tokens, d_vocab, start_id):
    return counted(pairwise(tokens), d_vocab)


def count_across(tokens, d_vocab, start_id):
    return counted(pairwise(t for t in tokens if t != start_id), d_vocab)


def count_transposed(tokens, d_vocab, start_id):
    return counted(((b, a) for a, b in pairwise(tokens) if start_id not in (a, b)), d_vocab)


def count_once(tokens, d_vocab, start_id):
    return counted({(a, b) for a, b in pairwise(tokens) if start_id not in (a, b)}, d_vocab)


def count_from_zero(tokens, d_vocab, start_id):
    return counted(kept(tokens, 0), d_vocab)


def count(tokens, d_vocab, start_id):
    return counted(kept(tokens, start_id), d_vocab)


def missing(tokens, d_vocab, start_id, of=lambda counts, expected: expected - counts, says=None, n=None, table=count):
    """The pair that is most missing, with one mistake."""
    counts = table(tokens, d_vocab, start_id)
    expected = counts.sum(1, keepdim=True) * counts.sum(0) / (n or counts.sum())
    now, after = divmod(of(counts, expected).argmax().item(), d_vocab)
    return now, after, (says or (lambda counts, expected: expected - counts))(counts, expected)[now, after]


def missing_with(**mistake):
    return lambda *given: missing(*given, **mistake)


def of_all_tokens(tokens, d_vocab, start_id):
    return missing(tokens, d_vocab, start_id, n=len(tokens), says=lambda c, e: e - c)


def one_sum_twice(dim):
    def answer(tokens, d_vocab, start_id):
        counts = count(tokens, d_vocab, start_id)
        sums = counts.sum(dim)
        lacks = sums[:, None] * sums / counts.sum() - counts
        return *divmod(lacks.argmax().item(), d_vocab), lacks.max()

    return answer


def the_most_frequent_token_twice(tokens, d_vocab, start_id):
    counts = count(tokens, d_vocab, start_id)
    a = counts.sum(1).argmax().item()
    return a, a, counts[a].sum() * counts[:, a].sum() / counts.sum() - counts[a, a]


def smooth(counts, k):
    return (counts + k) / (counts + k).sum(1, keepdim=True)


def chosen(counts, held_out, ks, best=min):
    return best(ks, key=lambda k: -(held_out * smooth(counts, k).log()).sum())


def frequencies(counts):
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def by_squares(counts, held_out, ks):
    return min(ks, key=lambda k: (frequencies(held_out) - smooth(counts, k)).square().sum())


def row_by_row(counts, held_out, ks):
    return chosen(counts, frequencies(held_out), ks)


def stub(*_):
    raise NotImplementedError


def kept(tokens, start_id):
    return [(a, b) for a, b in pairwise(tokens) if start_id not in (a, b)]


def mean(values):
    return sum(values) / len(values)


def next_token(W_E, W_U, token):
    return (W_E[token] @ W_U).softmax(0)


def entropy(W_E, W_U):
    log_probs = (W_E @ W_U).log_softmax(1)
    return -(log_probs.exp() * log_probs).sum(1)


def cross_entropy(log_probs, tokens, start_id):
    return mean([-log_probs[a, b] for a, b in kept(tokens, start_id)])


def losses(model, tokens, first=1):
    said = model(tokens)[:, first:-1].log_softmax(-1)
    return -said.gather(2, tokens[:, first + 1 :, None])[..., 0]


def helps(first, second, tokens, sign=1, start=1, late=0, alone=False):
    saved = losses(first, tokens, start) - (0 if alone else losses(second, tokens, start))
    by = tokens[:, start + late : tokens.shape[1] - 1 + late].flatten()
    return torch.zeros(first.cfg.d_vocab, dtype=saved.dtype).index_add(0, by, sign * saved.flatten())


def mean_help(first, second, tokens):
    often = torch.bincount(tokens[:, 1:-1].flatten(), minlength=first.cfg.d_vocab)
    return helps(first, second, tokens) / often.clamp(min=1)


def width(P):
    logits = P.log() - P.log().mean(1, keepdim=True)
    return torch.linalg.matrix_rank(logits, atol=1e-9)


def rank_of(ask, tokens):
    return torch.linalg.matrix_rank(ask(tokens).flatten(0, 1))


# An answer of a second function, with a right first one: (checker, answers, what the message must say)
SECONDS = [
    ("count_pairs", (count, missing_with(of=lambda c, e: c - e)), "comes most often beyond"),
    ("count_pairs", (count, missing_with(of=lambda c, e: e)), "is expected most"),
    ("count_pairs", (count, missing_with(of=lambda c, e: e / (c + 1e-9))), "rare tokens win"),
    ("count_pairs", (count, missing_with(says=lambda c, e: c - e)), "The sign is the other way"),
    ("count_pairs", (count, missing_with(says=lambda c, e: c)), "how often the pair comes"),
    ("count_pairs", (count, missing_with(says=lambda c, e: e)), "how often the pair is expected"),
    ("count_pairs", (count, missing_with(table=count_transposed)), "Present and next are exchanged"),
    ("count_pairs", (count, missing_with(table=count_all)), "expected (2, 3)"),
    ("count_pairs", (count, missing_with(table=count_across)), "expected (2, 3)"),
    ("count_pairs", (count, missing_with(table=count_from_zero)), "expected (2, 3)"),
    ("count_pairs", (count, of_all_tokens), "not of tokens"),
    ("count_pairs", (count, one_sum_twice(1)), "Your m(b) is n(b)"),
    ("count_pairs", (count, one_sum_twice(0)), "Your n(a) is m(a)"),
    ("count_pairs", (count, the_most_frequent_token_twice), "expected"),
    ("count_pairs", (count, lambda *given: missing(*given)[:2]), "has shape [2], expected [3]"),
    ("count_pairs", (count, lambda *given: (-1, 70_000, 5.0)), "you say pair (-1, 70000)"),
    ("count_pairs", (count, lambda *given: None), "is None"),
    ("smooth", (smooth, lambda *given: chosen(*given, best=max)), "where the loss is largest"),
    ("smooth", (smooth, lambda counts, held_out, ks: chosen(counts, counts, ks)), "which tests nothing"),
    ("smooth", (smooth, lambda counts, held_out, ks: chosen(held_out, counts, ks)), "tested on the others"),
    (
        "smooth",
        (smooth, lambda counts, held_out, ks: chosen(counts, (held_out > 0).double(), ks)),
        "0.5. Every pair counts",
    ),
    ("smooth", (smooth, lambda counts, held_out, ks: chosen(counts, 0 * counts + 1, ks)), "All pairs count alike"),
    ("smooth", (smooth, by_squares), "For the trained model's text your k is 3, expected 0.5"),
    ("smooth", (smooth, row_by_row), "For one frequent token"),
    ("smooth", (smooth, stub), "Now `best_k`"),
    ("count_pairs", (count, stub), "Now `most_missing`"),
    ("smooth", (smooth, lambda counts, held_out, ks: min(ks)), "expected"),
    ("smooth", (smooth, lambda counts, held_out, ks: max(ks)), "expected"),
    ("smooth", (smooth, lambda counts, held_out, ks: ks[-1]), "expected"),
    ("smooth", (smooth, lambda counts, held_out, ks: 0.03), "none of [3.0, 0.5, 0.01]"),
    ("smooth", (smooth, lambda counts, held_out, ks: None), "is None"),
    ("next_token", (next_token, lambda E, U, t: t[entropy(E, U)[t].argmax()]), "least sure"),
    ("next_token", (next_token, lambda E, U, t: entropy(E, U)[t].argmin()), "its place in the list"),
    ("next_token", (next_token, lambda E, U, t: entropy(E, U).argmin()), "among the tokens given"),
    ("next_token", (next_token, lambda E, U, t: None), "is None"),
    ("next_token", (next_token, stub), "Now `surest`"),
    ("cross_entropy", (cross_entropy, stub), "Now `context_helps`"),
    ("smallest_width", (width, stub), "Now `width_of`"),
    ("cross_entropy", (cross_entropy, lambda *given: helps(*given, sign=-1)), "the other way"),
    ("cross_entropy", (cross_entropy, lambda *given: helps(*given, start=0)), "position 0"),
    ("cross_entropy", (cross_entropy, lambda *given: helps(*given, late=1)), "by the next token"),
    ("cross_entropy", (cross_entropy, lambda *given: helps(*given, alone=True)), "of the first model alone"),
    ("cross_entropy", (cross_entropy, mean_help), "take the sum"),
    ("smallest_width", (width, rank_of), "One too many"),
    ("smallest_width", (width, lambda ask, t: torch.linalg.matrix_rank(ask(t).exp().flatten(0, 1))), "take the log"),
    ("smallest_width", (width, lambda ask, t: 384), "For a small model"),
]
SECOND_OF = {checker for checker, *_ in SECONDS}


MISTAKES = [
    ("count_pairs", count_all, "with the start token"),
    ("count_pairs", count_across, "across two documents"),
    ("count_pairs", count_transposed, "transposed"),
    ("count_pairs", count_from_zero, "The start token is taken to be 0"),
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
    ("cross_entropy", lambda L, t, s: sum(-L[a, b] for a, b in kept(t, s)) / len(t), "by the number of tokens"),
    ("cross_entropy", lambda L, t, s: cross_entropy(L, t, 0), "The start token is taken to be 0"),
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
    ("smallest_width", lambda P: max(width(P), torch.tensor(1)), "give matrix_rank an atol"),
    ("smallest_width", lambda P: torch.linalg.matrix_rank(P - P.mean(1, keepdim=True), atol=1e-9), "is 7, expected 3"),
]


@pytest.mark.parametrize(("name", "answer", "says"), MISTAKES)
def test_a_mistake_fails_with_a_message_that_names_it(name, answer, says):
    rest = [not_reached] if name in SECOND_OF else []
    outcome = getattr(ch02, name)(answer, *rest)
    assert outcome.status == "failed", outcome
    assert says in outcome.message


def not_reached(*_):
    raise AssertionError("the first function is wrong, and the second was asked")


@pytest.mark.parametrize(("name", "answers", "says"), SECONDS)
def test_a_mistake_of_the_second_function_is_named(name, answers, says):
    outcome = getattr(ch02, name)(*answers)
    assert outcome.status == "failed", outcome
    assert says in outcome.message


def by_dictionary(tokens, d_vocab, start_id):
    """The same without a table: of the pairs that never come, each token has one that may be the most missing."""
    pairs = kept(tokens, start_id)
    often, first, second = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    common = [b for b, _ in second.most_common()]
    never = {(a, next((b for b in common if (a, b) not in often), common[0])) for a in first}
    lacks = {(a, b): first[a] * second[b] / len(pairs) - often[a, b] for a, b in never.union(often)}
    pair = max(lacks, key=lacks.get)
    return [*pair, lacks[pair]]


def by_mean(counts, held_out, ks):
    losses = [-(held_out.double() * smooth(counts.double(), k).log()).sum() / held_out.sum() for k in ks]
    return torch.tensor(ks)[torch.stack(losses).argmin()]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("count_pairs", (count, missing)),
        ("count_pairs", (lambda *given: count(*given).int(), by_dictionary)),
        ("smooth", (smooth, chosen)),
        ("smooth", (smooth, by_mean)),
        ("smooth", (smooth, lambda counts, held_out, ks: chosen(counts.float(), held_out.float(), ks))),
    ],
)
def test_right_answers_in_other_forms_pass(name, answers):
    outcome = getattr(ch02, name)(*answers)
    assert outcome.status == "passed", outcome


def test_every_checker_has_two_mistakes_or_more():
    told = [name for name, *_ in MISTAKES]
    checkers = checkers_of(ch02)
    assert len(checkers) == 5 and all(told.count(name) >= 2 for name in checkers)
