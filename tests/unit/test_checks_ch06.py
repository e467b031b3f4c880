"""The checkers of chapter 6: what they say to plausible mistakes, and that they take right answers of other forms."""

import copy

import numpy as np
import torch
from checker_checks import same_tests

from course_utils.checks import ch06
from course_utils.circuits import (
    W_OV,
    W_QK,
    composition,
    composition_baseline,
    composition_scores,
    score_terms,
    stream_parts,
)
from course_utils.interventions import pattern_without, run_without

# --- plausible mistakes: (checker, answer, what the message must say) ---


def fit(A, B, norm=torch.linalg.matrix_norm):
    return norm(A @ B) / (norm(A) * norm(B))


def measured(**wrong):
    """The right three measures but for those given."""

    def answer(OV1, QK2, OV2):
        right = {"Q": fit(OV1, QK2), "K": fit(QK2, OV1.T), "V": fit(OV1, OV2)}
        return right | {kind: other(OV1, QK2, OV2) for kind, other in wrong.items()}

    return answer


def drawn(head, of=fit, spread=lambda values: values.std(), second=None):
    """All draws at once: the chapter's solution draws them one by one."""

    def answer(d_model, d_head, draws):
        A = head(draws, d_model, d_head)
        values = of(A, head(draws, d_model, d_head) if second is None else second(A))
        return values.mean(), spread(values)

    return answer


def low_rank(draws, d_model, d_head):
    return torch.randn(draws, d_model, d_head) @ torch.randn(draws, d_head, d_model)


def table(scale=lambda cfg: cfg.d_head**-0.5, layer=1, swap=False, position=True, together=False, order=None, at=0):
    def answer(model, tokens, head, query, key):
        _, cache = model.run_with_cache(tokens)

        def parts(pos):
            heads = [cache.head_out(0, h)[0, pos] for h in range(model.cfg.n_heads)]
            token, place = cache.resid[0][0, pos], model.W_pos[pos] * position
            rows = [token + place, *heads] if together else [token, place, *heads]
            return torch.stack(rows if order is None else [rows[i] for i in order])

        query, key = (key, query) if swap else (query, key + at)
        q, k = parts(query) @ model.W_Q[layer, head], parts(key) @ model.W_K[layer, head]
        return q @ k.T * scale(model.cfg)

    return answer


def cut(side_of=lambda side: side, position=True, both=False, everywhere=False, nothing=False, mask=True, root=True):
    def answer(model, tokens, earlier, later, side):
        if everywhere:
            return run_without(model, tokens, heads=[(0, earlier)])[1].pattern[0, :, later]
        _, cache = model.run_with_cache(tokens)
        whole = cache.resid[1] + model.W_pos[: tokens.shape[1]] * position
        less = whole if nothing else whole - cache.head_out(0, earlier)
        side = side_of(side)
        q = (less if both or side == "Q" else whole) @ model.W_Q[1, later]
        k = (less if both or side == "K" else whole) @ model.W_K[1, later]
        scores = q @ k.mT / (model.cfg.d_head**0.5 if root else 1)
        future = torch.ones_like(scores[0]).triu(1).bool()
        return (scores.masked_fill(future, -torch.inf) if mask else scores).softmax(dim=-1)

    return answer


def found(score, fix=lambda earlier, later, kind: (earlier, later, kind)):
    """The pair and kind of the largest `score`(OV1, QK2, OV2)[kind]."""

    def answer(model):
        best, heads = {}, range(model.cfg.n_heads)
        for i in heads:
            for j in heads:
                OV1, OV2 = (model.W_V[at, h] @ model.W_O[at, h] for at, h in ((0, i), (1, j)))
                for kind, value in score(OV1, model.W_Q[1, j] @ model.W_K[1, j].T, OV2).items():
                    best[i, j, kind] = value
        return fix(*max(best, key=best.get))

    return answer


