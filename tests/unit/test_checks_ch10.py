"""The checkers of chapter 10: what they say to plausible mistakes, and that they take right answers of any make."""

import numpy as np
import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch10


def half_way(tokens, values):
    way = (values - values[0]) / (values[-1] - values[0])
    return tokens[np.argmax(way >= 0.5)]


def ordered(when):
    return lambda curves: sorted(curves, key=lambda name: when(*curves[name]))


def stretches(late=slice(192, 255), early=slice(32, 64)):
    return lambda losses: losses[:, late].mean() - losses[:, early].mean()


def smeared(keys, alpha, before=None, own=None):
    own = alpha.sigmoid()[:, None, None] if own is None else own
    before = torch.cat([keys[:, :1], keys[:, :-1]], dim=1) if before is None else before
    return own * keys + (1 - own) * before


def smeared_in_place(keys, alpha):
    keys.copy_(smeared(keys, alpha))
    return keys


def drawn(number, draw=lambda n, batch, g: torch.randperm(n, generator=g)[:batch]):
    """Windows of a step from a generator seeded with `number(seed, step)`."""
    return lambda seed, step, n, batch: draw(n, batch, torch.Generator().manual_seed(number(seed, step)))


def right_number(seed, step):
    return seed * 1_000_003 + step


def drawn_from_the_global(seed, step, n, batch):
    return torch.randperm(n)[:batch]


def drawn_after_manual_seed(seed, step, n, batch):
    torch.manual_seed(right_number(seed, step))
    return torch.randperm(n)[:batch]


class Generators(dict):
    """One generator for each seed, which goes on from step to step."""

    def __call__(self, seed, step, n, batch):
        generator = self.setdefault(seed, torch.Generator().manual_seed(seed))
        return torch.randperm(n, generator=generator)[:batch]


def rate(tokens, loss):
    return -np.gradient(loss, np.log(tokens))


def first_minimum(s):
    minima = np.flatnonzero((s[1:-1] < s[:-2]) & (s[1:-1] <= s[2:])) + 1
    return minima[0] if len(minima) else None


def found(tokens, loss, s=rate, shown=lambda tokens, s, place: tokens[place], none=None):
    s = s(tokens, loss)
    start = first_minimum(s)
    return none if start is None else shown(tokens, s, start + np.argmax(s[start:]))


def at_the_minimum(tokens, loss):
    place = first_minimum(rate(tokens, loss))
    return None if place is None else tokens[place]


def by_hand(sharp=15.0, alpha=-10.0, turned=False):
    def answer(d_vocab):
        W_K = torch.eye(d_vocab)
        return sharp * d_vocab**0.5 * torch.eye(d_vocab), W_K.roll(1, dims=0) if turned else W_K, alpha

    return answer


def nothing(*_):
    return None


