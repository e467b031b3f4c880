"""The checkers of chapter 4: what they say to plausible mistakes, and that right answers of other kinds pass."""

import math

import numpy as np
import torch
from checker_checks import same_tests

from course_utils.checkpoints import load_model
from course_utils.checks import ch04
from course_utils.circuits import frozen as frozen_run
from course_utils.circuits import ov_circuit, qk_circuit

# --- 4.1 ---


def outputs(scores, OV, tokens, pattern=lambda row: row.softmax(dim=0)):
    return pattern(scores[tokens[-1], tokens]) @ OV[tokens]


def without_the_last(scores, OV, tokens):
    return scores[tokens[-1], tokens[:-1]].softmax(dim=0) @ OV[tokens[:-1]]


def each_token_once(scores, OV, tokens):
    once = sorted(set(tokens))
    return scores[tokens[-1], once].softmax(dim=0) @ OV[once]


# --- 4.2 ---


def copied(model, tokens, k, more=0, count=False, placed=False, lowest=False):
    """The shares of copied tokens, with one mistake."""
    x = model.W_E[tokens] + placed * model.W_pos[: 1 + len(tokens)][-1]
    tables = x @ model.W_V[0] @ model.W_O[0] @ model.W_U  # [head, token, out]
    best = tables.topk(k + more, largest=not lowest).indices
    own = (best == tokens[:, None]).any(dim=-1).double()
    return own.sum(dim=1) if count else own.mean(dim=1)


def by_the_destination(model, tokens, k):
    tables = model.W_E @ model.W_V[0] @ model.W_O[0] @ model.W_U
    best = tables.mT[:, tokens].topk(k).indices
    return (best == tokens[:, None]).any(dim=-1).double().mean(dim=1)


def of_the_trained_order(model, tokens, k):
    """What a reader would type who copies the trained model's shares."""
    right = copied(model, tokens, k)
    return right if len(right) < 12 else copied(load_model("one-layer", "cpu"), tokens, k)


# --- 4.3 ---


def frozen(model, pattern, direct="diagonal", heads=True, placed=False):
    P = pattern.shape[-1]
    here = {"diagonal": torch.eye(P), "everywhere": torch.ones(P, P), "none": torch.zeros(P, P)}[direct].double()
    M = torch.einsum("qk,vw->qkvw", here, model.W_E @ model.W_U)
    if heads:
        tables = torch.stack([ov_circuit(model, 0, h).AB for h in range(model.cfg.n_heads)])
        M = M + torch.einsum("hqk,hvw->qkvw", pattern, tables)
    if placed:
        carried = model.W_pos[:P] @ model.W_V[0] @ model.W_O[0] @ model.W_U
        M = M + torch.einsum("hqk,hkw->qkw", pattern, carried)[:, :, None]
    return M


def rises_held(model, tokens, skip=1, flip=True, all_heads=False, rise=True):
    """Of each head, the rise of the loss with the other text's pattern and with none."""
    pattern, x = model.run_with_cache(tokens)[1].pattern, model.W_E[tokens]

    def loss(held):
        logits = (frozen_run(model, x, held) @ model.W_U)[:, skip:-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, skip + 1 :].flatten()).item()

    rises, before = [], loss(pattern) * rise
    for h in range(model.cfg.n_heads):
        heads = slice(None) if all_heads else slice(h, h + 1)
        borrowed, none = pattern.clone(), pattern.clone()
        borrowed[0, :, heads] = pattern[0, :, heads].flip(0) if flip else pattern[0, :, heads].roll(1, dims=1)
        none[0, :, heads] = 0
        rises.append((loss(borrowed) - before, loss(none) - before))
    return rises


def borrower(model, tokens, by=lambda borrowed, none: none - borrowed, **slips):
    rises = rises_held(model, tokens, **slips)
    head = max(range(len(rises)), key=lambda h: by(*rises[h]))
    return head, *rises[head]


