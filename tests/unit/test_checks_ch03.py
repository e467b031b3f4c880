"""The checkers of chapter 3: what they say to plausible mistakes, and to right answers in other forms."""

import numpy as np
import torch
from checker_checks import same_tests

from course_utils.checks import ch03


def nothing(*_):
    return None


def stub(*_):
    raise NotImplementedError


def paper():
    return [1.5, 2.5]


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


def loudest(
    place=-1, moved=True, plain=False, own=False, looked_at=False, pos=False, squared=False, all_=False, sign=1
):
    """The head that writes most at the last position, with one mistake."""

    def answer(model, tokens):
        pattern, x = model.run_with_cache(tokens)[1].pattern[0, 0], model.W_E[tokens[0]]
        x = x + model.W_pos[: len(x)] if pos else x
        weights = pattern[:, :, place] if looked_at else pattern[:, place]
        averages = x[-1].repeat(len(weights), 1) if own else x.mean(0).repeat(len(weights), 1) if plain else weights @ x
        added = (averages[:, None] @ model.W_V[0] @ model.W_O[0])[:, 0] if moved else averages
        sizes = added.norm(dim=1) ** (2 if squared else 1)
        best = (sign * sizes).argmax()
        return best, sizes[best], sizes.mean() if all_ else (sizes.sum() - sizes[best]) / (len(sizes) - 1)

    return answer


def at_all_positions(model, tokens):
    cache = model.run_with_cache(tokens)[1]
    sizes = torch.stack([cache.head_out(0, head)[0].norm() for head in range(model.cfg.n_heads)])
    best = sizes.argmax()
    return best, sizes[best], (sizes.sum() - sizes[best]) / (len(sizes) - 1)


def by_cache(model, tokens):
    """The same from what the model kept of its run, as Python's numbers."""
    cache = model.run_with_cache(tokens)[1]
    sizes = [cache.head_out(0, head)[0, -1].norm().item() for head in range(model.cfg.n_heads)]
    best = sizes.index(max(sizes))
    return [best, sizes[best], np.mean(sizes[:best] + sizes[best + 1 :])]


def told_most(first=0, last=0, centred=None, alone=False, heads=None, log=True, sign=1, others=True):
    """The source from which most arrives for a token, with one mistake."""

    def answer(model, tokens, out):
        logits, cache = model.run_with_cache(tokens)
        W_OV = model.W_V[0] @ model.W_O[0]
        vectors = cache.pattern[0, 0, :, -1, :, None] * (model.W_E[tokens[0]] @ W_OV)
        told = vectors[:heads].sum(0) @ model.W_U
        if alone:
            told = torch.nn.functional.one_hot(torch.tensor(out), model.cfg.d_vocab) * told
        before, after = logits[0, -1].softmax(0)[out], (logits[0, -1] - told).softmax(1)[:, out]
        falls = sign * (before.log() - after.log() if log else before - after)
        if centred is not None:
            falls = (told - centred * told.mean(1, keepdim=True))[:, out]
        falls = falls[first : len(falls) - last]
        best = falls.argmax()
        return best + first, falls[best], (falls.sum() - falls[best]) / (len(falls) - 1) if others else falls.mean()

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
    (ch03.last_gets, (lambda: [2.5, 1.5], loudest()), "not swapped yet"),
    (ch03.last_gets, (lambda: [2, 8 / 3], loudest()), "plain mean"),
    (ch03.last_gets, (lambda: [6, 8], loudest()), "sum of the vectors"),
    (ch03.last_gets, (lambda: [2, 6], loudest()), "own vector"),
    (ch03.last_gets, (lambda: [7.5, 4.5], loudest()), "what the position holds afterwards"),
    (ch03.last_gets, (lambda: [1.5, 2.0], loudest()), "is 2 at [1], expected 2.5"),
    (ch03.last_gets, (lambda: "1.5, 2.5", loudest()), "should be numbers"),
    (ch03.last_gets, (nothing, loudest()), "is None"),
    (ch03.last_gets, (paper, loudest(place=0)), "what position 0 gets"),
    (ch03.last_gets, (paper, loudest(moved=False)), "W_V W_O comes after"),
    (ch03.last_gets, (paper, loudest(plain=True)), "a plain mean over the sources"),
    (ch03.last_gets, (paper, loudest(own=True)), "own vector, moved"),
    (ch03.last_gets, (paper, loudest(looked_at=True)), "query, then key"),
    (ch03.last_gets, (paper, loudest(pos=True)), "leave W_pos out"),
    (ch03.last_gets, (paper, loudest(squared=True)), "squares of the sizes"),
    (ch03.last_gets, (paper, loudest(all_=True)), "leave the largest out"),
    (ch03.last_gets, (paper, loudest(sign=-1)), "writes least"),
    (ch03.last_gets, (paper, at_all_positions), "take the last one only"),
    (ch03.last_gets, (paper, lambda m, t: loudest()(m, t) if t.numel() < 6 else (8, 5.702, 1.558)), "The head is 8"),
    (ch03.last_gets, (paper, lambda m, t: (-1, *loudest()(m, t)[1:])), "The head is -1, expected"),
    (ch03.last_gets, (paper, lambda m, t: loudest()(m, t)[:2]), "expected three numbers"),
    (ch03.last_gets, (paper, stub), "Now `writes_most`"),
    (ch03.last_gets, (paper, nothing), "is None"),
    (ch03.most_needed, needed(first=0), "leave position 0 out"),
    (ch03.most_needed, needed(last=0), "swap only those before it"),
    (ch03.most_needed, needed(sign=-1), "stands most in the way"),
    (ch03.most_needed, needed(pile=True), "put each token back"),
    (ch03.most_needed, needed(log=False), "difference of their logarithms"),
    (ch03.most_needed, needed(others=False), "leave the largest out"),
    (ch03.most_needed, lambda *given: needed()(*given)[:2], "expected three numbers"),
    (ch03.most_needed, nothing, "is None"),
    (ch03.arrives, (part(weight=lambda *_: 1.0), told_most()), "full attention"),
    (ch03.arrives, (part(weight=lambda p, h, d, s: p[0, 0, h, s, d]), told_most()), "query, then key"),
    (ch03.arrives, (part(weight=lambda p, h, d, s: p[0, 0, 0, d, s]), told_most()), "another head"),
    (ch03.arrives, (part(vector=lambda m, t, d, s: m.W_E[t[0, s]] + m.W_pos[s]), told_most()), "read positions"),
    (ch03.arrives, (part(vector=lambda m, t, d, s: m.W_E[t[0, d]]), told_most()), "the destination's value"),
    (ch03.arrives, (part(unembed=False), told_most()), "after W_U"),
    (ch03.arrives, (lambda *given: part()(*given) - part()(*given).mean(), told_most()), "took the mean over"),
    (ch03.arrives, (whole_head, told_most()), "all that the head adds"),
    (ch03.arrives, (wherever_the_token_stands, told_most()), "you took both"),
    (ch03.arrives, (lambda *given: 1.1 * part()(*given), told_most()), "What arrives is"),
    (ch03.arrives, (nothing, told_most()), "is None"),
    (ch03.arrives, (part(), told_most(first=1)), "The start token counts here"),
    (ch03.arrives, (part(), told_most(last=1)), "The last position counts"),
    (ch03.arrives, (part(), told_most(centred=0)), "These are the logits that arrive"),
    (ch03.arrives, (part(), told_most(centred=1)), "less their mean"),
    (ch03.arrives, (part(), told_most(alone=True)), "take it off all logits"),
    (ch03.arrives, (part(), told_most(heads=1)), "This is head 0 alone"),
    (ch03.arrives, (part(), told_most(log=False)), "difference of their logarithms"),
    (ch03.arrives, (part(), told_most(sign=-1)), "a fall is before, less after"),
    (ch03.arrives, (part(), told_most(others=False)), "leave the largest out"),
    (ch03.arrives, (part(), lambda *given: (0, *told_most()(*given)[1:])), "The source is 0, expected"),
    (ch03.arrives, (part(), lambda *given: (5, 4.25, 0.09)), "expected"),
    (ch03.arrives, (part(), lambda m, t, out: told_most()(m, t, out)[1:]), "expected three numbers"),
    (ch03.arrives, (part(), stub), "Now `most_from`"),
    (ch03.arrives, (lambda *given: part()(*given) + 1j, told_most()), "is complex"),
    (ch03.arrives, (part(), nothing), "is None"),
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


