"""The checkers of chapter 10: what they say to plausible mistakes, and that they take right answers of any make."""

from dataclasses import replace

import numpy as np
import torch
from checker_checks import same_tests

from course_utils.checkpoints import load_model
from course_utils.checks import ch10
from course_utils.model import AttentionOnlyTransformer


def runs(first, last=lambda layer, layers: layer == layers - 1 > 0):
    """Names of the runs whose layer `first(score of the best head [measured, layers])` is the last, or none."""

    def answer(logs):
        best = {name: log["previous_token"].max(axis=2) for name, log in logs.items()}
        return [name for name, score in best.items() if last(first(score), score.shape[1])]

    return answer


def first_over(score, least=0.3):
    over = (score > least).any(axis=1)
    return score[over.argmax()].argmax() if over.any() else -1


def one_by_one(logs):
    """The same with loops."""
    found = set()
    for name, log in logs.items():
        for scores in log["previous_token"]:
            layers = [layer for layer, heads in enumerate(scores) if max(heads) > 0.3]
            if layers:
                if layers == [len(scores) - 1] and len(scores) > 1:
                    found.add(name)
                break
    return found


def from_the_end(tokens, loss, other, ahead):
    found = None
    for place in reversed(range(len(tokens))):
        if other[place] - loss[place] <= ahead:
            return found
        found = torch.tensor(float(tokens[place]))
    return found


def lead_of(lead, ahead=None, stays=True, shown=lambda tokens, place: tokens[place]):
    """Where a lead(loss, other) begins that is larger than `ahead` (the one asked for), and stays."""

    def answer(tokens, loss, other, asked):
        there = lead(loss, other) > (asked if ahead is None else ahead)
        if stays:
            there = np.logical_and.accumulate(there[::-1])[::-1]
        return shown(tokens, np.argmax(there)) if there.any() else None

    return answer


def below(loss, other):
    return other - loss


def smeared(keys, alpha, before=None, own=None):
    own = alpha.sigmoid()[:, None, None] if own is None else own
    before = torch.cat([keys[:, :1], keys[:, :-1]], dim=1) if before is None else before
    return own * keys + (1 - own) * before


def smeared_in_place(keys, alpha):
    keys.copy_(smeared(keys, alpha))
    return keys


def looks(model, tokens, alpha, placed=True, layer=1, root=0.5, first=None, best=max, from_place=0, last=None):
    """The second half of exercise 3, with what can go wrong."""
    pos, N = tokens.shape[1], tokens.shape[1] // 2
    x = model.run_with_cache(tokens)[1].resid[layer][0] + model.W_pos[:pos] * placed
    scores = x @ model.W_Q[layer] @ smeared(x @ model.W_K[layer], alpha).mT / model.cfg.d_head**root
    pattern = scores.masked_fill(torch.ones(pos, pos).triu(1).bool(), -torch.inf).softmax(dim=-1)
    found = {}
    for places in range(4):
        mean = pattern.diagonal(places - N, 1, 2)[:, -N if first is None else first : last].mean(dim=1)
        found |= {(head, places): value.item() for head, value in enumerate(mean)}
    head, places = best(found, key=found.get)
    return head, places - from_place, found[head, places]


def query_by_query(model, tokens, alpha):
    """The same from the cache of a model that smears its keys in layer 1."""
    cfg = replace(model.cfg, smeared_keys=True)
    other = AttentionOnlyTransformer(cfg).to(model.W_E.dtype).requires_grad_(False)
    for name, weight in model.named_parameters():
        getattr(other, name).copy_(weight)
    other.smear[0], other.smear[1] = 40, alpha
    pattern, N = other.run_with_cache(tokens)[1].pattern[1, 0], tokens.shape[1] // 2
    means = [[(sum(head[q, q - N + places] for q in range(N + 1, 2 * N + 1)) / N).item() for places in range(4)]
             for head in pattern]  # fmt: skip
    head, places = divmod(int(torch.tensor(means).argmax()), 4)
    return head, places, means[head][places]


def as_in_the_trained_model(model, tokens, alpha):
    return looks(load_model("two-layer", "cpu") if model.cfg.n_heads == 12 else model, tokens, alpha)


def by_hand(sharp=15.0, alpha=-10.0, turned=False):
    def answer(d_vocab):
        W_K = torch.eye(d_vocab)
        return sharp * d_vocab**0.5 * torch.eye(d_vocab), W_K.roll(1, dims=0) if turned else W_K, alpha

    return answer


def nothing(*_):
    return None


def stub(*_):
    raise NotImplementedError


