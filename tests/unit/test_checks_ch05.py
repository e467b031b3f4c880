"""The checkers of chapter 5: what they say to plausible mistakes, and that they take every right answer."""

import torch
from checker_checks import same_tests

from course_utils.checkpoints import load_model
from course_utils.checks import ch05
from course_utils.circuits import centre, ov_circuit, positivity
from course_utils.factored import FactoredMatrix

# --- plausible mistakes: (checker, answer, what the message must say) ---

R = 0.5**0.5
TURNED = [complex(a, b) for a in (R, -R) for b in (R, -R)]
EIGENVALUES = {"copy": [2] * 4, "suppress": [-1] * 4, "next": TURNED, "swap": [3, -3, 3, -3]}


def predicted_but(**wrong):
    return lambda: EIGENVALUES | wrong


def measures(model, layer, W_U=None, top=lambda v: v.sum(-1).real, bottom=lambda v: v.abs().sum(-1), of=None):
    """Exercise 2 with parts of it replaced."""
    W_U = centre(model.W_U, dim=1) if W_U is None else W_U
    small = model.W_O[layer] @ (W_U @ model.W_E) @ model.W_V[layer] if of is None else of(model, layer)
    values = torch.linalg.eigvals(small)
    return top(values) / bottom(values)


def one(values):
    return 1.0


def by_the_large_table(model, layer):
    heads = range(model.cfg.n_heads)
    tables = torch.stack([ov_circuit(model, layer, head, centred=True).AB for head in heads])
    return measures(model, layer, of=lambda *_: tables)


def by_the_library(model, layer):
    heads = range(model.cfg.n_heads)
    return [positivity(ov_circuit(model, layer, head, centred=True).eigenvalues()) for head in heads]


def over_singular(model, layer, whole):
    """The trace over the sum of singular values, of tokens × tokens (from thin factors) or of the small matrix."""
    A, B = model.W_E @ model.W_V[layer], model.W_O[layer] @ centre(model.W_U, dim=1)
    thin = torch.linalg.qr(A).R @ torch.linalg.qr(B.mT).R.mT if whole else B @ A
    return (B @ A).diagonal(dim1=-2, dim2=-1).sum(-1) / torch.linalg.svdvals(thin).sum(-1)


def of_queries(model, layer):
    return model.W_K[layer].mT @ (centre(model.W_E, dim=0).T @ model.W_E) @ model.W_Q[layer]


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


def suppressor(model, tokens, best=min, layers=None, of=lambda pattern: pattern[:, 1:, 0].mean(), back=lambda at: at):
    found = {}
    for layer in layers or range(model.cfg.n_layers):
        for head, value in enumerate(measures(model, layer)):
            found[layer, head] = value
    layer, head = best(found, key=found.get)
    return back((layer, head)), of(model.run_with_cache(tokens)[1].pattern[layer, :, head])


def of_the_layer(model, tokens):
    layer, head = suppressor(model, tokens)[0]
    return (layer, head), model.run_with_cache(tokens)[1].pattern[layer, :, :, 1:, 0].mean()


def friend(model, layer, tokens, least=0.5, best=min, columns=None, of=None, by="share", ids=False, among=None):
    """Exercise 4, with rows for `tokens` and, unless `columns` says so, outputs of all tokens."""
    found, measured = {}, measures(model, layer, of=among and (lambda m, la: among(m, la, tokens)))
    for head, value in enumerate(measured):
        if value > least:
            rows = ov_circuit(model, layer, head, centred=True).take(tokens, columns).AB
            own = tokens if columns is None or ids else torch.arange(len(tokens))
            share = (rows.argmax(1) == own).double().mean().item()
            rise = rows.gather(1, own[:, None] % rows.shape[1]).mean().item()
            found[head] = {"share": share, "rise": rise, "positivity": value}[by], share
    return (lambda head: (head, found[head][1]))(best(found, key=lambda head: found[head][0])) if found else None


def friend_of_all(model, layer, tokens):
    """The share of all tokens, not of those given."""
    everyone = torch.arange(model.cfg.d_vocab)
    return friend(model, layer, everyone) if model.cfg.d_vocab < 100 else friend_among(model, layer, tokens)


def friend_among(model, layer, tokens, **wrong):
    return friend(model, layer, tokens, columns=tokens, **wrong)


def few_tokens(model, layer, tokens):
    """The small matrices of the table between `tokens` alone."""
    W_U = centre(model.W_U[:, tokens], dim=1)
    return model.W_O[layer] @ (W_U @ model.W_E[tokens]) @ model.W_V[layer]


