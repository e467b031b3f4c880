"""The checkers of chapter 12: what they say to plausible mistakes, and right answers in other forms."""

import torch
from checker_checks import same_tests

from course_utils.checks import ch12
from course_utils.circuits import composition
from course_utils.factored import FactoredMatrix
from course_utils.interventions import ablate
from course_utils.transformer import fold_norms, rotated

# --- right answers, as a reader might write them: each with one thing that can be wrong ---


def mates(head, n_heads, n_key_heads):
    size = n_heads // n_key_heads
    return [mate for mate in range(n_heads) if mate // size == head // size]


def score_at(q, k, distance, base, turn="q", root=0.5, slower=1, halves=False):
    pairs = len(q) // 2
    angle = distance * base ** (-torch.arange(pairs, dtype=q.dtype) / pairs / slower)
    x = q if turn == "q" else k
    a, b = x.chunk(2) if halves else (x[0::2], x[1::2])
    c, d = a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()
    turned = torch.cat([c, d]) if halves else torch.stack([c, d], dim=1).flatten()
    return turned @ (k if turn == "q" else q) / len(q) ** root


def score_of_both(q, k, distance, base):
    """Right, by another route."""
    return rotated(q[None], base, first=distance)[0] @ k / len(q) ** 0.5


def direct_and_all(model, tokens, head, first=1, centred=True, part_of=True, sign=1, shift=1, said=lambda x: x):
    def of_answer(logits):
        logits = logits - logits.mean(-1, keepdim=True) if centred else logits
        return logits[:, first:-1].gather(2, tokens[:, first + shift : tokens.shape[1] - 1 + shift, None]).mean()

    logits, cache = model.run_with_cache(tokens)
    without, _ = model.run_with_cache(tokens, ablate([head]))
    added = model.unembed(cache.head_out(*head), *([cache.resid[-1]] if part_of else []))
    return of_answer(added), sign * (of_answer(said(logits)) - of_answer(said(without)))


def in_all_of_log_probabilities(*given):
    return direct_and_all(*given)[0], direct_and_all(*given, centred=False, said=lambda x: x.log_softmax(-1))[1]


def only_direct(model, tokens, head):
    return (direct_and_all(model, tokens, head)[0],) * 2


def without_norm(model, tokens, head):
    _, cache = model.run_with_cache(tokens)
    added = cache.head_out(*head) @ model.W_U
    added = added - added.mean(-1, keepdim=True)
    return added[:, 1:-1].gather(2, tokens[:, 2:, None]).mean(), direct_and_all(model, tokens, head)[1]


def told_by(model, later, side="W_Q", mine=True, theirs=True, over=True, off=0):
    layer, head = later
    read = (model.ln1_w[layer][:, None] if mine else 1) * getattr(model, side)[layer, head - off]
    rows = []
    for at in range(layer):
        written = FactoredMatrix((model.ln1_w[at][:, None] if theirs else 1) * model.W_V[at], model.W_O[at])
        rows.append(composition(written, read) if over else (written @ read).norm())
    return torch.stack(rows)


def carriers(model, clean, changed, answer, share=True, places=slice(None), factor=None, read=None, whole=False):
    read = read or (lambda logits: logits[:, -1].log_softmax(-1)[:, answer])
    z, (high, low) = model.run_with_cache(clean)[1].z, (read(model(tokens)) for tokens in (clean, changed))
    table = torch.zeros(z.shape[0], z.shape[2], dtype=z.dtype)
    for at in range(len(table)):
        for head in range(table.shape[1]):

            def edit(name, value, layer, cache, at=at, head=slice(None) if whole else head):
                if (name, layer) == ("z", at):
                    value[:, head, places] = z[at][:, head, places] * (1 if factor is None else factor)
                return value

            table[at, head] = read(model.run_with_cache(changed, edit)[0])[0]
    return (table - low) / (high - low) if share else table


def but(function, **wrong):
    return lambda *given: function(*given, **wrong)


def the_other_way(model, clean, changed, answer):
    right = carriers(model, changed, clean, answer)  # of the clean run, what goes: 1 − …
    return 1 - right


RIGHT = [
    (ch12.mates, mates),
    (ch12.mates, lambda *given: tuple(torch.tensor(mates(*given)))),
    (ch12.score_at, score_at),
    (ch12.score_at, score_of_both),
    (ch12.score_at, lambda *given: score_at(*given).item()),
    (ch12.direct_and_all, direct_and_all),
    (ch12.direct_and_all, lambda *given: [x.item() for x in direct_and_all(*given)]),
    (ch12.told_by, told_by),
    (ch12.told_by, lambda *given: told_by(*given).tolist()),
    (ch12.carriers, carriers),
    (ch12.carriers, lambda *given: carriers(*given).float().double() * 0 + carriers(*given)),
]

# --- plausible mistakes: (checker, answer, what the message must say) ---

MISTAKES = [
    (ch12.mates, lambda head, n, keys: [m for m in range(n) if m % keys == head % keys], "side by side"),
    (ch12.mates, lambda *given: [m for m in mates(*given) if m != given[0]], "The head itself"),
    (ch12.mates, lambda head, n, keys: mates(head, n, n // keys), "divide n_heads by"),
    (ch12.mates, lambda head, n, keys: [head // (n // keys)], "return query heads"),
    (ch12.mates, lambda *given: mates(*given)[::-1], "in rising order"),
    (ch12.mates, lambda *given: None, "None"),
    (ch12.score_at, but(score_at, root=0), "not divided by"),
    (ch12.score_at, but(score_at, root=1), "take its square root"),
    (ch12.score_at, but(score_at, turn="k"), "turn the query"),
    (ch12.score_at, lambda q, k, distance, base: q @ k / len(q) ** 0.5, "changes nothing"),
    (ch12.score_at, but(score_at, slower=2), "there are d_head / 2 pairs"),
    (ch12.score_at, but(score_at, halves=True), "pairs are neighbours"),
    (ch12.score_at, lambda q, k, distance, base: q * k, "Return one number"),
    (ch12.score_at, lambda q, k, distance, base: score_at(q, k, distance + 1, base), "The score at distance"),
    (ch12.score_at, lambda *given: None, "None"),
    (ch12.direct_and_all, without_norm, "has no norm"),
    (ch12.direct_and_all, but(direct_and_all, part_of=False), "the whole stream"),
    (ch12.direct_and_all, but(direct_and_all, centred=False), "less the mean"),
    (ch12.direct_and_all, but(direct_and_all, first=0), "position 0"),
    (ch12.direct_and_all, but(direct_and_all, shift=0), "the one that comes next"),
    (ch12.direct_and_all, but(direct_and_all, sign=-1), "wrong sign"),
    (ch12.direct_and_all, in_all_of_log_probabilities, "take logits"),
    (ch12.direct_and_all, lambda *given: (direct_and_all(*given)[0], torch.tensor(0.5)), "the head put to zero"),
    (ch12.direct_and_all, only_direct, "only the direct effect again"),
    (ch12.direct_and_all, lambda *given: direct_and_all(*given)[0], "Return two numbers"),
    (ch12.direct_and_all, lambda *given: None, "Return two numbers"),
    (ch12.told_by, but(told_by, mine=False, theirs=False), "leaves out the norms' weights"),
    (ch12.told_by, but(told_by, mine=False), "norm of the later layer"),
    (ch12.told_by, but(told_by, theirs=False), "norms of the earlier layers"),
    (ch12.told_by, but(told_by, side="W_K"), "is K-composition"),
    (ch12.told_by, but(told_by, side="W_V"), "is V-composition"),
    (ch12.told_by, but(told_by, over=False), "not divided by the two norms"),
    (ch12.told_by, but(told_by, off=1), "of another head"),
    (ch12.told_by, lambda model, later: told_by(fold_norms(model), later), "You changed the model's weights"),
    (ch12.told_by, lambda *given: told_by(*given)[:, 0], "has shape"),
    (ch12.carriers, but(carriers, share=False), "is not a share"),
    (ch12.carriers, lambda *given: 1 - carriers(*given), "what is lost"),
    (ch12.carriers, but(carriers, factor=0), "puts zeros in"),
    (ch12.carriers, but(carriers, whole=True), "whole layers"),
    (ch12.carriers, but(carriers, places=slice(-1, None)), "last position only"),
    (ch12.carriers, lambda *given: carriers(*given, read=lambda logits: logits[:, -1, given[3]]), "is of logits"),
    (ch12.carriers, lambda *given: carriers(*given, read=lambda x: x[:, -1].softmax(-1)[:, given[3]]), "probabilities"),
    (ch12.carriers, the_other_way, "goes the other way"),
    (ch12.carriers, lambda *given: carriers(*given).T, "has shape"),
    (ch12.carriers, lambda *given: None, "None"),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch12, RIGHT, MISTAKES, 5)
