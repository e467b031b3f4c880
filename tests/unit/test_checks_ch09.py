"""The checkers of chapter 9: what they say to plausible mistakes, and right answers in other forms."""

import torch
from checker_checks import same_tests

from course_utils.checks import ch09
from course_utils.scores import successors

# --- right answers, as a reader might write them: each with one thing that can be wrong ---


def fair_partners(documents, shift=None):
    ranked = sorted(range(len(documents)), key=lambda i: documents[i])
    shift = max(documents.count(document) for document in documents) if shift is None else shift
    order = [0] * len(documents)
    for place, i in enumerate(ranked):
        order[i] = ranked[(place + shift) % len(ranked)]
    return order


def answer_was_there(tokens, itself=0, any_place=False, known=False, negated=False):
    table = torch.zeros_like(tokens, dtype=torch.bool)
    for row, ids in enumerate(tokens.tolist()):
        for i in range(len(ids) - 1):
            followed = {ids[j + 1] for j in range(i + itself) if ids[j] == ids[i]}
            followed = set(ids[: i + 1]) if any_place else followed
            table[row, i] = bool(followed) if known else ids[i + 1] in followed
    return ~table if negated else table


def by_successors(tokens, wrap=False):
    next_token = tokens.roll(-1, dims=1) if wrap else torch.nn.functional.pad(tokens[:, 1:], (0, 1), value=-1)
    return (successors(tokens) & (next_token[:, :, None] == tokens[:, None, :])).any(-1)


def if_it_looked_back(model, tokens, head, layer=0, shift=1, first="itself", positions=False):
    x = model.W_E[tokens]
    x = x + model.W_pos[: tokens.shape[1]] if positions else x
    before = x.roll(shift, dims=1)
    if first == "itself" and shift == 1:
        before[:, 0] = x[:, 0]
    if first == "nothing":
        before[:, 0] = 0
    return before @ model.W_V[layer, head] @ model.W_O[layer, head]


def but(function, **wrong):
    return lambda *given: function(*given, **wrong)


def says(q, k):
    return lambda: {"q": q, "k": k}


FIVE = says(["token", 11], [8, 11, "token"])

RIGHT = [
    (ch09.fair_partners, fair_partners),
    (ch09.fair_partners, lambda documents: torch.tensor(fair_partners(documents))),
    (ch09.answer_was_there, answer_was_there),
    (ch09.answer_was_there, by_successors),
    (ch09.answer_was_there, lambda tokens: answer_was_there(tokens).tolist()),
    (ch09.if_it_looked_back, if_it_looked_back),
    (ch09.my_explanation, FIVE),
    (ch09.my_explanation, lambda: {**FIVE(), "v": ["token"]}),
]

# --- plausible mistakes: (checker, answer, what the message must say) ---

MISTAKES = [
    (ch09.fair_partners, lambda documents: list(range(len(documents))), "its own partner"),
    (ch09.fair_partners, but(fair_partners, shift=1), "of its own document"),
    (ch09.fair_partners, lambda documents: [documents.index(next(d for d in documents if d != e)) for e in documents],
     "used once"),
    (ch09.fair_partners, lambda documents: fair_partners(documents)[1:], "partners"),
    (ch09.fair_partners, lambda documents: [i + 1 for i in fair_partners(documents)], "the numbers of texts"),
    (ch09.fair_partners, lambda documents: None, "None"),
    (ch09.answer_was_there, but(answer_was_there, known=True), "one that followed it"),
    (ch09.answer_was_there, but(answer_was_there, itself=1), "only earlier occurrences"),
    (ch09.answer_was_there, but(answer_was_there, any_place=True), "whatever stood before it"),
    (ch09.answer_was_there, but(answer_was_there, negated=True), "the other way round"),
    (ch09.answer_was_there, lambda tokens: answer_was_there(tokens)[:, :-1], "has shape"),
    (ch09.answer_was_there, lambda tokens: answer_was_there(tokens).roll(1, 1), "comes next, yours is"),
    (ch09.answer_was_there, lambda tokens: answer_was_there(tokens).float(), "True and False"),
    (ch09.answer_was_there, lambda tokens: by_successors(tokens, wrap=True), "no token after it"),
    (ch09.answer_was_there, lambda tokens: None, "None"),
    (ch09.if_it_looked_back, lambda m, t, h: m.run_with_cache(t)[1].head_out(0, h), "what the head really writes"),
    (ch09.if_it_looked_back, but(if_it_looked_back, shift=0, first=""), "of the token itself"),
    (ch09.if_it_looked_back, but(if_it_looked_back, shift=-1, first=""), "shift the other way"),
    (ch09.if_it_looked_back, but(if_it_looked_back, first="nothing"), "zero at position 0"),
    (ch09.if_it_looked_back, but(if_it_looked_back, first="last"), "the last token"),
    (ch09.if_it_looked_back, but(if_it_looked_back, layer=1), "of layer 1"),
    (ch09.if_it_looked_back, but(if_it_looked_back, positions=True), "values read none"),
    (ch09.if_it_looked_back, lambda m, t, head: if_it_looked_back(m, t, head - 1), "of another head"),
    (ch09.if_it_looked_back, lambda *given: if_it_looked_back(*given)[:, 1:], "has shape"),
    (ch09.my_explanation, says(["token"], [8]), "2 parts recover 0.6"),
    (ch09.my_explanation, says(["token", 11], [8, 11]), "4 parts recover 0.8"),
    (ch09.my_explanation, says(["token", 11], [8, 11, 5]), "Exchange a part"),
    (ch09.my_explanation, says(["token"], [8, 11, "token"]), "4 parts recover 0.7"),
    (ch09.my_explanation, says(["everything"], [8, 11, "token"]), "explains nothing"),
    (ch09.my_explanation, says(["token", 11, 5], [8, 11, "token"]), "at most 5"),
    (ch09.my_explanation, says(["token", 12], [8]), "0 to 11"),
    (ch09.my_explanation, says(["token", "token"], [8]), "named twice"),
    (ch09.my_explanation, lambda: (["token"], [8]), "Return a dict"),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch09, RIGHT, MISTAKES, 4)