def unnormalised(OV1, QK2, OV2):
    return {"Q": (OV1 @ QK2).norm(), "K": (QK2 @ OV1.T).norm(), "V": (OV1 @ OV2).norm()}


def Q_and_K_exchanged(OV1, QK2, OV2):
    return {"Q": fit(OV1, QK2.T), "K": fit(OV1, QK2), "V": fit(OV1, OV2)}


def K_as_it_stands(OV1, QK2, OV2):
    return {"Q": fit(OV1, QK2), "K": fit(QK2, OV1), "V": fit(OV1, OV2)}


def V_reversed(OV1, QK2, OV2):
    return {"Q": fit(OV1, QK2), "K": fit(QK2, OV1.T), "V": fit(OV2, OV1)}


def one_norm(OV1, QK2, OV2):
    return {kind: (A @ B).norm() / A.norm() for kind, A, B in (("Q", OV1, QK2), ("K", OV1, QK2.T), ("V", OV1, OV2))}


def literal(OV1, QK2, OV2):
    return {"Q": fit(QK2.T, OV1), "K": fit(QK2, OV1), "V": fit(OV2, OV1)}


def nothing(*_):
    return None


def two_back(model, tokens, back=2, swap=False, first=0, flip=False, texts_first=False):
    pattern, found = model.run_with_cache(tokens)[1].pattern, {}
    pattern = pattern.mean(dim=1, keepdim=True) if texts_first else pattern
    for i in range(model.cfg.n_heads):
        for j in range(model.cfg.n_heads):
            A1, A2 = pattern[0, :, i], pattern[1, :, j]
            product = A1 @ A2 if swap else A2 @ A1
            found[(j, i) if flip else (i, j)] = product.diagonal(-back, 1, 2)[:, first:].mean().item()
    return max(found.items(), key=lambda item: item[1])


def two_means(model, tokens):
    """How much each of two heads looks one back, multiplied."""
    first, then = model.run_with_cache(tokens)[1].pattern.diagonal(-1, -2, -1).mean(dim=(1, 3))
    table = first[:, None] * then
    return divmod(table.argmax().item(), len(first)), table.max()


def who_is_read(model, tokens, head, query, key, last=1, token=True, centred=True, share=True, shift=0, by=None):
    _, cache = model.run_with_cache(tokens)
    keys = range(len(tokens[0])) if last is None else range(query + last)
    tables = [table()(model, tokens, head, query, k) for k in keys]
    above = tables[key] - torch.stack(tables).mean(dim=0) * centred
    row = above[0] if token else above.sum(dim=0)
    best = (row[2:].abs() if by == "size" else row[2:]).argmax().item()
    whole = {"row": row.sum(), "sizes": above.abs().sum(), "raw": tables[key].sum()}.get(
        by, above.sum() if share else 1
    )
    return best + shift, (row[2 + best] / whole).item()


def spared_least(model, tokens, later, sides="QK", nats=None, best=max):
    before, found = model.run_with_cache(tokens)[1].pattern[1, :, later], {}
    for earlier in range(model.cfg.n_heads):
        for side in sides:
            after = cut()(model, tokens, earlier, later, side)
            if nats is None:
                found[earlier, side] = (before.xlogy(before) - before.xlogy(after)).sum(dim=-1).mean().item()
            else:
                found[earlier, side] = nats(before, after).item()
    return best(found.items(), key=lambda item: item[1])


def other_way(before, after):
    return (after.xlogy(after) - after.xlogy(before)).sum(dim=-1).mean()


def with_zeros(before, after):
    return (before * (before / after).log()).sum(dim=-1).mean()


def rounded(before, after):
    return (before.xlogy(before) - before.xlogy(torch.where(after < 0.2, 0, after))).sum(dim=-1).mean()


def over_keys_too(before, after):
    return (before.xlogy(before) - before.xlogy(after)).mean()


def in_all(before, after):
    return (before.xlogy(before) - before.xlogy(after)).sum()


