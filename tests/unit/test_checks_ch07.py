"""The checkers of chapter 7: what they say to plausible mistakes, and to right answers got another way."""

import torch
from checker_checks import same_tests

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


def first_half(answer):
    """The first half of exercise 1, with a right second one."""
    return answer, best


def best(model, tokens, keys_of=None, reduce="mean", everywhere=False, value=None, swapped=False, mean=False):
    pattern = model.run_with_cache(tokens)[1].pattern[:, 0]
    rows = (keys_of or keys(lambda j: j + 1))(tokens[0].tolist())
    pick = (lambda x: x.mean(-1)) if mean else (lambda x: x.sum(-1))
    looks = torch.stack([pick(pattern[:, :, q, at]) for q, at in enumerate(rows) if at or everywhere])
    table = getattr(looks, reduce)(0)
    place = divmod(int(table.argmax()), table.shape[1])
    return (place[::-1] if swapped else place), table.max() if value is None else value


def best_over_all_keys(model, tokens):
    """All that the keys get, divided by how many they are."""
    place, total = best(model, tokens, reduce="sum")
    return place, total / sum(len(at) for at in keys(lambda j: j + 1)(tokens[0].tolist()))


def second(**wrong):
    return keys(lambda j: j + 1), lambda model, tokens: best(model, tokens, **wrong)


# --- exercise 2 ---


def first_over_the_line(pattern, N):
    q = torch.arange(N + 1, 2 * N + 1)
    at = {"present": q, "previous": q - 1, "start": q * 0, "induction": q - N + 1}
    means = {kind: pattern[:, q, key].mean(1) for kind, key in at.items()}
    return [next((k for k in means if means[k][h] >= 0.4), "other") for h in range(len(pattern))]


def found(model, repeated, control, N, name=None, controlled=True):
    """Induction heads by names on a repeat, less those on the control."""
    name = name or named()
    patterns = [model.run_with_cache(tokens)[1].pattern[:, 0] for tokens in (repeated, control)]
    heads = [
        {(at, h) for at, each in enumerate(pattern) for h, kind in enumerate(name(each, N)) if kind == "induction"}
        for pattern in patterns
    ]
    return list(heads[0] - heads[1]) if controlled else list(heads[0])


def pair(first=None, **wrong):
    return first or named(), lambda *given: found(*given, **wrong)


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


def needs(model, tokens, N, later, worst=False, whole=False, mean=False, swapped=False, **wrong):
    left = [float(matched(**wrong)(model, tokens, N, (0, h), later)) for h in range(model.cfg.n_heads)]
    order = sorted(range(len(left)), key=left.__getitem__)
    first, control = order[1 if worst else 0], left[order[1]]
    control = float(matched(side="")(model, tokens, N, (0, 0), later)) if whole else control
    control = sum(left) / len(left) if mean else control
    return (first, 0) if swapped else (0, first), left[first], control


def cut_and(first=None, **wrong):
    return first or matched(), lambda *given: needs(*given, **wrong)


def model_changed_in_place(model, tokens, N, earlier, later):
    model.W_O[earlier] = 0
    return matched("")(model, tokens, N, earlier, later)


# --- exercise 4 ---


def pointed(apart=2.0, shift=1, copied=True, read="pointer", gain=50.0, double=False, pointer_by=None, gain_1=None):
    """pointer_by: what OV_0 is, of the blocks position and pointer."""

    def answer(d_vocab, n_ctx):
        d = 2 * d_vocab + 2 * n_ctx
        token, position, pointer, output = torch.eye(d).split([d_vocab, n_ctx, n_ctx, d_vocab])
        ask = {"pointer": pointer, "position": position}[read]
        moved = torch.diag(torch.ones(n_ctx - abs(shift)), shift)
        weights = (
            gain * (token.T @ token - apart * position.T @ position),
            pointer_by(position, pointer) if pointer_by else position.T @ pointer,
            (gain_1 or gain) * ask.T @ moved @ position,
            token.T @ (output if copied else token),
        )
        return [W.double() for W in weights] if double else weights

    return answer


def nothing(*_):
    return None


