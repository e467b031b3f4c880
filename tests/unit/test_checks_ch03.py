"""The checkers of chapter 3: what they say to plausible mistakes, and to right answers in other forms."""

import numpy as np
import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch03


def nothing(*_):
    return None


# --- plausible mistakes: (checker, answer, what the message must say) ---


def kron(first, second):
    """A head's big matrix with other factors, given as functions of (pattern, W)."""

    def answer(pattern, W_V, W_O):
        factors = (factor(pattern, W_V @ W_O).contiguous() for factor in (first, second))
        return torch.kron(*factors)

    return answer


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


def lift(across=False, shift=0, divide=True, each=False, own=False, later=False, ends=False, base="all"):
    """The lift counted by hand, with one mistake."""

    def answer(ids, source, destination, out, span=255, start_id=0):
        chosen, every, without = [], [], []
        for place in range(len(ids)):
            after = ids[place + 1] if place + 1 < len(ids) else start_id
            if ids[place] != destination or (after == start_id and not ends):
                continue
            before = list(ids[max(0, place - span - shift) : place + own])
            if later:
                before = list(ids[place + 1 : place + 1 + span])
            while start_id in before and not across:
                before = before[before.index(start_id) + 1 :]
            every.append(after == out)
            chosen += [after == out] * (before.count(source) if each else source in before)
            without += [after == out] * (source not in before)
        bases = {"all": every, "without": without, "out": [token == out for token in ids if token != start_id]}
        return np.mean(chosen) / (np.mean(bases[base]) if divide else 1)

    return answer


def job(keys=None, first=8, times=10, transposed=False, fixed=None, names=("start", "previous", "present")):
    """The job of a head, with one mistake."""
    keys = keys or [lambda i: 0 * i, lambda i: i - 1, lambda i: i]

    def answer(pattern):
        pattern = pattern.transpose(1, 2) if transposed else pattern
        i = torch.arange(first, pattern.shape[1])
        means = torch.stack([pattern[:, i, key(i).clamp(min=0, max=pattern.shape[1] - 1)].mean() for key in keys])
        least = fixed if fixed is not None else times * (1 / (i + 1)).mean()
        return names[means.argmax()] if means.max() >= least else "other"

    return answer


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
    (ch03.big_matrix, kron(lambda A, W: A, lambda A, W: W), "not transposed"),
    (ch03.big_matrix, kron(lambda A, W: W.T, lambda A, W: A), "The factors are exchanged: with rows"),
    (ch03.big_matrix, kron(lambda A, W: W, lambda A, W: A), "exchanged, and W_V"),
    (ch03.big_matrix, kron(lambda A, W: A.T, lambda A, W: W.T), "The pattern is transposed"),
    (ch03.big_matrix, kron(lambda A, W: A.T, lambda A, W: W), "The whole matrix is transposed"),
    (ch03.big_matrix, kron(lambda A, W: A, lambda A, W: 2 * W.T), "The matrix times vec(X)"),
    (ch03.big_matrix, lambda pattern, W_V, W_O: torch.kron(pattern, W_V @ W_O)[:5], "has shape [5, 15]"),
    (ch03.big_matrix, lambda pattern, W_V, W_O: pattern @ pattern, "has shape [3, 3], expected [15, 15]"),
    (ch03.big_matrix, nothing, "is None"),
    (ch03.arrives, part(weight=lambda *_: 1.0), "full attention"),
    (ch03.arrives, part(weight=lambda p, h, d, s: p[0, 0, h, s, d]), "query, then key"),
    (ch03.arrives, part(weight=lambda p, h, d, s: p[0, 0, 0, d, s]), "another head"),
    (ch03.arrives, part(vector=lambda m, t, d, s: m.W_E[t[0, s]] + m.W_pos[s]), "read positions"),
    (ch03.arrives, part(vector=lambda m, t, d, s: m.W_E[t[0, d]]), "the destination's value"),
    (ch03.arrives, part(unembed=False), "after W_U"),
    (ch03.arrives, whole_head, "all that the head adds"),
    (ch03.arrives, wherever_the_token_stands, "you took both"),
    (ch03.arrives, lambda *given: 1.1 * part()(*given), "What arrives is"),
    (ch03.arrives, nothing, "is None"),
    (ch03.count_lift, lift(across=True), "of the document before"),
    (ch03.count_lift, lift(shift=-1), "one too short"),
    (ch03.count_lift, lift(shift=1), "one too long"),
    (ch03.count_lift, lift(shift=10**6), "ignored"),
    (ch03.count_lift, lift(own=True), "no source of its own"),
    (ch03.count_lift, lift(divide=False), "divide by P(out | destination)"),
    (ch03.count_lift, lift(each=True), "one occasion"),
    (ch03.count_lift, lift(ends=True), "nothing follows it"),
    (ch03.count_lift, lift(base="out"), "how often out occurs"),
    (ch03.count_lift, lift(base="without"), "over all destinations"),
    (ch03.count_lift, lift(later=True), "The lift at span"),
    (ch03.count_lift, nothing, "is None"),
    (ch03.job_of, job(transposed=True), "You say"),
    (ch03.job_of, job(keys=[lambda i: 0 * i, lambda i: i - 2, lambda i: i]), "You say"),
    (ch03.job_of, job(keys=[lambda i: 0 * i, lambda i: i + 1, lambda i: i]), "You say"),
    (ch03.job_of, job(first=0), "You say"),
    (ch03.job_of, job(times=5), "less than ten times"),
    (ch03.job_of, job(times=20), "You say 'other'"),
    (ch03.job_of, job(fixed=0), "You say"),
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


def test_a_transposed_matrix_that_kron_refuses_is_explained():
    outcome = ch03.big_matrix(lambda pattern, W_V, W_O: torch.kron(pattern, (W_V @ W_O).T))
    assert outcome.status == "passed" or "contiguous" in outcome.message


# --- right answers, by other ways and in other forms ---


def by_einsum(pattern, W_V, W_O):
    return torch.einsum("qk,md,dn->qnkm", pattern, W_V, W_O).reshape(15, 15).float()


def with_numpy(pattern, W_V, W_O):
    return np.kron(pattern.numpy(), (W_V @ W_O).numpy().T)


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
    (ch03.big_matrix, by_einsum),
    (ch03.big_matrix, with_numpy),
    (ch03.arrives, by_difference),
    (ch03.arrives, lambda *given: part()(*given).float().tolist()),
    (ch03.count_lift, lift()),
    (ch03.count_lift, lambda *given: torch.tensor(lift()(*given), dtype=torch.float32)),
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