def right_head(answer):
    """The checker of exercise 1 on a right first half; the same for exercises 4 and 5."""
    return ch06.virtual_head(lambda A1, V1, A2, V2: (A2 @ A1, V1 @ V2), answer)


def keeps_apart(model, best=min, spreads=lambda mean, spread, value: (mean - value) / spread, flip=False, kinds="QKV"):
    scores = composition_scores(model)
    found = {(i, j, kind): scores[kind][i, j].item() for kind in kinds for i, j in np.ndindex(*scores[kind].shape)}
    (i, j, kind), value = best(found.items(), key=lambda item: item[1])
    mean, spread = drawn(low_rank)(model.cfg.d_model, model.cfg.d_head, 200)
    return ((j, i, kind) if flip else (i, j, kind)), spreads(mean, spread, value)


def in_other_sizes(model):
    pair, _ = keeps_apart(model)
    mean, spread = drawn(low_rank)(48, 4, 200)
    return pair, (mean - composition_scores(model)[pair[2]][pair[:2]]) / spread


def quietest(model):
    """The pair whose products are smallest, no norm divided out."""
    pair = found(lambda *three: {kind: -norm for kind, norm in unnormalised(*three).items()})(model)
    return pair, keeps_apart(model)[1]


def by_factors(model, of=lambda W_V, W_O: W_O, partner=False):
    """The pair of least overlap between W_O and what reads it, without what stands beyond them or on one side only."""
    fits = {}
    for i, j in np.ndindex(model.cfg.n_heads, model.cfg.n_heads):
        written = of(model.W_V[0, i], model.W_O[0, i])
        Q, K, V, O2 = model.W_Q[1, j], model.W_K[1, j], model.W_V[1, j], model.W_O[1, j]
        reads = {"Q": Q @ K.T, "K": K @ Q.T, "V": V @ O2} if partner else {"Q": Q, "K": K, "V": V}
        fits |= {(i, j, kind): fit(written, read) for kind, read in reads.items()}
    return min(fits, key=fits.get), keeps_apart(model)[1]


def right_baseline(answer):
    return ch06.baseline(drawn(low_rank), answer)


def right_table(answer):
    return ch06.score_table(table(), answer)


def right_cut(answer):
    return ch06.pattern_with_cut(cut(), answer)


SECOND = {
    ch06.virtual_head: two_back,
    ch06.baseline: keeps_apart,
    ch06.score_table: who_is_read,
    ch06.pattern_with_cut: spared_least,
}


def stub(*_):
    raise NotImplementedError


def copied(answer, found):
    """What was found in the trained model, said of every other of its size too."""
    return lambda model, *given: found if model.cfg.n_heads == 12 else answer(model, *given)


def seeded(d_model, d_head, draws):
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.randn(2000, d_model, d_head, generator=generator) for _ in "AB")
    C, D = (torch.randn(2000, d_head, d_model, generator=generator) for _ in "CD")
    values = fit(A @ C, B @ D)
    return values.mean(), values.std()


def spread_of_48(d_model, d_head, draws):
    """The mean of the sizes given, the spread of others."""
    return drawn(low_rank)(d_model, d_head, draws)[0], drawn(low_rank)(48, 4, draws)[1]


def all_draws(d_model, d_head, draws):
    return drawn(low_rank)(d_model, d_head, 600)


right_measure = measured()


def of_four_heads(model):
    fits = {}
    for i, j in np.ndindex(4, 4):
        V1, V2 = (W_OV(model, layer, head).AB for layer, head in ((0, i), (1, j)))
        fits |= {(i, j, kind): fit for kind, fit in right_measure(V1, W_QK(model, 1, j).AB, V2).items()}
    return max(fits, key=fits.get)


def by_composition_scores(model):
    scores = composition_scores(model)
    kind = max(scores, key=lambda kind: scores[kind].max())
    return [*divmod(scores[kind].argmax().item(), model.cfg.n_heads), kind]


