"""The checkers of chapter 7: what they say to plausible mistakes, and to right answers got another way."""

import pytest
import torch
from checker_checks import checkers_of

from course_utils import AttentionOnlyTransformer, ModelConfig
from course_utils.checks import ch07
from course_utils.interventions import pattern_without, run_without

# --- exercise 1 ---


def keys(of):
    """An answer that gives `of(j)` for each earlier occurrence j."""
    return lambda tokens: [[of(j) for j in range(q) if tokens[j] == tokens[q]] for q in range(len(tokens))]


def keys_of_itself_too(tokens):
    return [[j + 1 for j in range(q + 1) if tokens[j] == tokens[q]] for q in range(len(tokens))]


def keys_of_the_latest(tokens):
    return [each[-1:] for each in keys(lambda j: j + 1)(tokens)]


def keys_of_the_first(tokens):
    return [each[:1] for each in keys(lambda j: j + 1)(tokens)]


def keys_before_the_query(tokens):
    return [[key for key in each if key < q] for q, each in enumerate(keys(lambda j: j + 1)(tokens))]


# --- exercise 2 ---


def named(induction=1, first=None, last=0, least=0.4, previous=1):
    """Names by mean attention, `induction` places after q − N."""

    def answer(pattern, N):
        q = torch.arange(N + 1 if first is None else first, 2 * N + 1 - last)
        at = {"present": q, "previous": q - previous, "start": q * 0, "induction": (q - N + induction).clamp(min=0)}
        means = {name: pattern[:, q, key].mean(1) for name, key in at.items()}
        best = [max(means, key=lambda name: float(means[name][h])) for h in range(len(pattern))]
        return [name if means[name][h] >= least else "other" for h, name in enumerate(best)]

    return answer


# --- exercise 3 ---


def shared(key=1, mean=True, future=False, total=True, transposed=False, ratios=False, queries=(1, 1)):
    def answer(terms, N):
        rows = []
        for q in range(N + queries[0], 2 * N + queries[1]):
            allowed = terms[:, :, q] if future else terms[:, :, q, : q + 1]
            rows.append(terms[:, :, q, q - N + key] - mean * allowed.mean(-1))
        table = torch.stack(rows)
        if ratios:
            return (table / table.sum((1, 2), keepdim=True)).mean(0)
        table = table.mean(0)
        table = table / table.sum() if total else table
        return table.T if transposed else table

    return answer


def shares_as_lists(terms, N):
    return shared()(terms.float().double(), N).tolist()


# --- exercise 4 ---


def matched(side="K", key=1, heads=False, total=False, swapped=False):
    def answer(model, tokens, N, earlier, later):
        if swapped:
            earlier, later = (0, later[1]), (1, earlier[1])
        what = {"heads": [earlier]} if heads else {"paths": [(earlier, later, side)] if side else []}
        pattern = run_without(model, tokens, **what)[1].pattern[later[0], 0, later[1]]
        q = torch.arange(N + 1, 2 * N + 1)
        attention = pattern[q, q - N + key]
        return attention.sum() if total else attention.mean()

    return answer


def matched_by_pattern_without(model, tokens, N, earlier, later):
    pattern = pattern_without(model, model.run_with_cache(tokens)[1], later, [earlier], "K")[0]
    return float(pattern.diagonal(1 - N)[2:].mean())


def model_changed_in_place(model, tokens, N, earlier, later):
    model.W_O[earlier] = 0
    return matched("")(model, tokens, N, earlier, later)


# --- exercise 5 ---


