"""The checkers of chapter 5: what they say to plausible mistakes, and that they take every right answer."""

import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch05
from course_utils.circuits import centre, ov_circuit, qk_circuit
from course_utils.factored import FactoredMatrix

# --- plausible mistakes: (checker, answer, what the message must say) ---

EIGENVALUES = {"copy": [2] * 4, "suppress": [-1] * 4, "next": [1, 1j, -1, -1j], "swap": [3, -3, 3, -3]}


def predicted_but(**wrong):
    return lambda: EIGENVALUES | wrong


def circuit_values(model, layer, head, W_U=None, of=None):
    """Eigenvalues by the small product, with another W_U or of another matrix."""
    W_U = centre(model.W_U, dim=1) if W_U is None else W_U
    B, A = model.W_O[layer, head] @ W_U, model.W_E @ model.W_V[layer, head]
    return torch.linalg.eigvals(B @ A if of is None else of(model, layer, head))


def by_the_large_table(model, layer, head):
    return torch.linalg.eigvals(ov_circuit(model, layer, head, centred=True).AB)


def by_the_stream(model, layer, head):
    W_OV = model.W_V[layer, head] @ model.W_O[layer, head]
    return torch.linalg.eigvals(W_OV @ (centre(model.W_U, dim=1) @ model.W_E))


def as_if_symmetric(model, layer, head):
    B, A = model.W_O[layer, head] @ centre(model.W_U, dim=1), model.W_E @ model.W_V[layer, head]
    return torch.linalg.eigvalsh(B @ A)


def levels(W_E, W_Q, W_K, top=lambda v: v.sum(-1).real, bottom=lambda v: v.abs().sum(-1), centred=True, dim=0):
    """Exercise 4 with parts of it replaced."""
    values = torch.linalg.eigvals(W_K.mT @ (centre(W_E, dim=dim) if centred else W_E).T @ W_E @ W_Q)
    return top(values) / bottom(values)


def kind_by(measure=None, high=lambda chance: chance.max(), low=lambda chance: chance.min(), centred=True, words=None):
    def answer(ov, chance):
        if centred:
            ov = FactoredMatrix(ov.A, centre(ov.B, dim=1))
        values = ov.eigenvalues()
        got = measure(values) if measure else values.sum().real / values.abs().sum()
        copying, anti, neither = words or ("copying", "anti-copying", "neither")
        return copying if got > high(chance) else anti if got < low(chance) else neither

    return answer


def total(values):
    return values.sum().real


def zero(chance):
    return 0.0


def nothing(*_):
    return None


EYE = torch.eye(8, dtype=torch.float64)
SHEAR = torch.tensor([[1.0, 10, 0], [0, 1, 10], [0, 0, 1]])
NEXT = torch.eye(5).roll(1, dims=1)
RANK_1 = torch.outer(torch.tensor([-1.0, 50, 1]), torch.tensor([3.0, 2, -5]))
TOO_LITTLE = torch.outer(
    torch.tensor([-1.0, 1, 1]), torch.tensor([3.0, 2, -5])
)  # the middle token doesn't make up for it
LOST_BY_CENTRING = torch.tensor([[5.0, 6, 0], [-0.9, -1, -2], [1, 1, 0.5]])