MISTAKES = [
    (ch07.induction_keys, first_half(keys(lambda j: j)), "the earlier occurrences themselves"),
    (ch07.induction_keys, first_half(keys(lambda j: j - 1)), "one to the left"),
    (ch07.induction_keys, first_half(keys_of_itself_too), "no earlier occurrence of itself"),
    (ch07.induction_keys, first_half(keys_of_the_latest), "Only the latest"),
    (ch07.induction_keys, first_half(keys_of_the_first), "Only the first"),
    (ch07.induction_keys, first_half(keys_before_the_query), "may be the present position"),
    (ch07.induction_keys, first_half(lambda tokens: [[] for _ in tokens]), "expected ["),
    (ch07.induction_keys, first_half(lambda tokens: []), "0 lists for 5 positions"),
    (ch07.induction_keys, first_half(nothing), "The answer is None"),
    (ch07.name_heads, pair(named(induction=0)), "is called"),
    (ch07.name_heads, pair(named(induction=2)), "expected 'induction'"),
    (ch07.name_heads, pair(named(first=1)), "expected 'other'"),
    (ch07.name_heads, pair(named(least=0.0)), "expected 'other'"),
    (ch07.name_heads, pair(named(previous=2)), "expected 'previous'"),
    (ch07.name_heads, pair(named(least=0.99)), "is called 'other', expected"),
    (ch07.name_heads, pair(lambda pattern, N: ["other"]), "1 names for"),
    (ch07.name_heads, pair(nothing), "The answer is None"),
    (ch07.matching_without, cut_and(matched(side="")), "Nothing is cut"),
    (ch07.matching_without, cut_and(matched(side="V")), "Nothing is cut"),
    (ch07.matching_without, cut_and(matched(side="Q")), "The path to the queries"),
    (ch07.matching_without, cut_and(matched(heads=True)), "The whole head is cut"),
    (ch07.matching_without, cut_and(matched(key=0)), "q − N, the same token"),
    (ch07.matching_without, cut_and(matched(total=True)), "take the mean"),
    (ch07.matching_without, cut_and(matched(swapped=True)), "The mean attention is"),
    (ch07.matching_without, cut_and(model_changed_in_place), "You changed W_O"),
    (ch07.matching_without, cut_and(nothing), "is None"),
    (ch07.induction_keys, second(reduce="sum"), "the sum over the queries"),
    (ch07.induction_keys, second(everywhere=True), "over all queries"),
    (ch07.induction_keys, second(mean=True), "the mean over keys"),
    (ch07.induction_keys, (keys(lambda j: j + 1), best_over_all_keys), "by how many queries have a key"),
    (ch07.induction_keys, second(keys_of=keys(lambda j: j)), "earlier occurrences themselves"),
    (ch07.induction_keys, second(swapped=True), "There is no head"),
    (ch07.induction_keys, second(value=0.5), "the mean attention of head"),
    (ch07.induction_keys, (keys(lambda j: j + 1), lambda m, t: ((1, 1), best(m, t)[1])), "not seen you found head"),
    (ch07.induction_keys, (keys(lambda j: j + 1), lambda *_: 1), "Return two things"),
    (ch07.induction_keys, (keys(lambda j: j + 1), lambda *_: (1, 1)), "A head is (layer, head)"),
    (ch07.name_heads, pair(controlled=False), "looks by position alone"),
    (ch07.name_heads, pair(name=named(induction=0)), "you give [], expected [(1, 0)]"),
    (ch07.name_heads, (named(), lambda *_: [(1, 1), (1, 10)]), "expected [(1, 0)]"),
    (ch07.name_heads, pair(named(last=1)), "expected"),
    (ch07.name_heads, pair(named(first=0)), "expected"),
    (ch07.name_heads, pair(named(least=0.5)), "is called 'other'"),
    (ch07.name_heads, pair(named(least=0.38)), "expected 'other'"),
    (ch07.name_heads, pair(first_over_the_line), "expected"),
    (ch07.matching_without, cut_and(worst=True), "you say that it needs"),
    (ch07.matching_without, cut_and(whole=True), "the control is the whole model"),
    (ch07.matching_without, cut_and(mean=True), "the control is"),
    (ch07.matching_without, cut_and(swapped=True), "you say that it needs"),
    (ch07.matching_without, cut_and(total=True), "what is left is"),
    (ch07.matching_without, (matched(), lambda *_: ((0, 8), 0.02, 0.4)), "what is left is"),
    (ch07.matching_without, (matched(), lambda *given: ((0, 8), *needs(*given)[1:])), "you say that it needs (0, 8)"),
    (ch07.matching_without, (matched(), lambda *_: (0, 8)), "Return three things"),
    (ch07.pointer_weights, pointed(apart=-1.0), "keep it out"),
    (ch07.pointer_weights, pointed(shift=0), "must be moved by one"),
    (ch07.pointer_weights, pointed(shift=-1), "the wrong way"),
    (ch07.pointer_weights, pointed(shift=2), "layer 1 looks at"),
    (ch07.pointer_weights, pointed(read="position"), "comes from the pointer block"),
    (ch07.pointer_weights, pointed(copied=False), "OV_1 must copy"),
    (ch07.pointer_weights, pointed(gain=0.1), "layer 0 looks at"),
    (ch07.pointer_weights, pointed(gain=1.0), "), which is the right one, but too blurred"),
    (ch07.pointer_weights, pointed(gain_1=1.0), "but too blurred: make the scores larger"),
    (
        ch07.pointer_weights,
        pointed(pointer_by=lambda position, pointer: 0 * (position.T @ pointer)),
        "pointer block empty",
    ),
    (ch07.pointer_weights, pointed(pointer_by=lambda position, pointer: pointer.T @ position), "OV_0 must copy"),
    (ch07.pointer_weights, pointed(pointer_by=lambda position, pointer: position.T @ pointer.roll(1, 0)), "as it is"),
    (ch07.pointer_weights, lambda *sizes: pointed()(*sizes)[:3], "Return four matrices"),
    (ch07.pointer_weights, lambda *sizes: tuple(W[1:] for W in pointed()(*sizes)), "QK_0 has shape"),
    (ch07.pointer_weights, nothing, "Return four matrices"),
]


RIGHT = [
    (ch07.induction_keys, first_half(keys(lambda j: j + 1))),
    (ch07.induction_keys, first_half(lambda tokens: [torch.tensor(each) for each in keys(lambda j: j + 1)(tokens)])),
    (ch07.induction_keys, first_half(lambda tokens: [set(each) for each in keys(lambda j: j + 1)(tokens)])),
    (ch07.name_heads, pair(named())),
    (ch07.name_heads, pair(lambda pattern, N: tuple(named()(pattern.double(), N)))),
    (ch07.matching_without, cut_and(matched())),
    (ch07.matching_without, cut_and(matched_by_pattern_without)),
    (ch07.pointer_weights, pointed()),
    (ch07.pointer_weights, pointed(double=True, gain=300.0)),
    (ch07.pointer_weights, pointed(apart=1.0)),
    (ch07.pointer_weights, pointed(apart=0.0)),  # half of each pointer is "here": its successor is masked
]


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch07, RIGHT, MISTAKES, 4)