def hard_coded(model, tokens):
    """The trained model's head, with numbers that are measured."""
    return borrower(model, tokens) if model.cfg.n_heads < 12 else (9, *rises_held(model, tokens)[9])


# --- 4.4 ---


def varied(
    model, tokens, scale=0.5, order=(0, 1, 2, 3), swap=False, later=False, zeros=False, first=1, fewer=0, root=True
):
    """How much the four terms vary, with one mistake."""
    reads, table = (model.W_E[tokens], model.W_pos[: len(tokens)]), []
    for Q, K in zip(model.W_Q[0], model.W_K[0], strict=True):
        Q, K = (K, Q) if swap else (Q, K)
        four = torch.stack([(q @ Q) @ (k @ K).T for q in reads for k in reads]) / model.cfg.d_head**scale
        four = four.tril() if zeros else four
        rows = [four[:, i, : None if later or zeros else i + 1] for i in range(first, len(tokens))]
        spread = torch.stack([row.var(dim=1, correction=fewer) for row in rows])
        table.append((spread.sqrt() if root else spread).mean(dim=0))
    return torch.stack(table)[:, list(order)]


# --- 4.5 ---


def value(model, head, a, b, c, qk_dim=1, ov_dim=1, scale=0.5, clamp=True):
    Q, K, V, O = (weight[0, head] for weight in (model.W_Q, model.W_K, model.W_V, model.W_O))  # noqa: E741
    qk, ov = (model.W_E @ Q) @ (model.W_E @ K).T, (model.W_E @ V) @ (O @ model.W_U)
    qk = qk if qk_dim is None else qk - qk.mean(dim=qk_dim, keepdim=True)
    ov = ov if ov_dim is None else ov - ov.mean(dim=ov_dim, keepdim=True)
    look, rise = qk[b, a] / model.cfg.d_head**scale, ov[a, c]
    return look.clamp(min=0) * rise.clamp(min=0) if clamp else (look * rise).clamp(min=0)


def strongest(model, sources, destination, out, both=lambda look, rise: look.clamp(min=0) * rise.clamp(min=0)):
    """The head, the source and the value; or what a slip takes for them."""
    heads = range(model.cfg.n_heads)
    qk = [qk_circuit(model, 0, h, centred=True).take([destination], sources).AB[0] for h in heads]
    ov = [ov_circuit(model, 0, h, centred=True).take(sources, [out]).AB[:, 0] for h in heads]
    table = both(torch.stack(qk) / model.cfg.d_head**0.5, torch.stack(ov))
    head, place = divmod(table.argmax().item(), len(sources))
    return head, sources[place], table.max().item()


def by_head(score):
    """The head of the largest score(value [head, source]), and its best source."""

    def answer(model, sources, destination, out):
        table = [[value(model, h, s, destination, out) for s in sources] for h in range(model.cfg.n_heads)]
        table = torch.tensor(table)
        head = score(table).argmax().item()
        return head, sources[table[head].argmax()], table[head].max().item()

    return answer


def by_source(model, sources, destination, out):
    """The source of the largest sum over the heads, and its best head."""
    table = [[value(model, h, s, destination, out) for s in sources] for h in range(model.cfg.n_heads)]
    table = torch.tensor(table)
    place = table.sum(dim=0).argmax().item()
    return table[:, place].argmax().item(), sources[place], table[:, place].max().item()


def in_its_place(model, sources, destination, out):
    head, source, value = strongest(model, sources, destination, out)
    return head, sources.index(source), value


def source_first(*given):
    head, source, value = strongest(*given)
    return source, head, value


def of_the_trained_heads(model, sources, destination, out):
    """What a reader would type who copies the trained model's heads."""
    trained = load_model("one-layer", "cpu")
    return strongest(trained if model.cfg.n_heads == 12 else model, sources, destination, out)


# --- 4.6 ---


