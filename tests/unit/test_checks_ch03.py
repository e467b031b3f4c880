"""The checkers of chapter 3: what they say to plausible mistakes, and to right answers in other forms."""

import numpy as np
import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch03


def nothing(*_):
    return None


# --- plausible mistakes: (checker, answer, what the message must say) ---


def part(weight=None, vector=None, unembed=True):
    """What arrives from one source, with another weight or another vector."""
    weight = weight or (lambda pattern, h, d, s: pattern[0, 0, h, d, s])
    vector = vector or (lambda model, tokens, d, s: model.W_E[tokens[0, s]])

    def answer(model, tokens, head, destination, source):
        pattern = model.run_with_cache(tokens)[1].pattern
        moved = vector(model, tokens, destination, source) @ model.W_V[0, head] @ model.W_O[0, head]
        moved = weight(pattern, head, destination, source) * moved
        return moved @ model.W_U if unembed else moved

    return answer


def whole_head(model, tokens, head, destination, source):
    return model.run_with_cache(tokens)[1].head_out(0, head)[0, destination] @ model.W_U


def wherever_the_token_stands(model, tokens, head, destination, source):
    places = (tokens[0, : destination + 1] == tokens[0, source]).nonzero().flatten().tolist()
    return sum(part()(model, tokens, head, destination, place) for place in places)


def needed(first=1, last=-1, pile=False, log=True, sign=1, others=True):
    """The word that a model needs most, with one mistake."""

    def answer(model, tokens, swap, out):
        places = range(first, tokens.shape[1] + last)
        texts = tokens.repeat(len(places) + 1, 1)
        for row, place in enumerate(places):
            texts[row, (slice(1, place + 1) if pile else place)] = swap
        chances = model(texts)[:, -1].softmax(dim=-1)[:, out]
        values = chances.log() if log else chances
        falls = sign * (values[-1] - values[:-1])
        best = falls.argmax()
        rest = (falls.sum() - falls[best]) / (len(falls) - 1) if others else falls.mean()
        return best + first, falls[best], rest

    return answer


def largest(centred=True, full=False, size=False, sign=1, row=-1, looked_at=False):
    """The look that adds most, with one mistake."""

    def answer(model, tokens, out):
        pattern = model.run_with_cache(tokens)[1].pattern[0, 0]
        to_out = model.W_U[:, out] - centred * model.W_U.mean(dim=1)
        parts = sign * (model.W_E[tokens[0]] @ model.W_V[0] @ model.W_O[0] @ to_out)
        if not full:
            parts = parts * (pattern[:, :, row] if looked_at else pattern[:, row])
        parts = parts.abs() if size else parts
        head, source = divmod(parts.argmax().item(), parts.shape[1])
        return head, source, parts[head, source]

    return answer


def by_dots(model, tokens, out):
    """The same, one look at a time, in 32 bits."""
    pattern, best = model.run_with_cache(tokens)[1].pattern[0, 0], (0, 0, -np.inf)
    for head in range(model.cfg.n_heads):
        for source, token in enumerate(tokens[0]):
            logits = model.W_E[token] @ model.W_V[0, head] @ model.W_O[0, head] @ model.W_U
            added = (pattern[head, -1, source] * (logits[out] - logits.mean())).float().item()
            best = max(best, (head, source, added), key=lambda found: found[2])
    return list(best)


def job(
    keys=None,
    first=8,
    times=10,
    transposed=False,
    fixed=None,
    names=("start", "previous", "present"),
    batch=slice(None),
):
    """The job of a head, with one mistake."""
    keys = keys or [lambda i: 0 * i, lambda i: i - 1, lambda i: i]

    def answer(pattern):
        pattern = (pattern.transpose(1, 2) if transposed else pattern)[batch]
        i = torch.arange(first, pattern.shape[1])
        means = torch.stack([pattern[:, i, key(i).clamp(min=0, max=pattern.shape[1] - 1)].mean() for key in keys])
        least = fixed if fixed is not None else times * (1 / (i + 1)).mean()
        return names[means.argmax()] if means.max() >= least else "other"

    return answer


def first_past_the_line(pattern):
    i = torch.arange(8, pattern.shape[1])
    for name, keys in {"start": 0 * i, "previous": i - 1, "present": i}.items():
        if pattern[:, i, keys].mean() >= 10 * (1 / (i + 1)).mean():
            return name
    return "other"