def circle(turn=-1, gain=30.0, rest=0.5, previous=True, root=True, quiet=True, wide=False, read=True, layers=2):
    def answer(d_vocab, n_ctx):
        cfg = ModelConfig(
            n_layers=layers, n_heads=1, d_model=3 * d_vocab + 2 + wide, d_head=d_vocab, d_vocab=d_vocab, n_ctx=n_ctx
        )
        model = AttentionOnlyTransformer(cfg).requires_grad_(False)
        token, before, output, place, _ = torch.eye(cfg.d_model).split([d_vocab] * 3 + [2, int(wide)])
        inside, scale = torch.eye(d_vocab), d_vocab**0.5 if root else 1.0
        step = torch.tensor(2 * torch.pi / n_ctx)
        angle, s = step * torch.arange(n_ctx), turn * step
        model.W_E.copy_(token)
        model.W_pos.copy_(torch.stack([angle.cos(), angle.sin()], dim=1) @ place)
        turned = torch.tensor([[s.cos(), s.sin()], [-s.sin(), s.cos()]])
        model.W_Q[0, 0] = gain / (1 - step.cos()) * scale * place.T @ turned @ inside[:2]
        model.W_K[0, 0] = place.T @ inside[:2]
        model.W_V[0, 0], model.W_O[0, 0] = token.T @ inside, inside.T @ before
        if layers == 1:
            return model
        model.W_Q[1, 0] = 30 * scale * token.T @ inside
        model.W_K[1, 0] = (before if previous else token).T @ inside + rest * token[0].outer(inside.sum(0))
        model.W_V[1, 0] = token[int(quiet) :].T @ inside[int(quiet) :]
        model.W_O[1, 0] = inside.T @ output
        model.W_U.copy_(10 * (output if read else token).T)
        return model

    return answer


# --- exercise 6 ---


def pointed(apart=2.0, shift=1, copied=True, read="pointer", gain=50.0, double=False):
    def answer(d_vocab, n_ctx):
        d = 2 * d_vocab + 2 * n_ctx
        token, position, pointer, output = torch.eye(d).split([d_vocab, n_ctx, n_ctx, d_vocab])
        ask = {"pointer": pointer, "position": position}[read]
        moved = torch.diag(torch.ones(n_ctx - abs(shift)), shift)
        weights = (
            gain * (token.T @ token - apart * position.T @ position),
            position.T @ pointer,
            gain * ask.T @ moved @ position,
            token.T @ (output if copied else token),
        )
        return [W.double() for W in weights] if double else weights

    return answer


def nothing(*_):
    return None