def bugs(qk, ov, follows, weakest=min, positive=True):
    """All bugs, the worst last."""
    found = []
    for b1, c1 in follows.nonzero().tolist():
        for b2, c2 in follows.nonzero().tolist():
            if not follows[b1, c2] and not follows[b2, c1]:
                for a in range(len(ov)):
                    four = [(qk[b, a] * ov[a, c]).item() for b in (b1, b2) for c in (c1, c2)]
                    up = min(qk[b1, a], qk[b2, a], ov[a, c1], ov[a, c2]) > 0
                    if (up or not positive) and min(four) > 0:
                        found.append((weakest(four), (a, b1, c1, b2, c2)))
    return [bug for _, bug in sorted(found)]


def four(qk, ov, bug):
    a, b1, c1, b2, c2 = bug
    return qk[b1, a].item(), qk[b2, a].item(), ov[a, c1].item(), ov[a, c2].item()


def judged_by(value):
    """The bug for which another number than the smallest of the four values is largest."""

    def answer(qk, ov, follows):
        return max(bugs(qk, ov, follows), key=lambda bug: value(*four(qk, ov, bug)))

    return answer


def by_products_alone(qk, ov, follows):
    negative = [bug for bug in bugs(qk, ov, follows, positive=False) if qk[bug[1], bug[0]] < 0]
    return negative[-1] if negative else bugs(qk, ov, follows)[-1]


def swapped_pair(qk, ov, follows):
    a, b1, c1, b2, c2 = bugs(qk, ov, follows)[-1]
    return np.array([a, b2, c2, b1, c1])


def crossed(qk, ov, follows):
    a, b1, c1, b2, c2 = bugs(qk, ov, follows)[-1]
    return a, b1, c2, b2, c1


def real_square(qk, ov, follows):
    for b1, b2 in torch.cartesian_prod(torch.arange(6), torch.arange(6)).tolist():
        both = (follows[b1] & follows[b2]).nonzero().flatten().tolist()
        if b1 != b2 and len(both) > 1:
            return 0, b1, both[0], b2, both[1]


def nothing(*_):
    return None


def stub(*_):
    raise NotImplementedError


def right_matrix(answer):
    """The checker of exercise 3 on a right first half; the same for exercise 5."""
    return ch04.frozen_matrix(frozen, answer)


def right_value(answer):
    return ch04.trigram_value(value, answer)


SECOND = {ch04.frozen_matrix: borrower, ch04.trigram_value: strongest}