MISTAKES = [
    (ch06.virtual_head, lambda A1, V1, A2, V2: (A1 @ A2, V1 @ V2), "The pattern is A1 @ A2"),
    (ch06.virtual_head, lambda A1, V1, A2, V2: (A2 @ A1, V2 @ V1), "the paper's order"),
    (ch06.virtual_head, lambda A1, V1, A2, V2: (A1 * A2, V1 @ V2), "cell by cell"),
    (ch06.virtual_head, lambda A1, V1, A2, V2: (A2 @ A1, V1 + V2), "The OV matrix is a sum"),
    (ch06.virtual_head, lambda A1, V1, A2, V2: (2 * A2 @ A1, V1 @ V2 / 2), "The sum of a row"),
    (ch06.virtual_head, lambda A1, V1, A2, V2: (A2 @ A1, (V1 @ V2).T), "writes is"),
    (ch06.virtual_head, nothing, "Return two matrices"),
    (ch06.measure, measured(Q=lambda V1, Q2, V2: fit(Q2.T, V1)), "the paper's letters"),
    (ch06.measure, measured(Q=lambda V1, Q2, V2: fit(V1, Q2.T)), "this is the keys"),
    (ch06.measure, measured(K=lambda V1, Q2, V2: fit(Q2, V1)), "OV1 must be transposed"),
    (ch06.measure, measured(K=lambda V1, Q2, V2: fit(V1, Q2)), "this is the queries"),
    (ch06.measure, measured(V=lambda V1, Q2, V2: fit(V2, V1)), "OV1 stands first"),
    (ch06.measure, measured(V=lambda V1, Q2, V2: (V1 @ V2).norm()), "divide by both norms"),
    (ch06.measure, measured(V=lambda V1, Q2, V2: (V1 @ V2).norm() / V1.norm()), "one of the two norms"),
    (ch06.measure, measured(Q=lambda V1, Q2, V2: fit(V1, Q2) ** 2), "take the square root"),
    (ch06.measure, measured(K=lambda V1, Q2, V2: fit(Q2, V1.T, lambda M: torch.linalg.matrix_norm(M, 2))), "spectral"),
    (ch06.measure, measured(V=lambda V1, Q2, V2: (V1 @ V2).trace() / V1.norm() / V2.norm()), "the trace"),
    (ch06.measure, measured(V=lambda V1, Q2, V2: V1 @ V2), "expected one number"),
    (ch06.measure, lambda V1, Q2, V2: [1, 2, 3], "expected a dict"),
    (ch06.baseline, drawn(lambda n, d, r: torch.randn(n, d, d)), "The ranks matter"),
    (ch06.baseline, drawn(low_rank, of=lambda A, B: torch.linalg.matrix_norm(A @ B)), "Divide by both norms"),
    (ch06.baseline, drawn(low_rank, of=lambda A, B: fit(A, B) ** 2), "take the square root"),
    (ch06.baseline, drawn(low_rank, spread=lambda values: values.var()), "this is the variance"),
    (ch06.baseline, drawn(low_rank, spread=lambda values: values.std() / len(values) ** 0.5), "standard error"),
    (ch06.baseline, drawn(low_rank, second=lambda A: A.mT), "drawn independently"),
    (ch06.baseline, drawn(lambda n, d, r: low_rank(n, r, d)), "about 1/√d_head"),
    (ch06.baseline, lambda d, r, draws: drawn(low_rank)(48, 4, draws), "use the sizes"),
    (ch06.baseline, lambda d, r, draws: (d**-0.5, 0.0), "The"),
    (ch06.baseline, drawn(low_rank, second=lambda A: A), "composed with itself"),
    (ch06.baseline, spread_of_48, "With d_model = 12 and d_head = 3 the standard deviation"),
    (ch06.baseline, seeded, "all are the same. Draw new heads"),
    (ch06.baseline, all_draws, "is the mean over `draws` pairs"),
    (right_head, stub, "That half is right"),
    (right_head, lambda m, t: two_back(m, t, back=1), "looks two back more"),
    (right_head, lambda m, t: (two_back(m, t)[0], two_back(m, t, first=1)[1]), "From query 2 on"),
    (right_head, lambda m, t: two_back(m, t, flip=True), "the earlier head comes first"),
    (right_head, lambda m, t: two_back(m, t, swap=True), "That is of A1 @ A2"),
    (right_head, lambda m, t: two_back(m, t)[0], "expected (earlier, later), mean"),
    (right_head, lambda m, t: two_back(m, t, texts_first=True), "a mean of patterns is another pattern"),
    (right_head, two_means, "a product of two means"),
    (right_head, lambda m, t: (two_back(m, t)[0], 0.5), "the right pair, but its mean"),
    (right_head, lambda m, t: (("0.8", "1.8"), 0.5), "A head of the pair should be numbers"),
    (right_baseline, stub, "That half is right"),
    (right_baseline, lambda m: keeps_apart(m, best=max), "asked is the least"),
    (right_baseline, lambda m: keeps_apart(m, spreads=lambda mean, spread, x: (x - mean) / spread), "Below is above 0"),
    (right_baseline, lambda m: keeps_apart(m, spreads=lambda mean, spread, x: mean - x), "Divide the distance"),
    (right_baseline, lambda m: keeps_apart(m, spreads=lambda mean, spread, x: 1 - x / mean), "not by the mean"),
    (right_baseline, lambda m: keeps_apart(m, spreads=lambda mean, sd, x: 14 * (mean - x) / sd), "standard error"),
    (right_baseline, lambda m: keeps_apart(m, flip=True), "The other way round"),
    (right_baseline, lambda m: keeps_apart(m, kinds="V"), "All three kinds"),
    (right_baseline, lambda m: keeps_apart(m)[0], "expected (earlier, later, kind) and a number"),
    (right_baseline, lambda m: (("0.1", 2, "V"), 3.0), "The earlier head should be numbers"),
    (right_baseline, lambda m: ((11, 7, "V"), 22.0), "expected two heads"),
    (right_baseline, copied(keeps_apart, ((11, 7, "V"), 22.0)), "On a model of ours"),
    (right_baseline, quietest, "All three kinds"),
    (right_baseline, by_factors, "On a small model"),
    (right_baseline, lambda m: by_factors(m, of=lambda W_V, W_O: W_V @ W_O), "On a small model"),
    (right_baseline, lambda m: by_factors(m, partner=True), "On a small model"),
    (right_baseline, in_other_sizes, "of this model's sizes"),
    (right_table, stub, "That half is right"),
    (right_table, lambda *given: who_is_read(*given, last=None), "mean over all keys"),
    (right_table, lambda *given: who_is_read(*given, last=0), "look at itself too"),
    (right_table, lambda *given: who_is_read(*given, centred=False), "is not taken off"),
    (right_table, lambda *given: who_is_read(*given, share=False), "not a share"),
    (right_table, lambda *given: who_is_read(*given, token=False), "The query's side is its token"),
    (right_table, lambda *given: who_is_read(*given, shift=2), "count heads from 0"),
    (right_table, lambda *given: who_is_read(*given, by="row"), "the sum of the row of the query's token"),
    (right_table, lambda *given: who_is_read(*given, by="sizes"), "they partly cancel"),
    (right_table, lambda *given: who_is_read(*given, by="raw"), "take its mean over the keys off, too"),
    (right_table, lambda *given: who_is_read(*given, by="size"), "the largest term by size, and it lowers the score"),
    (right_table, lambda *given: (who_is_read(*given)[0], 7.0), "the right head"),
    (right_table, lambda *given: ("0.1", 0.5), "The head should be numbers"),
    (right_table, nothing, "is None"),
    (right_cut, stub, "That half is right"),
    (right_cut, lambda *given: spared_least(*given, sides="Q"), "it is ("),
    (right_cut, lambda *given: spared_least(*given, best=min), "it is ("),
    (right_cut, lambda *given: spared_least(*given, nats=other_way), "the other way"),
    (right_cut, lambda *given: spared_least(*given, nats=in_all), "not the sum"),
    (right_cut, lambda *given: spared_least(*given, nats=with_zeros), "0 times the logarithm of 0"),
    (right_cut, lambda *given: spared_least(*given, nats=rounded), "or one that rounded"),
    (right_cut, lambda *given: spared_least(*given, nats=over_keys_too), "over texts and queries only"),
    (right_cut, lambda *given: (("Q", 0), 0.5), "the head first"),
    (right_cut, lambda *given: (("0.1", "Q"), 0.5), "The earlier head should be numbers"),
    (right_cut, copied(spared_least, ((8, "K"), 1.0)), "On the trained model"),
    (right_cut, lambda *given: 3, "expected (earlier, side) and nats"),
    (ch06.score_table, table(scale=lambda cfg: 1), "not divided by √d_head"),
    (ch06.score_table, table(scale=lambda cfg: 1 / cfg.d_head), "divided by d_head"),
    (ch06.score_table, table(scale=lambda cfg: cfg.d_model**-0.5), "divided by √d_model"),
    (ch06.score_table, table(layer=0), "weights of layer 0"),
    (ch06.score_table, table(swap=True), "have changed places"),
    (ch06.score_table, table(position=False), "position is empty"),
    (ch06.score_table, table(together=True), "rows and columns, expected 5"),
    (ch06.score_table, table(order=[1, 0, 2, 3, 4]), "Position comes second"),
    (ch06.score_table, table(order=[0, 1, 4, 3, 2]), "The sum is right"),
    (ch06.score_table, table(at=1), "taken at its own position"),
    (ch06.score_table, lambda *given: table()(*given).T, "it is the transpose"),
    (ch06.score_table, nothing, "The table is None"),
    (ch06.pattern_with_cut, cut(side_of=lambda side: "QK"[side == "Q"]), "The other side was cut"),
    (ch06.pattern_with_cut, cut(both=True), "both cut"),
    (ch06.pattern_with_cut, cut(nothing=True), "Nothing was cut"),
    (ch06.pattern_with_cut, cut(position=False), "Positions are missing"),
    (ch06.pattern_with_cut, cut(mask=False), "The mask is missing"),
    (ch06.pattern_with_cut, cut(root=False), "not divided by √d_head"),
    (ch06.pattern_with_cut, cut(everywhere=True), "The pattern for side 'Q' is"),
    (ch06.pattern_with_cut, lambda m, t, e, n, s: cut()(m, t, e, n, "Q"), "Side 'K': The other side"),
    (ch06.pattern_with_cut, lambda m, t, e, n, s: cut()(m, t, n, e, s), "Take what the earlier head wrote off"),
    (ch06.pattern_with_cut, lambda m, t, e, n, s: cut()(m, t, n, n, s), "Another head's output"),
    (ch06.pattern_with_cut, lambda m, t, e, n, s: cut()(m, t, e, n, s)[0], "has shape [7, 7]"),
    (ch06.planted_pair, by_composition_scores, "`composition_scores` found it"),
    (ch06.planted_pair, lambda model: by_composition_scores(copy.deepcopy(model)), "`composition_scores` found it"),
    (ch06.planted_pair, lambda model: by_composition_scores(copy.deepcopy(model).float()), "scores` found it"),
    (ch06.planted_pair, found(unnormalised), "no norm or only one was divided out"),
    (ch06.planted_pair, found(Q_and_K_exchanged), "the right pair, but it composes by K"),
    (ch06.planted_pair, found(literal), "taken literally"),
    (ch06.planted_pair, found(right_measure, lambda i, j, kind: (j, i, kind)), "in the other order"),
    (ch06.planted_pair, found(right_measure, lambda i, j, kind: (i, j, "K")), "the right pair, but it composes by Q"),
    (ch06.planted_pair, found(K_as_it_stands), "the paper's product for K gives if it is taken literally"),
    (ch06.planted_pair, found(V_reversed), "the paper's product for V gives if it is taken literally"),
    (ch06.planted_pair, found(one_norm), "or only one was divided out"),
    (ch06.planted_pair, lambda model: ("0.3", "1.1", "Q"), "The earlier head should be numbers"),
    (ch06.planted_pair, lambda model: (0, 2), "Return three things"),
    (ch06.planted_pair, copied(found(right_measure), (7, 8, "K")), "On a model of ours"),
    (ch06.planted_pair, of_four_heads, "Does your search see all heads"),
]  # fmt: skip