MISTAKES = [
    (ch10.order_of_events, lambda curves: ordered(half_way)(curves)[::-1], "begins with the latest"),
    (ch10.order_of_events, ordered(lambda t, v: t[np.argmax(v >= (v[0] + v[-1]) / 2)]), "passed from above"),
    (ch10.order_of_events, ordered(lambda t, v: t[np.argmax(v >= 0.5)]), "pass 0.5"),
    (ch10.order_of_events, ordered(lambda t, v: t[np.argmax(v / v[-1] >= 0.5)]), "don't start at zero"),
    (ch10.order_of_events, ordered(lambda t, v: np.argmax(abs(v - v[0]) >= abs(v[-1] - v[0]) / 2)), "its own times"),
    (ch10.order_of_events, lambda curves: list(curves), "The order is a, b, c small, d falls"),
    (ch10.order_of_events, lambda curves: [half_way(*curve) for curve in curves.values()], "The names are"),
    (ch10.order_of_events, lambda curves: ordered(half_way)(curves)[:3], "each of"),
    (ch10.order_of_events, lambda curves: 3, "not int"),
    (ch10.order_of_events, nothing, "None"),
    (ch10.in_context, lambda losses: -stretches()(losses), "turned round"),
    (ch10.in_context, stretches(late=slice(192, 254)), "Position 254 is included"),
    (ch10.in_context, stretches(early=slice(32, 63)), "Position 63 is included"),
    (ch10.in_context, stretches(slice(192, 254), slice(32, 63)), "Positions 63 and 254"),
    (ch10.in_context, stretches(slice(191, 254), slice(31, 63)), "don't shift"),
    (ch10.in_context, stretches(slice(254, 255), slice(63, 64)), "two single positions"),
    (ch10.in_context, stretches(slice(193, 255), slice(33, 64)), "The score is"),
    (ch10.in_context, lambda losses: losses[:, 192:255].mean(1) - losses[:, 32:64].mean(1), "has shape [6]"),
    (ch10.in_context, nothing, "None"),
    (ch10.smear, lambda k, a: smeared(k, -a), "swapped"),
    (ch10.smear, lambda k, a: smeared(k, a, own=a[:, None, None]), "sigmoid is missing"),
    (ch10.smear, lambda k, a: smeared(k, a, before=torch.cat([k[:, 1:], k[:, -1:]], 1)), "look ahead"),
    (ch10.smear, lambda k, a: smeared(k, a, before=k.roll(1, dims=1)), "goes round"),
    (ch10.smear, lambda k, a: smeared(k, a, before=torch.cat([0 * k[:, :1], k[:, :-1]], 1)), "mixed with zeros"),
    (ch10.smear, lambda k, a: smeared(k, a, before=torch.cat([k[:1], k[:-1]])), "head before"),
    (ch10.smear, lambda k, a: smeared(k, a, own=a.sigmoid().mean()), "A smeared key"),
    (ch10.smear, lambda k, a: smeared(k, a)[:, 1:], "has shape [3, 4, 4], expected [3, 5, 4]"),
    (ch10.smear, lambda k, a: k, "as they were"),
    (ch10.smear, smeared_in_place, "You changed what you were given"),
    (ch10.smear, nothing, "None"),
    (ch10.windows_of_step, drawn_from_the_global, "depend on what happened before"),
    (ch10.windows_of_step, Generators(), "depend on what happened before"),
    (ch10.windows_of_step, drawn_after_manual_seed, "in place of torch.manual_seed"),
    (ch10.windows_of_step, drawn(lambda seed, step: seed), "the step must matter"),
    (ch10.windows_of_step, drawn(lambda seed, step: step), "the seed must matter"),
    (ch10.windows_of_step, drawn(lambda seed, step: seed + step), "seed + step"),
    (ch10.windows_of_step, drawn(lambda seed, step: (seed + 1) * (step + 1)), "seed · step"),
    (ch10.windows_of_step, drawn(lambda seed, step: seed * 10 + step), "mapped to one number"),
    (ch10.windows_of_step, drawn(right_number, lambda n, b, g: torch.randint(n, (b,), generator=g)), "window twice"),
    (ch10.windows_of_step, drawn(right_number, lambda n, b, g: torch.randperm(n, generator=g)), "windows of shape"),
    (ch10.windows_of_step, drawn(right_number, lambda n, b, g: n * torch.rand(b, generator=g)), "whole numbers"),
    (ch10.windows_of_step, drawn(right_number, lambda n, b, g: torch.randperm(n // 2, generator=g)[:b]), "evenly"),
    (ch10.windows_of_step, drawn(right_number, lambda n, b, g: 1 + torch.randperm(n, generator=g)[:b]), "not among"),
    (ch10.windows_of_step, lambda seed, step, n, b: (seed * 317 + step * b + torch.arange(b)) % n, "at random"),
    (ch10.windows_of_step, nothing, "None"),
    (ch10.bump, lambda t, y: t[np.argmax(rate(t, y))], "fall at the very beginning"),
    (ch10.bump, lambda t, y: found(t, y, shown=lambda t, s, i: i), "number of the measurement"),
    (ch10.bump, lambda t, y: found(t, y, shown=lambda t, s, i: np.log(t[i])), "the logarithm"),
    (ch10.bump, lambda t, y: found(t, y, shown=lambda t, s, i: s[i]), "the height of s"),
    (ch10.bump, at_the_minimum, "the bump lies where it is largest again"),
    (ch10.bump, lambda t, y: found(t, y, s=lambda t, y: -np.gradient(y, t)), "by tokens"),
    (ch10.bump, lambda t, y: found(t, y, s=lambda t, y: np.gradient(y, np.log(t))), "tokens"),
    (ch10.bump, lambda t, y: found(t, y, none=0.0), "has no bump"),
    (ch10.bump, nothing, "you return None"),
    (ch10.smeared_induction, by_hand(alpha=0.0), "the key's own share"),
    (ch10.smeared_induction, by_hand(alpha=10.0), "the key's own share"),
    (ch10.smeared_induction, by_hand(sharp=15 / 40), "too softly"),
    (ch10.smeared_induction, by_hand(sharp=-15.0), "should be high where"),
    (ch10.smeared_induction, by_hand(turned=True), "should be high where"),
    (ch10.smeared_induction, lambda d_vocab: (torch.eye(d_vocab)[:, :5], torch.eye(d_vocab)[:, :5], -10), "has shape"),
    (ch10.smeared_induction, lambda d_vocab: by_hand()(d_vocab)[:2], "Return three things"),
    (ch10.smeared_induction, nothing, "Return three things"),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answer", "says"), MISTAKES)
def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
    outcome = checker(answer)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


def interpolated(tokens, values):
    """Half-way between two measurements: another right order."""
    way = (values - values[0]) / (values[-1] - values[0])
    after = np.argmax(way >= 0.5)
    return np.interp(0.5, way[after - 1 : after + 1], tokens[after - 1 : after + 1])


def in_context_by_hand(losses):
    late = sum(losses[:, p].mean() for p in range(192, 255)) / 63
    return float(late - sum(losses[:, p].mean() for p in range(32, 64)) / 32)


def smeared_one_by_one(keys, alpha):
    out = keys.clone()
    for head, a in enumerate(alpha.tolist()):
        own = 1 / (1 + np.exp(-a))
        for j in range(1, keys.shape[1]):
            out[head, j] = own * keys[head, j] + (1 - own) * keys[head, j - 1]
    return out


def drawn_by_numpy(seed, step, n, batch):
    return np.random.default_rng((seed, step)).choice(n, batch, replace=False)


def bump_of_differences(tokens, loss):
    """The derivative from differences of neighbours."""
    s, middle = -np.diff(loss) / np.diff(np.log(tokens)), (tokens[1:] * tokens[:-1]) ** 0.5
    start = first_minimum(s)
    return None if start is None else torch.tensor(middle[start + np.argmax(s[start:])])


def induction_in_keys(d_vocab):
    W_K = 20 * d_vocab**0.5 * np.eye(d_vocab)
    return np.eye(d_vocab), W_K, torch.tensor([-8.0])


def induction_in_another_basis(d_vocab):
    R = torch.linalg.qr(torch.randn(d_vocab, d_vocab, generator=torch.Generator().manual_seed(0)))[0]
    return 100 * R, 2 * R, -9


RIGHT = [
    (ch10.order_of_events, ordered(interpolated)),
    (ch10.order_of_events, lambda curves: tuple(ordered(half_way)(curves))),
    (ch10.in_context, in_context_by_hand),
    (ch10.in_context, lambda losses: stretches()(losses.float())),
    (ch10.in_context, lambda losses: stretches()(losses.numpy())),
    (ch10.smear, smeared_one_by_one),
    (ch10.smear, lambda keys, alpha: smeared(keys.float(), alpha.float())),
    (ch10.windows_of_step, drawn_by_numpy),
    (ch10.windows_of_step, lambda *given: drawn_by_numpy(*given).tolist()),
    (ch10.bump, bump_of_differences),
    (ch10.bump, lambda t, y: float(found(t, y)) if found(t, y) is not None else None),
    (ch10.smeared_induction, induction_in_keys),
    (ch10.smeared_induction, induction_in_another_basis),
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_other_right_answers_pass(checker, answer):
    outcome = checker(answer)
    assert outcome.status == "passed", outcome


def test_every_checker_has_three_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch10)
    assert len(checkers) == 6 and all(told.count(name) >= 3 for name in checkers)