MISTAKES = [
    (ch04.from_tables, lambda *given: outputs(*given, pattern=lambda row: row), "No softmax"),
    (ch04.from_tables, lambda *given: outputs(*given, pattern=lambda row: 0 * row + 1 / len(row)), "same weight"),
    (ch04.from_tables, lambda scores, OV, tokens: outputs(scores.T, OV, tokens), "scores is read the wrong way"),
    (ch04.from_tables, lambda scores, OV, tokens: outputs(scores, OV.T, tokens), "OV is read the wrong way"),
    (ch04.from_tables, without_the_last, "may look at itself"),
    (ch04.from_tables, each_token_once, "one weight for each position"),
    (ch04.from_tables, lambda scores, OV, tokens: scores[tokens[-1]].softmax(dim=0) @ OV, "the whole vocabulary"),
    (ch04.from_tables, lambda scores, OV, tokens: scores[tokens[-1]].softmax(dim=0)[tokens] @ OV[tokens], "sum to 1"),
    (ch04.from_tables, nothing, "is None"),
    (ch04.copying, lambda *given: copied(*given, more=1), "outputs, not"),
    (ch04.copying, lambda model, tokens, k: copied(model, tokens, 1), "the very first output only"),
    (ch04.copying, lambda *given: copied(*given, count=True), "These are counts"),
    (ch04.copying, lambda *given: copied(*given, placed=True), "read a position"),
    (ch04.copying, lambda *given: copied(*given, lowest=True), "lowest outputs"),
    (ch04.copying, by_the_destination, "Among the 1 largest"),
    (ch04.copying, of_the_trained_order, "Among the 10 largest"),
    (ch04.copying, lambda *given: copied(*given)[:2], "one share a head"),
    (ch04.copying, nothing, "is None"),
    (ch04.frozen_matrix, lambda *given: frozen(*given, direct="none"), "direct path is missing"),
    (ch04.frozen_matrix, lambda *given: frozen(*given, direct="everywhere"), "its block is zero unless"),
    (ch04.frozen_matrix, lambda *given: frozen(*given, heads=False), "heads are missing"),
    (ch04.frozen_matrix, lambda *given: frozen(*given, placed=True), "Only queries and keys read them"),
    (ch04.frozen_matrix, lambda *given: frozen(*given).transpose(0, 1), "Query and key are swapped"),
    (ch04.frozen_matrix, lambda *given: frozen(*given).transpose(2, 3), "tables are transposed"),
    (ch04.frozen_matrix, lambda *given: frozen(*given)[0], "has shape [7, 11, 11]"),
    (right_matrix, stub, "That half is right"),
    (right_matrix, lambda *given: borrower(*given)[:2], "expected a head and two rises"),
    (right_matrix, lambda *given: borrower(*given, by=lambda borrowed, none: -borrowed), "is it needed"),
    (right_matrix, lambda *given: borrower(*given, by=lambda borrowed, none: borrowed), "Another has more between"),
    (right_matrix, lambda *given: borrower(*given, by=lambda borrowed, none: none), "Another has more between"),
    (right_matrix, lambda *given: (borrower(*given)[0], *borrower(*given)[:0:-1]), "The two are swapped"),
    (right_matrix, lambda *given: (borrower(*given)[0], *(-x for x in borrower(*given)[1:])), "the other way round"),
    (right_matrix, lambda *given: borrower(*given, skip=0), "position 0 counts"),
    (right_matrix, lambda *given: borrower(*given, all_heads=True), "All heads are changed at once"),
    (right_matrix, lambda *given: borrower(*given, rise=False), "the loss itself"),
    (right_matrix, lambda *given: (*borrower(*given)[:2], 0.5), "with none"),
    (right_matrix, lambda *given: borrower(*given, flip=False), "On a small model"),
    (right_matrix, lambda *given: (9, 0.05, 1.1), "its heads count from 0 to 2"),
    (right_matrix, lambda *given: (0, 0.05, 1.1), "On a small model"),
    (right_matrix, hard_coded, "On a model of ours"),
    (right_matrix, nothing, "What borrower returns is None"),
    (ch04.term_variation, lambda *given: varied(*given, scale=0), "√d_head is missing"),
    (ch04.term_variation, lambda *given: varied(*given, scale=1), "should be its square root"),
    (ch04.term_variation, lambda *given: varied(*given, order=(0, 2, 1, 3)), "query's side is named first"),
    (ch04.term_variation, lambda *given: varied(*given, swap=True), "have changed places"),
    (ch04.term_variation, lambda *given: varied(*given, later=True), "take only keys up to the query"),
    (ch04.term_variation, lambda *given: varied(*given, zeros=True), "count as zeros"),
    (ch04.term_variation, lambda *given: varied(*given, first=0), "is left out of the mean"),
    (ch04.term_variation, lambda *given: varied(*given, fewer=1), "less one"),
    (ch04.term_variation, lambda *given: varied(*given, root=False), "take its root"),
    (ch04.term_variation, lambda *given: varied(*given).flip(0), "An entry is"),
    (ch04.term_variation, lambda *given: varied(*given).sum(dim=1), "has shape [3], expected [3, 4]"),
    (ch04.trigram_value, lambda *given: value(*given, scale=0), "√d_head is missing"),
    (ch04.trigram_value, lambda *given: value(*given, scale=1), "should be its square root"),
    (ch04.trigram_value, lambda *given: value(*given, qk_dim=None), "QK entry is not centred"),
    (ch04.trigram_value, lambda *given: value(*given, ov_dim=None), "OV entry is not centred"),
    (ch04.trigram_value, lambda *given: value(*given, qk_dim=None, ov_dim=None), "Nothing is centred"),
    (ch04.trigram_value, lambda *given: value(*given, qk_dim=0), "centred over destinations"),
    (ch04.trigram_value, lambda *given: value(*given, ov_dim=0), "centred over sources"),
    (ch04.trigram_value, lambda *given: value(*given, clamp=False), "product of two negative"),
    (ch04.trigram_value, lambda m, h, a, b, c: value(m, h, b, a, c), "Source and destination are swapped"),
    (ch04.trigram_value, nothing, "is None"),
    (right_value, stub, "That half is right"),
    (right_value, lambda *given: strongest(*given)[:2], "expected a head, a source and the value"),
    (right_value, in_its_place, "not its place in the list"),
    (right_value, source_first, "The head comes first"),
    (right_value, by_head(lambda table: table.sum(dim=1)), "the largest sum over the sources"),
    (right_value, by_head(lambda table: (table > 0).sum(dim=1)), "On a small model"),
    (right_value, by_source, "On a small model"),
    (right_value, lambda *given: strongest(*given, both=lambda look, rise: look * rise), "both its factors"),
    (right_value, lambda *given: strongest(*given, both=lambda look, rise: look), "where the look is largest"),
    (right_value, lambda *given: strongest(*given, both=lambda look, rise: rise), "where the output rises most"),
    (right_value, lambda m, s, d, o: (0, s[0], value(m, 0, s[0], d, o).item()), "Go through all 3 heads"),
    (right_value, lambda *given: (*strongest(*given)[:2], 1.0), "the value of head"),
    (right_value, lambda m, s, d, o: strongest(m, s, o, d), "On a small model"),
    (right_value, of_the_trained_heads, "On a model of ours"),
    (right_value, nothing, "What strongest returns is None"),
    (ch04.find_bug, crossed, "never occurs: both"),
    (ch04.find_bug, real_square, "does occur, so it is no bug"),
    (ch04.find_bug, by_products_alone, "product of two negative"),
    (ch04.find_bug, lambda *given: bugs(*given)[0], "Look at the smallest of the four"),
    (ch04.find_bug, lambda *given: bugs(*given, weakest=max)[-1], "Look at the smallest of the four"),
    (ch04.find_bug, judged_by(lambda a, b, c, d: min(a * c, b * d)), "Look at the smallest"),
    (ch04.find_bug, judged_by(lambda a, b, c, d: min(a * d, b * c)), "Look at the smallest"),
    (ch04.find_bug, judged_by(lambda *four: math.prod(four)), "Look at the smallest"),
    (ch04.find_bug, judged_by(lambda *four: min(four)), "Look at the smallest"),
    (ch04.find_bug, judged_by(lambda *four: min(four[:2]) + min(four[2:])), "Look at the smallest"),
    (ch04.find_bug, lambda *given: bugs(*given)[-1][:4], "has 4 numbers, expected five"),
    (ch04.find_bug, lambda *given: (9, 0, 0, 1, 1), "out of range"),
    (ch04.find_bug, nothing, "is None"),
]  # fmt: skip


RIGHT = [
    (ch04.from_tables, lambda *given: outputs(*given).float()),
    (ch04.from_tables, lambda *given: outputs(*given).tolist()),
    (ch04.copying, copied),
    (ch04.copying, lambda *given: copied(*given).float().tolist()),
    (ch04.frozen_matrix, lambda *given: frozen(*given).float()),
    (ch04.term_variation, varied),
    (ch04.term_variation, lambda *given: varied(*given).float()),
    (ch04.trigram_value, lambda *given: value(*given).item()),
    (ch04.trigram_value, lambda *given: value(*given)[None].float()),
    (right_matrix, lambda *given: [torch.tensor(x) for x in borrower(*given)]),
    (right_value, lambda *given: torch.tensor(strongest(*given)).tolist()),
    (right_value, lambda *given: [torch.tensor(x) for x in strongest(*given)]),
    (ch04.find_bug, lambda *given: bugs(*given)[-1]),
    (ch04.find_bug, swapped_pair),
]


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch04, RIGHT, MISTAKES, 6, SECOND)