MISTAKES = [
    (ch05.predicted, predicted_but(copy=[2, 0, 0, 0]), "'copy' sum to 2, but its diagonal sums to 8"),
    (ch05.predicted, predicted_but(next=[1, -1, 1, -1]), "Four steps lead back"),
    (ch05.predicted, predicted_but(next=[1] * 4), "'next' sum to 4"),
    (ch05.predicted, predicted_but(next=[1, 1j, -1j]), "3 eigenvalues, expected 4"),
    (ch05.predicted, predicted_but(swap=[3, 0, 0, -3]), "their sum is raised, their difference lowered"),
    (ch05.predicted, lambda: {"copy": [2] * 4}, "The names are ['copy']"),
    (ch05.predicted, nothing, "NoneType, expected a dict"),
    (ch05.my_positivity, lambda v: v.real.sum() / v.real.abs().sum(), "distance from 0"),
    (ch05.my_positivity, lambda v: v.sum().abs() / v.abs().sum(), "The sign is lost"),
    (ch05.my_positivity, lambda v: (v.real > 0).double().mean(), "share of eigenvalues"),
    (ch05.my_positivity, lambda v: v.mean().real, "divide by Σ|λ|"),
    (ch05.my_positivity, total, "the sum alone"),
    (ch05.my_positivity, lambda v: v.abs().sum() / v.sum().real, "upside down"),
    (ch05.my_positivity, lambda v: v.real / v.abs(), "expected one number"),
    (ch05.my_positivity, lambda v: 0.5, "Your measure is 0.5"),
    (ch05.my_positivity, nothing, "is None"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h, m.W_U), "centre it over the vocabulary"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h, centre(m.W_U, dim=0)), "the wrong axis"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h, of=lambda m, la, h: m.W_O[la, h] @ m.W_V[la, h]),
     "W_V W_O alone"),
    (ch05.head_eigenvalues, lambda m, la, h: qk_circuit(m, la, h).eigenvalues(), "the QK circuit"),
    (ch05.head_eigenvalues, lambda m, la, h: qk_circuit(m, la, h, True).eigenvalues(), "the QK circuit, keys centred"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, 0, 0), "those of head 0.0, asked was 0.1"),
    (ch05.head_eigenvalues, by_the_large_table, "a table of 23 × 23"),
    (ch05.head_eigenvalues, by_the_stream, "10 is d_model"),
    (ch05.head_eigenvalues, as_if_symmetric, "use eigvals, not eigvalsh"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h) / 2, "The largest eigenvalue is"),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h)[:3], "You return 3 numbers, expected 4"),
    (ch05.chance_level, lambda *w: levels(*w, centred=False), "without centring"),
    (ch05.chance_level, lambda *w: levels(*w, dim=1), "the wrong axis"),
    (ch05.chance_level, lambda *w: levels(*w, top=lambda v: v.sum(-1).abs()), "The sign is lost"),
    (ch05.chance_level, lambda *w: levels(*w, bottom=lambda v: v.real.abs().sum(-1)), "the distance from 0"),
    (ch05.chance_level, lambda *w: levels(*w, bottom=lambda v: v.abs().sum()), "one sum over all heads"),
    (ch05.chance_level, lambda *w: levels(*w, top=total, bottom=lambda v: v.abs().sum()), "You return one number"),
    (ch05.chance_level, lambda W_E, W_Q, W_K: levels(EYE, W_Q, W_K, centred=False), "W_Q W_Kᵀ alone"),
    (ch05.chance_level, lambda *w: levels(*w)[:3], "has shape [3], expected [7]"),
    (ch05.chance_level, lambda *w: levels(*w).flip(0), "The positivity of the heads is"),
    (ch05.chance_level, nothing, "is None"),
    (ch05.kind, kind_by(centred=False), "changes nothing: centre first"),
    (ch05.kind, kind_by(high=zero, low=zero), "compare with all of `chance`"),
    (ch05.kind, kind_by(total), "expected 'neither'"),
    (ch05.kind, kind_by(high=lambda c: c.mean(), low=lambda c: c.mean()), "compare with all of `chance`"),
    (ch05.kind, kind_by(low=lambda c: -c.abs().max()), "below the least of `chance`"),
    (ch05.kind, kind_by(low=lambda c: -2.0), "mind the sign"),
    (ch05.kind, kind_by(words=("anti-copying", "copying", "neither")), "you call a head whose mixes all raise"),
    (ch05.kind, kind_by(words=("yes", "no", "maybe")), "one of the three words"),
    (ch05.kind, nothing, "is None"),
    (ch05.counterexample, lambda: SHEAR, "Token 2 raises itself by 1"),
    (ch05.counterexample, lambda: NEXT, "expected none but positive ones"),
    (ch05.counterexample, lambda: -torch.eye(4), "expected none but positive ones"),
    (ch05.counterexample, lambda: torch.eye(4), "it copies itself"),
    (ch05.counterexample, lambda: torch.ones(4, 4), "it copies itself"),
    (ch05.counterexample, lambda: TOO_LITTLE, "expected none but positive ones"),
    (ch05.counterexample, lambda: LOST_BY_CENTRING, "expected none but positive ones"),
    (ch05.counterexample, lambda: torch.tensor([[1.0, 10], [0, 1]]), "has 2 tokens"),
    (ch05.counterexample, lambda: RANK_1[:2], "expected it square"),
    (ch05.counterexample, lambda: RANK_1 * 1j, "is complex"),
    (ch05.counterexample, lambda: torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 1, 0]]) * torch.nan, "no finite numbers"),
    (ch05.counterexample, lambda: torch.tensor([[0, 1.6, 1.7], [1.7, 0, 1.6], [1.6, 1.7, 0]]).double() * 1e308,
     "a number too large"),
    (ch05.chance_level, lambda W_E, W_Q, W_K: (levels(W_E, W_Q, W_K), W_E.mul_(torch.nan))[0], "not finite"),
    (ch05.counterexample, nothing, "is None"),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answer", "says"), MISTAKES, ids=[says[:40] for *_, says in MISTAKES])