MISTAKES = [
    (ch07.induction_keys, keys(lambda j: j), "the earlier occurrences themselves"),
    (ch07.induction_keys, keys(lambda j: j - 1), "one to the left"),
    (ch07.induction_keys, keys_of_itself_too, "no earlier occurrence of itself"),
    (ch07.induction_keys, keys_of_the_latest, "Only the latest"),
    (ch07.induction_keys, keys_of_the_first, "Only the first"),
    (ch07.induction_keys, keys_before_the_query, "may be the present position"),
    (ch07.induction_keys, lambda tokens: [[] for _ in tokens], "expected ["),
    (ch07.induction_keys, lambda tokens: [], "0 lists for 5 positions"),
    (ch07.induction_keys, nothing, "The answer is None"),
    (ch07.name_heads, named(induction=0), "is called 'other', expected 'induction'"),
    (ch07.name_heads, named(induction=2), "expected 'induction'"),
    (ch07.name_heads, named(first=1), "in the first copy only"),
    (ch07.name_heads, named(least=0.0), "expected 'other'"),
    (ch07.name_heads, named(previous=2), "expected 'previous'"),
    (ch07.name_heads, named(least=0.99), "is called 'other', expected"),
    (ch07.name_heads, lambda pattern, N: ["other"], "1 names for 7 heads"),
    (ch07.name_heads, nothing, "The answer is None"),
    (ch07.shares, shared(key=0), "key q − N, the same token"),
    (ch07.shares, shared(mean=False), "isn't taken off"),
    (ch07.shares, shared(future=True), "only those up to the query"),
    (ch07.shares, shared(total=False), "divide by that of the whole score"),
    (ch07.shares, shared(transposed=True), "transposed"),
    (ch07.shares, shared(ratios=True), "means of ratios"),
    (ch07.shares, shared(queries=(1, 0)), "the last is missing"),
    (ch07.shares, shared(queries=(0, 1)), "last token of the first copy"),
    (ch07.shares, lambda terms, N: shared()(terms.abs(), N), "A share is"),
    (ch07.shares, lambda terms, N: shared()(terms, N).sum(0), "has shape [3], expected [3, 3]"),
    (ch07.shares, nothing, "is None"),
    (ch07.matching_without, matched(side=""), "Nothing is cut"),
    (ch07.matching_without, matched(side="V"), "Nothing is cut"),
    (ch07.matching_without, matched(side="Q"), "The path to the queries"),
    (ch07.matching_without, matched(heads=True), "The whole head is cut"),
    (ch07.matching_without, matched(key=0), "q − N, the same token"),
    (ch07.matching_without, matched(total=True), "take the mean"),
    (ch07.matching_without, matched(swapped=True), "The mean attention is"),
    (ch07.matching_without, model_changed_in_place, "You changed W_O"),
    (ch07.matching_without, nothing, "is None"),
    (ch07.induction_on_a_circle, circle(turn=1), "previous token everywhere"),
    (ch07.induction_on_a_circle, circle(gain=0.5), "previous token everywhere"),
    (ch07.induction_on_a_circle, circle(root=False, gain=2.0), "previous token everywhere"),
    (ch07.induction_on_a_circle, circle(previous=False), "keys must be made of the previous token"),
    (ch07.induction_on_a_circle, circle(rest=2.0), "as high as a match or higher"),
    (ch07.induction_on_a_circle, circle(rest=0.0), "attention to the start token falls"),
    (ch07.induction_on_a_circle, circle(quiet=False), "resting on the start token must add nothing"),
    (ch07.induction_on_a_circle, circle(read=False), "looks at the right key"),
    (ch07.induction_on_a_circle, circle(wide=True), "d_model is 54, and 53 must do"),
    (ch07.induction_on_a_circle, circle(layers=1), "(n_layers, d_vocab, n_ctx) is (1, 17, 40)"),
    (ch07.induction_on_a_circle, nothing, "expected an AttentionOnlyTransformer"),
    (ch07.pointer_weights, pointed(apart=-1.0), "keep it out"),
    (ch07.pointer_weights, pointed(shift=0), "must be moved by one"),
    (ch07.pointer_weights, pointed(shift=-1), "the wrong way"),
    (ch07.pointer_weights, pointed(shift=2), "layer 1 looks at"),
    (ch07.pointer_weights, pointed(read="position"), "comes from the pointer block"),
    (ch07.pointer_weights, pointed(copied=False), "OV_1 must copy"),
    (ch07.pointer_weights, pointed(gain=0.1), "layer 0 looks at"),
    (ch07.pointer_weights, lambda *sizes: pointed()(*sizes)[:3], "Return four matrices"),
    (ch07.pointer_weights, lambda *sizes: tuple(W[1:] for W in pointed()(*sizes)), "QK_0 has shape"),
    (ch07.pointer_weights, nothing, "Return four matrices"),
]


@pytest.mark.parametrize(("checker", "answer", "says"), MISTAKES, ids=[says[:40] for *_, says in MISTAKES])
def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
    outcome = checker(answer)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


RIGHT = [
    (ch07.induction_keys, keys(lambda j: j + 1)),
    (ch07.induction_keys, lambda tokens: [torch.tensor(each) for each in keys(lambda j: j + 1)(tokens)]),
    (ch07.induction_keys, lambda tokens: [set(each) for each in keys(lambda j: j + 1)(tokens)]),
    (ch07.name_heads, named()),
    (ch07.name_heads, lambda pattern, N: tuple(named()(pattern.double(), N))),
    (ch07.shares, shared()),
    (ch07.shares, shares_as_lists),
    (ch07.matching_without, matched()),
    (ch07.matching_without, matched_by_pattern_without),
    (ch07.induction_on_a_circle, circle()),
    (ch07.induction_on_a_circle, lambda *sizes: circle()(*sizes).double()),
    (ch07.induction_on_a_circle, lambda *sizes: circle()(*sizes).requires_grad_(True)),
    (ch07.pointer_weights, pointed()),
    (ch07.pointer_weights, pointed(double=True, gain=300.0)),
    (ch07.pointer_weights, pointed(apart=1.0)),
    (ch07.pointer_weights, pointed(apart=0.0)),  # half of each pointer is "here": its successor is masked
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_a_right_answer_passes_however_it_was_got(checker, answer):
    outcome = checker(answer)
    assert outcome.status == "passed", outcome


def test_every_checker_has_three_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch07)
    assert len(checkers) == 6 and all(told.count(name) >= 3 for name in checkers)