# --- right answers of another form ---


def by_numpy(d_model, d_head, draws):
    import numpy as np

    generator = np.random.default_rng()
    A, B = (generator.normal(size=(draws, d_model, d_head)) for _ in "AB")
    C, D = (generator.normal(size=(draws, d_head, d_model)) for _ in "CD")
    first, then = A @ C, B @ D
    sizes = [np.sqrt(np.square(M).sum((1, 2))) for M in (first @ then, first, then)]
    values = sizes[0] / sizes[1] / sizes[2]
    return [float(values.mean()), float(values.std())]


def by_score_terms(model, tokens, head, query, key):
    parts = stream_parts(model, model.run_with_cache(tokens)[1], 1)
    return score_terms(model, parts, 1, head)[:, :, 0, query, key].tolist()


def by_interventions(model, tokens, earlier, later, side):
    return pattern_without(model, model.run_with_cache(tokens)[1], (1, later), [(0, earlier)], side)


def by_composition(model):
    """All pairs of a kind at once, by the course's measure of two matrices."""
    first, QK, OV = W_OV(model, 0)[:, None], W_QK(model, 1)[None], W_OV(model, 1)[None]
    scores = {
        kind: composition(*pair) for kind, pair in {"Q": (first, QK), "K": (QK, first.T), "V": (first, OV)}.items()
    }
    kind = max(scores, key=lambda kind: scores[kind].max())
    return [*divmod(scores[kind].argmax().item(), model.cfg.n_heads), kind]