def turner(model, layer, best=max, part=torch.imag, of=None, over=lambda values: values, centred=True, by=None):
    """The head whose eigenvalues have the largest imaginary parts for their sizes, and a share of it."""
    values = [ov_circuit(model, layer, head, centred=centred).eigenvalues() for head in range(model.cfg.n_heads)]

    def shares(part):
        return [(part(each).abs().sum() / over(each).abs().sum()).item() for each in values]

    head = best(range(len(values)), key=lambda head: by(values[head]) if by else shares(part)[head])
    return head, shares(of or part)[head]


def as_in_the_trained_model(model, layer):
    """What is known of the trained model's layer, said of every other of its size."""
    known = model.cfg.n_layers == 2 and model.cfg.n_heads == 12
    return turner(load_model("two-layer", "cpu").double() if known else model, layer)


def right_four(answer):
    """The checker of exercise 1 on a right first half."""
    return ch05.predicted(predicted_but(), answer)


def right_kind(answer):
    """The checker of exercise 3 on a right first half."""
    return ch05.kind(kind_by(), answer)


SECOND = {ch05.predicted: turner, ch05.kind: suppressor}


def stub(*_):
    raise NotImplementedError


MISTAKES = [
    (ch05.predicted, predicted_but(copy=[2, 0, 0, 0]), "'copy' sum to 2, but its diagonal sums to 8"),
    (ch05.predicted, predicted_but(next=[1, -1, 1, -1]), "Four steps lead back"),
    (ch05.predicted, predicted_but(next=[1, 1j, -1, -1j]), "with the sign turned"),
    (ch05.predicted, predicted_but(next=[1] * 4), "'next' sum to 4"),
    (ch05.predicted, predicted_but(next=[1, 1j, -1j]), "3 eigenvalues, expected 4"),
    (ch05.predicted, predicted_but(swap=[3, 0, 0, -3]), "their sum is raised, their difference lowered"),
    (ch05.predicted, lambda: {"copy": [2] * 4}, "The names are ['copy']"),
    (ch05.predicted, nothing, "NoneType, expected a dict"),
    (right_four, stub, "That half is right"),
    (right_four, lambda *given: turner(*given, best=min), "turns least"),
    (right_four, lambda *given: turner(*given, part=torch.real), "Those are the real parts"),
    (right_four, lambda *given: (turner(*given)[0], turner(*given, of=torch.real)[1]), "of the right head"),
    (right_four, lambda *given: turner(*given, centred=False), "W_U is not centred"),
    (right_four, lambda *given: turner(*given, over=torch.real), "not of their real parts"),
    (right_four, lambda *given: turner(*given, by=lambda v: v.imag.abs().sum()), "the loudest in Σ|Im λ|"),
    (right_four, lambda *given: turner(*given, by=lambda v: v.imag.norm() / v.abs().norm()), "one large pair"),
    (right_four, lambda *given: turner(*given, by=lambda v: v.imag.norm() ** 2 / v.abs().sum()), "On a small model"),
    (right_four, lambda *given: turner(*given, by=lambda v: (v.imag / v.abs()).abs().mean()), "turns more"),
    (right_four, lambda *given: turner(*given, by=lambda v: v.imag.max()), "On a small model"),
    (right_four, lambda *given: (turner(*given)[0], 0.0), "they come in pairs"),
    (right_four, lambda *given: (turner(*given)[0], 0.424), "Its share is"),
    (right_four, lambda *given: turner(*given)[0], "expected a head and its share"),
    (right_four, lambda *_: (8, 0.424), "expected one of 0 to 2"),
    (right_four, lambda m, layer: turner(m, 0), "On a small model, layer 1"),
    (right_four, as_in_the_trained_model, "On a model of ours"),
    (right_four, nothing, "What turner returns is None"),
    (ch05.my_positivity, lambda m, la: measures(m, la, bottom=lambda v: v.real.abs().sum(-1)), "distance from 0"),
    (ch05.my_positivity, lambda m, la: measures(m, la).abs(), "The sign is lost"),
    (ch05.my_positivity, lambda m, la: measures(m, la, top=lambda v: (v.real > 0).double().mean(-1), bottom=one),
     "share of eigenvalues"),
    (ch05.my_positivity, lambda m, la: measures(m, la, top=lambda v: v.mean(-1).real, bottom=one), "divide by Σ|λ|"),
    (ch05.my_positivity, lambda m, la: measures(m, la, bottom=one), "the sum alone"),
    (ch05.my_positivity, lambda m, la: 1 / measures(m, la), "upside down"),
    (ch05.my_positivity, lambda m, la: measures(m, la, bottom=lambda v: v.abs().sum()), "one sum over all heads"),
    (ch05.my_positivity, lambda m, la: measures(m, la, bottom=lambda v: v.sum(-1).abs()), "the size of the sum"),
    (ch05.my_positivity, lambda m, la: measures(m, la, top=lambda v: v.abs().sum(-1)), "singular values have none"),
    (ch05.my_positivity, lambda m, la: over_singular(m, la, True), "by the sum of singular values:"),
    (ch05.my_positivity, lambda m, la: over_singular(m, la, False), "singular values of the small matrix"),
    (ch05.my_positivity, lambda m, la: measures(m, la, top=lambda v: v.sum(-1)), "are complex"),
    (ch05.my_positivity, lambda m, la: measures(m, la)[0], "You return one number"),
    (ch05.my_positivity, lambda m, la: measures(m, la)[:2], "has shape [2], expected [3]"),
    (ch05.my_positivity, lambda m, la: measures(m, la).flip(0), "The positivity of the heads is"),
    (ch05.my_positivity, lambda m, la: measures(m, la, m.W_U), "centre it over the vocabulary"),
    (ch05.my_positivity, lambda m, la: measures(m, la, centre(m.W_U, dim=0)), "the wrong axis"),
    (ch05.my_positivity, lambda m, la: measures(m, la, of=lambda m, la: m.W_O[la] @ m.W_V[la]), "W_V W_O alone"),
    (ch05.my_positivity, lambda m, la: measures(m, la, of=of_queries), "the QK circuit"),
    (ch05.my_positivity, lambda m, la: measures(m, 0), "those of layer 0, asked was 1"),
    (ch05.my_positivity, by_the_large_table, "a table of 23 × 23"),
    (ch05.my_positivity, lambda m, la: measures(m, la) if m.cfg.d_vocab == 23 else torch.full((12,), 0.9),
     "On the trained model"),
    (ch05.my_positivity, nothing, "is None"),
    (ch05.kind, kind_by(centred=False), "changes nothing: centre first"),
    (ch05.kind, kind_by(high=zero, low=zero), "compare with all of `chance`"),
    (ch05.kind, kind_by(total), "expected 'neither'"),
    (ch05.kind, kind_by(high=lambda c: c.mean(), low=lambda c: c.mean()), "compare with all of `chance`"),
    (ch05.kind, kind_by(low=lambda c: -c.abs().max()), "below the least of `chance`"),
    (ch05.kind, kind_by(low=lambda c: -2.0), "mind the sign"),
    (ch05.kind, kind_by(words=("anti-copying", "copying", "neither")), "you call a head whose mixes all raise"),
    (ch05.kind, kind_by(words=("yes", "no", "maybe")), "one of the three words"),
    (ch05.kind, nothing, "is None"),
    (right_kind, stub, "That half is right"),
    (right_kind, lambda m, t: suppressor(m, t, best=max), "has less positivity"),
    (right_kind, lambda m, t: suppressor(m, t, layers=[1]), "Look through all 2 layers"),
    (right_kind, lambda m, t: suppressor(m, t, back=lambda at: at[::-1]), "The layer comes first"),
    (right_kind, lambda m, t: suppressor(m, t, of=lambda p: p[:, :, 0].mean()), "leave it out"),
    (right_kind, lambda m, t: suppressor(m, t, of=lambda p: p[:, 0].mean()), "by the start token"),
    (right_kind, lambda m, t: suppressor(m, t, of=lambda p: p[0, 1:, 0].mean()), "one text only"),
    (right_kind, lambda m, t: suppressor(m, t, of=lambda p: p[:, -1, 0].mean()), "the last query only"),
    (right_kind, of_the_layer, "over all heads of the layer"),
    (right_kind, lambda m, t: (("0", "2"), 1.0), "A layer or a head should be numbers"),
    (right_kind, lambda m, t: suppressor(m, t)[0], "expected (layer, head) and a number"),
    (right_kind, lambda m, t: ((1, 2), 1.0) if m.cfg.d_vocab > 99 else suppressor(m, t), "On a model of ours"),
    (right_kind, nothing, "is None"),
    (ch05.false_friend, lambda *given: friend_among(*given, least=-1), "no copier"),
    (ch05.false_friend, lambda *given: friend_among(*given, best=max), "You took the largest share"),
    (ch05.false_friend, lambda *given: friend_among(*given, by="positivity"), "the head of least positivity"),
    (ch05.false_friend, lambda *given: friend_among(*given, by="rise"), "not their mean rise"),
    (ch05.false_friend, lambda *given: friend_among(*given, ids=True), "with a token's place, not its id"),
    (ch05.false_friend, lambda *given: friend_among(*given, among=few_tokens), "not of `tokens` alone"),
    (ch05.false_friend, friend_of_all, "those that are the first in their own row"),
    (ch05.false_friend, lambda m, la, t: friend_among(m, 0, t), "you return None, but 9 heads of layer 1"),
    (ch05.false_friend, lambda *given: (99, 0.1), "expected one of 0 to 4"),
    (ch05.false_friend, lambda *given: ("0.6", 0.1), "The head should be numbers"),
    (ch05.false_friend, lambda *given: friend_among(*given) or (0, 0.0), "expected None"),
    (ch05.false_friend, lambda *given: friend_among(*given)[0], "expected a head and its share"),
    (ch05.false_friend, nothing, "Do you look at that layer"),
    (ch05.counterexample, lambda: SHEAR, "Token 2 raises itself by 1"),
    (ch05.counterexample, lambda: NEXT, "expected none but positive ones"),
    (ch05.counterexample, lambda: -torch.eye(4), "expected none but positive ones"),
    (ch05.counterexample, lambda: torch.eye(4), "it copies itself"),
    (ch05.counterexample, lambda: torch.ones(4, 4), "raises itself by 1, and token 1 by as much: a tie"),
    (ch05.counterexample, lambda: -torch.zeros(4, 4), "raises itself by 0, and token 1"),
    (ch05.counterexample, lambda: TOO_LITTLE, "expected none but positive ones"),
    (ch05.counterexample, lambda: LOST_BY_CENTRING, "expected none but positive ones"),
    (ch05.counterexample, lambda: torch.tensor([[1.0, 10], [0, 1]]), "has 2 tokens"),
    (ch05.counterexample, lambda: RANK_1[:2], "expected it square"),
    (ch05.counterexample, lambda: RANK_1 * 1j, "is complex"),
    (ch05.counterexample, lambda: torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 1, 0]]) * torch.nan, "no finite numbers"),
    (ch05.counterexample, lambda: torch.tensor([[0, 1.6, 1.7], [1.7, 0, 1.6], [1.6, 1.7, 0]]).double() * 1e308,
     "a number too large"),
    (ch05.counterexample, nothing, "is None"),
]  # fmt: skip