MISTAKES = [
    (ch10.nobody_reads, runs(first_over, lambda layer, layers: layer == layers - 1), "A run of one layer"),
    (ch10.nobody_reads, runs(lambda s: s[-1].argmax() if s.max() > 0.3 else -1), "by the end of the runs"),
    (ch10.nobody_reads, runs(lambda s: s.max(axis=0).argmax() if s.max() > 0.3 else -1), "of the whole run"),
    (ch10.nobody_reads, runs(first_over, lambda layer, layers: layer > 0), "a middle layer"),
    (ch10.nobody_reads, runs(first_over, lambda layer, layers: 0 <= layer < layers - 1), "you name"),
    (ch10.nobody_reads, lambda logs: set(logs) - set(one_by_one(logs)), "where somebody reads"),
    (ch10.nobody_reads, lambda logs: [2], "no names of runs"),
    (ch10.nobody_reads, lambda logs: 2, "not int"),
    (ch10.nobody_reads, lambda logs: "b", "a list of names"),
    (ch10.nobody_reads, nothing, "None"),
    (ch10.parted, lead_of(below, stays=False), "does it stay"),
    (ch10.parted, lead_of(lambda loss, other: loss - other), "must be ahead"),
    (ch10.parted, lead_of(lambda loss, other: abs(loss - other)), "must be ahead"),
    (ch10.parted, lead_of(below, ahead=0), "Any lead counts"),
    (ch10.parted, lead_of(below, ahead=0.05), "a wider gap"),
    (ch10.parted, lead_of(below, shown=lambda tokens, place: place), "number of the measurement"),
    (ch10.parted, lead_of(below, shown=lambda tokens, place: tokens[place - 1]), "one further"),
    (ch10.parted, lambda tokens, *_: tokens, "not an array"),
    (ch10.parted, nothing, "got None"),
    (ch10.smear, (lambda k, a: smeared(k, -a), looks), "swapped"),
    (ch10.smear, (lambda k, a: smeared(k, a, own=a[:, None, None]), looks), "sigmoid is missing"),
    (ch10.smear, (lambda k, a: smeared(k, a, before=torch.cat([k[:, 1:], k[:, -1:]], 1)), looks), "look ahead"),
    (ch10.smear, (lambda k, a: smeared(k, a, before=k.roll(1, dims=1)), looks), "goes round"),
    (ch10.smear, (lambda k, a: smeared(k, a, before=torch.cat([0 * k[:, :1], k[:, :-1]], 1)), looks), "with zeros"),
    (ch10.smear, (lambda k, a: smeared(k, a, before=torch.cat([k[:1], k[:-1]])), looks), "head before"),
    (ch10.smear, (lambda k, a: smeared(k, a, own=a.sigmoid().mean()), looks), "A smeared key"),
    (ch10.smear, (lambda k, a: smeared(k, a)[:, 1:], looks), "has shape [3, 4, 4], expected [3, 5, 4]"),
    (ch10.smear, (lambda k, a: k, looks), "as they were"),
    (ch10.smear, (smeared_in_place, looks), "You changed what you were given"),
    (ch10.smear, (nothing, looks), "None"),
    (ch10.smear, (smeared, stub), "That half is right"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, 40 + 0 * a)), "Nothing is smeared here"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, placed=False)), "read positions, too"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, root=0)), "not divided by √d_head"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, layer=0)), "That is layer 0"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, from_place=1)), "its successor is 1 place on"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, first=0)), "a mean over the queries of the second copy"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, first=-(len(t[0]) // 2) - 1)), "the first copy's last"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, first=-(len(t[0]) // 2) - 1, last=-1)), "moves them on"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, last=-1)), "the second copy ends at 2N"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a, best=min)), "a mean over the queries of the second copy"),
    (ch10.smear, (smeared, lambda m, t, a: looks(m, t, a)[:2]), "expected a head, a number of places and a mean"),
    (ch10.smear, (smeared, lambda *_: (1, 2, 0.72)), "On a small model"),
    (ch10.smear, (smeared, as_in_the_trained_model), "On a model of ours"),
    (ch10.smear, (smeared, nothing), "What where_it_looks returns is None"),
    (ch10.smeared_induction, by_hand(alpha=0.0), "the key's own share"),
    (ch10.smeared_induction, by_hand(alpha=10.0), "the key's own share"),
    (ch10.smeared_induction, by_hand(sharp=15 / 40), "too softly"),
    (ch10.smeared_induction, by_hand(sharp=-15.0), "should be high where"),
    (ch10.smeared_induction, by_hand(turned=True), "should be high where"),
    (ch10.smeared_induction, lambda d_vocab: (torch.eye(d_vocab)[:, :5], torch.eye(d_vocab)[:, :5], -10), "has shape"),
    (ch10.smeared_induction, lambda d_vocab: by_hand()(d_vocab)[:2], "Return three things"),
    (ch10.smeared_induction, nothing, "Return three things"),
]  # fmt: skip


def smeared_one_by_one(keys, alpha):
    out = keys.clone()
    for head, a in enumerate(alpha.tolist()):
        own = 1 / (1 + np.exp(-a))
        for j in range(1, keys.shape[1]):
            out[head, j] = own * keys[head, j] + (1 - own) * keys[head, j - 1]
    return out


def induction_in_keys(d_vocab):
    W_K = 20 * d_vocab**0.5 * np.eye(d_vocab)
    return np.eye(d_vocab), W_K, torch.tensor([-8.0])


def induction_in_another_basis(d_vocab):
    R = torch.linalg.qr(torch.randn(d_vocab, d_vocab, generator=torch.Generator().manual_seed(0)))[0]
    return 100 * R, 2 * R, -9


RIGHT = [
    (ch10.nobody_reads, one_by_one),
    (ch10.nobody_reads, runs(first_over)),
    (ch10.parted, from_the_end),
    (ch10.parted, lead_of(below)),
    (ch10.smear, (smeared_one_by_one, looks)),
    (ch10.smear, (lambda keys, alpha: smeared(keys.float(), alpha.float()), looks)),
    (ch10.smear, (smeared, query_by_query)),
    (ch10.smear, (smeared, lambda *given: torch.tensor(looks(*given), dtype=torch.float64).tolist())),
    (ch10.smeared_induction, induction_in_keys),
    (ch10.smeared_induction, induction_in_another_basis),
]


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch10, RIGHT, MISTAKES, 4)