def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
    outcome = checker(answer)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


# --- right answers in other clothes ---


FOUR = torch.outer(torch.tensor([-1.0, 30, 20, 1]), torch.tensor([4.0, 2, 1, -7]))

RIGHT = [
    (ch05.predicted, predicted_but()),
    (ch05.predicted, lambda: {k: torch.tensor(v).flip(0) for k, v in EIGENVALUES.items()}),
    (ch05.my_positivity, lambda v: (v.sum().real / v.abs().sum()).item()),
    (ch05.my_positivity, lambda v: v.sum() / v.abs().sum()),
    (ch05.my_positivity, lambda v: v.numpy().sum().real / abs(v.numpy()).sum()),
    (ch05.my_positivity, lambda v: (v.real.sum() / v.abs().sum()).float()),
    (ch05.head_eigenvalues, lambda m, la, h: ov_circuit(m, la, h, centred=True).eigenvalues()),
    (ch05.head_eigenvalues, lambda m, la, h: circuit_values(m, la, h).flip(0).tolist()),
    (ch05.head_eigenvalues, lambda m, la, h: torch.linalg.eigvals(
        (m.W_O[la, h] @ (centre(m.W_U, dim=1) @ m.W_E) @ m.W_V[la, h]).T)),
    (ch05.chance_level, lambda *w: levels(*w).tolist()),
    (ch05.chance_level, lambda *w: [x for x in levels(*w)]),
    (ch05.chance_level, lambda W_E, W_Q, W_K: levels(W_E, W_K, W_Q)),  # the transposed table has the same eigenvalues
    (ch05.kind, kind_by()),
    (ch05.counterexample, lambda: RANK_1),
    (ch05.counterexample, lambda: RANK_1.tolist()),
    (ch05.counterexample, lambda: FOUR),
    (ch05.counterexample, lambda: torch.block_diag(RANK_1, FOUR, RANK_1)),
    (ch05.counterexample, lambda: RANK_1 * 1e-6),
    (ch05.counterexample, lambda: RANK_1.long()),
    (ch05.counterexample, lambda: RANK_1 + torch.tensor([[7.0], [-3], [100]])),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_a_right_answer_passes_in_whatever_clothes(checker, answer):
    outcome = checker(answer)
    assert outcome.status == "passed", outcome


def test_every_checker_has_three_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch05)
    assert len(checkers) == 6 and all(told.count(name) >= 3 for name in checkers)