# --- right answers, by other ways and in other forms ---


def by_difference(model, tokens, head, destination, source):
    pattern = model.run_with_cache(tokens)[1].pattern[0, 0, head, destination].clone()
    values = model.W_E[tokens[0]] @ model.W_V[0, head] @ model.W_O[0, head] @ model.W_U
    whole = pattern @ values
    pattern[source] = 0
    return whole - pattern @ values


def by_zeroing(model, tokens, out):
    """The same with one column of every pattern set to zero, in the stream."""
    logits, cache = model.run_with_cache(tokens)
    values = model.W_E[tokens[0]] @ model.W_V[0] @ model.W_O[0]  # [head, source, d_model]
    falls = []
    for source in range(tokens.shape[1]):
        pattern = cache.pattern[0, 0, :, -1].clone()
        pattern[:, source] = 0
        stream = model.W_E[tokens[0, -1]] + (pattern[:, None] @ values).sum(0)[0]
        falls.append((logits[0, -1].log_softmax(0) - (stream @ model.W_U).log_softmax(0))[out].item())
    best = falls.index(max(falls))
    return best, falls[best], np.mean(falls[:best] + falls[best + 1 :])


def rotated(pos):
    """The same two heads with another basis inside."""
    R = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    return previous(pos).double(), A.T.double() @ R, R.T @ B.double(), 2 * B.T.double(), C.double() / 2


RIGHT = [
    (ch03.last_gets, (lambda: (1.5, 2.5), loudest())),
    (ch03.last_gets, (lambda: np.array([1.5, 2.5], dtype=np.float32), by_cache)),
    (ch03.last_gets, (lambda: [torch.tensor(1.5), torch.tensor(2.5)], lambda *given: torch.stack(loudest()(*given)))),
    (ch03.most_needed, needed()),
    (ch03.most_needed, lambda *given: [float(x) for x in needed()(*given)]),
    (ch03.best_source, largest()),
    (ch03.best_source, by_dots),
    (ch03.job_of, lambda pattern: a_shifted_diagonal(pattern, 7)),
    (ch03.arrives, (by_difference, told_most())),
    (ch03.arrives, (lambda *given: part()(*given).float().tolist(), by_zeroing)),
    (ch03.job_of, job()),
    (ch03.virtual_head, virtual()),
    (ch03.virtual_head, rotated),
    (ch03.virtual_head, lambda pos: [part.tolist() for part in virtual()(pos)]),
]


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch03, RIGHT, MISTAKES, 6)