def less_strangers(model):
    """What strangers score is the same for all pairs; taking it off changes nothing."""
    strangers, _ = composition_baseline(model)
    return found(lambda *parts: {kind: fit - strangers for kind, fit in right_measure(*parts).items()})(model)


RIGHT = [
    (ch06.virtual_head, lambda A1, V1, A2, V2: [(A2 @ A1).tolist(), (V1 @ V2).tolist()]),
    (right_head, two_back),
    (right_head, lambda m, t: [list(two_back(m, t)[0]), torch.tensor(two_back(m, t)[1])]),
    (right_baseline, keeps_apart),
    (right_baseline, lambda m: [list(keeps_apart(m)[0]), keeps_apart(m)[1].item()]),
    (right_table, who_is_read),
    (right_cut, spared_least),
    (ch06.measure, lambda V1, Q2, V2: {"V": fit(V2.T, V1.T).item(), "K": fit(V1, Q2.T), "Q": fit(Q2.T, V1.T)}),
    (ch06.baseline, by_numpy),
    (ch06.baseline, drawn(low_rank)),
    (ch06.score_table, by_score_terms),
    (ch06.score_table, table()),
    (ch06.pattern_with_cut, by_interventions),
    (ch06.pattern_with_cut, lambda m, t, e, n, s: run_without(m, t, paths=[((0, e), (1, n), s)])[1].pattern[1, :, n]),
    (ch06.planted_pair, by_composition),
    (ch06.planted_pair, less_strangers),
    (ch06.planted_pair, found(right_measure)),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch06, RIGHT, MISTAKES, 6, SECOND)