# --- right answers in other clothes ---


FOUR = torch.outer(torch.tensor([-1.0, 30, 20, 1]), torch.tensor([4.0, 2, 1, -7]))

RIGHT = [
    (ch05.predicted, predicted_but()),
    (ch05.predicted, lambda: {k: torch.tensor(v).flip(0) for k, v in EIGENVALUES.items()}),
    (right_four, turner),
    (right_four, lambda *given: [torch.tensor(x) for x in turner(*given)]),
    (ch05.my_positivity, measures),
    (ch05.my_positivity, by_the_library),
    (ch05.my_positivity, lambda m, la: measures(m, la).tolist()),
    (ch05.my_positivity, lambda m, la: measures(m, la, of=lambda m, la: (
        m.W_O[la] @ (centre(m.W_U, dim=1) @ m.W_E) @ m.W_V[la]).mT)),
    (ch05.kind, kind_by()),
    (right_kind, suppressor),
    (right_kind, lambda m, t: [list(suppressor(m, t)[0]), suppressor(m, t)[1].item()]),
    (ch05.false_friend, friend_among),
    (ch05.counterexample, lambda: RANK_1),
    (ch05.counterexample, lambda: RANK_1.tolist()),
    (ch05.counterexample, lambda: FOUR),
    (ch05.counterexample, lambda: torch.block_diag(RANK_1, FOUR, RANK_1)),
    (ch05.counterexample, lambda: RANK_1 * 1e-6),
    (ch05.counterexample, lambda: RANK_1.long()),
    (ch05.counterexample, lambda: RANK_1 + torch.tensor([[7.0], [-3], [100]])),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch05, RIGHT, MISTAKES, 5, SECOND)