def a_shifted_diagonal(pattern, shift=8):
    i = torch.arange(8, pattern.shape[1])
    back = pattern.diagonal(offset=-1, dim1=1, dim2=2)[:, shift:]
    mean = {"start": pattern[:, 8:, 0].mean(), "previous": back.mean(), "present": pattern[:, i, i].mean()}
    best = max(mean, key=mean.get)
    return best if mean[best] >= 10 * (1 / (i + 1)).mean() else "other"


def previous(pos, back=1):
    pattern = torch.zeros(pos, pos)
    pattern[torch.arange(pos), (torch.arange(pos) - back).clamp(min=0)] = 1
    return pattern


def space(start):
    return torch.eye(16)[start : start + 4]


A, B, C, D = (space(start) for start in (0, 4, 8, 12))


def virtual(pattern=previous, V1=A.T, O1=B, V2=B.T, O2=C):
    return lambda pos: (pattern(pos), V1, O1, V2, O2)


def without_position_0(pos):
    return torch.diag(torch.ones(pos - 1), -1)


MISTAKES = [
    (ch03.last_gets, lambda: [2.5, 1.5], "not swapped yet"),
    (ch03.last_gets, lambda: [2, 8 / 3], "plain mean"),
    (ch03.last_gets, lambda: [6, 8], "sum of the vectors"),
    (ch03.last_gets, lambda: [2, 6], "own vector"),
    (ch03.last_gets, lambda: [7.5, 4.5], "what the position holds afterwards"),
    (ch03.last_gets, lambda: [1.5, 2.0], "is 2 at [1], expected 2.5"),
    (ch03.last_gets, lambda: "1.5, 2.5", "should be numbers"),
    (ch03.last_gets, nothing, "is None"),
    (ch03.most_needed, needed(first=0), "leave position 0 out"),
    (ch03.most_needed, needed(last=0), "swap only those before it"),
    (ch03.most_needed, needed(sign=-1), "stands most in the way"),
    (ch03.most_needed, needed(pile=True), "put each token back"),
    (ch03.most_needed, needed(log=False), "difference of their logarithms"),
    (ch03.most_needed, needed(others=False), "leave the largest out"),
    (ch03.most_needed, lambda *given: needed()(*given)[:2], "expected three numbers"),
    (ch03.most_needed, nothing, "is None"),
    (ch03.arrives, part(weight=lambda *_: 1.0), "full attention"),
    (ch03.arrives, part(weight=lambda p, h, d, s: p[0, 0, h, s, d]), "query, then key"),
    (ch03.arrives, part(weight=lambda p, h, d, s: p[0, 0, 0, d, s]), "another head"),
    (ch03.arrives, part(vector=lambda m, t, d, s: m.W_E[t[0, s]] + m.W_pos[s]), "read positions"),
    (ch03.arrives, part(vector=lambda m, t, d, s: m.W_E[t[0, d]]), "the destination's value"),
    (ch03.arrives, part(unembed=False), "after W_U"),
    (ch03.arrives, lambda *given: part()(*given) - part()(*given).mean(), "took the mean over the vocabulary off"),
    (ch03.arrives, whole_head, "all that the head adds"),
    (ch03.arrives, wherever_the_token_stands, "you took both"),
    (ch03.arrives, lambda *given: 1.1 * part()(*given), "What arrives is"),
    (ch03.arrives, nothing, "is None"),
    (ch03.best_source, largest(centred=False), "Nothing is centred"),
    (ch03.best_source, largest(full=True), "This is with full attention"),
    (ch03.best_source, largest(size=True), "largest size"),
    (ch03.best_source, largest(row=0), "the last position asks"),
    (ch03.best_source, largest(looked_at=True), "query, then key"),
    (ch03.best_source, lambda *given: (2, 2, 2.85), "expected"),
    (ch03.best_source, nothing, "is None"),
    (ch03.job_of, job(transposed=True), "You say"),
    (ch03.job_of, job(keys=[lambda i: 0 * i, lambda i: i - 2, lambda i: i]), "You say"),
    (ch03.job_of, job(keys=[lambda i: 0 * i, lambda i: i + 1, lambda i: i]), "You say"),
    (ch03.job_of, job(first=0), "You say"),
    (ch03.job_of, job(times=5), "expected 'other'"),
    (ch03.job_of, job(times=20), "You say 'other'"),
    (ch03.job_of, job(fixed=0), "You say"),
    (ch03.job_of, job(fixed=0.37), "No constant"),
    (ch03.job_of, job(times=9), "a little below"),
    (ch03.job_of, job(times=10.5), "a little above"),
    (ch03.job_of, job(batch=slice(1)), "You say"),
    (ch03.job_of, job(batch=slice(-1, None)), "You say"),
    (ch03.job_of, a_shifted_diagonal, "query 8 counts, too"),
    (ch03.job_of, lambda pattern: a_shifted_diagonal(pattern, 6), "You say"),
    (ch03.job_of, first_past_the_line, "its job is the larger"),
    (ch03.job_of, job(names=("previous", "start", "present")), "You say"),
    (ch03.job_of, job(names=(0, 1, 2)), "expected 'start', 'previous', 'present' or 'other'"),
    (ch03.job_of, lambda pattern: "previous", "You say 'previous'"),
    (ch03.job_of, nothing, "is None"),
    (ch03.virtual_head, virtual(lambda pos: previous(pos).T), "The pattern looks ahead"),
    (ch03.virtual_head, virtual(lambda pos: previous(pos, 2)), "two positions back"),
    (ch03.virtual_head, virtual(lambda pos: torch.eye(pos)), "The pattern is"),
    (ch03.virtual_head, virtual(without_position_0), "Row 0 of the pattern sums to 0"),
    (ch03.virtual_head, virtual(O1=C), "Head 1 moves something from A to C"),
    (ch03.virtual_head, virtual(V2=A.T), "Head 2 moves something from A to C"),
    (ch03.virtual_head, virtual(V2=A.T + B.T), "Head 2 moves something from A to C"),
    (ch03.virtual_head, virtual(O2=B + C), "Head 2 moves something from B to B"),
    (ch03.virtual_head, virtual(O2=D), "Head 2 moves something from B to D"),
    (ch03.virtual_head, virtual(O1=2 * B), "What head 1 does from A to B"),
    (ch03.virtual_head, virtual(O2=C.flip(0)), "What head 2 does from B to C"),
    (ch03.virtual_head, virtual(V1=A), "W_V1 has shape [4, 16], expected [16, 4]"),
    (ch03.virtual_head, virtual(V1=torch.zeros(16, 4)), "What head 1 does from A to B"),
    (ch03.virtual_head, lambda pos: (A.T, B, B.T, C), "Return five matrices"),
    (ch03.virtual_head, nothing, "Return five matrices"),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answer", "says"), MISTAKES, ids=[says[:40] for *_, says in MISTAKES])
def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
    outcome = checker(answer)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


# --- right answers, by other ways and in other forms ---


def by_difference(model, tokens, head, destination, source):
    pattern = model.run_with_cache(tokens)[1].pattern[0, 0, head, destination].clone()
    values = model.W_E[tokens[0]] @ model.W_V[0, head] @ model.W_O[0, head] @ model.W_U
    whole = pattern @ values
    pattern[source] = 0
    return whole - pattern @ values


def rotated(pos):
    """The same two heads with another basis inside."""
    R = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    return previous(pos).double(), A.T.double() @ R, R.T @ B.double(), 2 * B.T.double(), C.double() / 2


RIGHT = [
    (ch03.last_gets, lambda: (1.5, 2.5)),
    (ch03.last_gets, lambda: np.array([1.5, 2.5], dtype=np.float32)),
    (ch03.last_gets, lambda: [torch.tensor(1.5), torch.tensor(2.5)]),
    (ch03.most_needed, needed()),
    (ch03.most_needed, lambda *given: [float(x) for x in needed()(*given)]),
    (ch03.best_source, largest()),
    (ch03.best_source, by_dots),
    (ch03.job_of, lambda pattern: a_shifted_diagonal(pattern, 7)),
    (ch03.arrives, by_difference),
    (ch03.arrives, lambda *given: part()(*given).float().tolist()),
    (ch03.job_of, job()),
    (ch03.virtual_head, virtual()),
    (ch03.virtual_head, rotated),
    (ch03.virtual_head, lambda pos: [part.tolist() for part in virtual()(pos)]),
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_right_answers_in_other_forms_pass(checker, answer):
    outcome = checker(answer)
    assert outcome.status == "passed", outcome


def test_every_checker_has_three_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch03)
    assert len(checkers) == 6 and all(told.count(name) >= 3 for name in checkers)
