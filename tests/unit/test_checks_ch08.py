"""The checkers of chapter 8: what they say to plausible mistakes, and right answers in other forms."""

import math

import torch
from checker_checks import same_tests

from course_utils.checks import ch08
from course_utils.circuits import W_OV, layer_output, path_expansion, through_head
from course_utils.interventions import run_without
from course_utils.losses import stream_loss
from course_utils.term_importance import streams_by_order

# --- right answers, as a reader might write them: each with one thing that can be wrong ---


def table(losses, n_heads, d_vocab, count=None, start=None, fall=None, per_term=None):
    n_layers, start = len(losses) - 1, math.log(d_vocab) if start is None else start(d_vocab)
    before, rows = [start, *losses], []
    for k, now in enumerate(losses):
        n = count(n_layers, n_heads, k) if count else math.comb(n_layers, k) * n_heads**k
        gained = fall(start, before[k], now) if fall else before[k] - now
        rows.append((n, gained, per_term(gained, n) if per_term else gained / n))
    return rows


def but(function, **wrong):
    return lambda *given: function(*given, **wrong)


def shares(loss, change):
    alone = loss["none"] - loss["0"], loss["none"] - loss["1"]
    beside = loss["1"] - loss["both"], loss["0"] - loss["both"]
    return change(torch.tensor(alone), torch.tensor(beside))


def step(
    model, tokens, pattern, written, embedding=True, up_to=lambda layer: layer, fresh=False, own=False, W_pos=False
):
    out, x = [], model.W_E[tokens]
    if own:
        pattern = model.run_with_cache(tokens)[1].pattern
    for layer in range(model.cfg.n_layers):
        read = x * embedding + sum((out if fresh else written)[: up_to(layer)])
        out.append(layer_output(model, read + (model.W_pos[: x.shape[1]] if W_pos else 0), pattern, layer))
    return out


def step_in_place(model, tokens, pattern, written):
    for layer in range(model.cfg.n_layers):
        written[layer].copy_(layer_output(model, model.W_E[tokens] + sum(written[:layer]), pattern, layer))
    return written


def step_that_returns_streams(model, tokens, pattern, written):
    right = step(model, tokens, pattern, written)
    return [model.W_E[tokens] + sum(written[:layer]) + x for layer, x in enumerate(right)]


def step_by_heads(model, tokens, pattern, written):
    """Right, by another route."""
    x, out = model.W_E[tokens], []
    for layer in range(model.cfg.n_layers):
        reads = x + sum(written[:layer])
        out.append(sum(through_head(model, reads, pattern[layer, :, h], layer, h) for h in range(model.cfg.n_heads)))
    return tuple(out)


def rise(model, tokens, layer, head, order=1, whole_head=False, sign=1, alone=False, skip=True, each=False):
    cache = model.run_with_cache(tokens)[1]
    stream = streams_by_order(model, tokens, cache.pattern)[order]
    term = through_head(model, model.W_E[tokens], cache.pattern[layer, :, head], layer, head)
    term = cache.head_out(layer, head) if whole_head else term

    def loss(x):
        if skip:
            return stream_loss(model, x, tokens)
        logits = (x[:, :-1] @ model.W_U).transpose(1, 2)
        return torch.nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none").mean(dim=1)

    if alone:
        return (loss(model.W_E[tokens]) - loss(model.W_E[tokens] + term)).mean()
    rises = sign * (loss(stream - term) - loss(stream))
    return rises if each else rises.mean()


def rise_of_a_real_ablation(model, tokens, layer, head):
    streams = [run_without(model, tokens, heads=out)[1].resid[-1] for out in ([(layer, head)], [])]
    return stream_loss(model, streams[0], tokens).mean() - stream_loss(model, streams[1], tokens).mean()


def rise_from_paths(model, tokens, layer, head):
    """Right, by another route."""
    pattern = model.run_with_cache(tokens)[1].pattern
    paths = {path: x for path, x in path_expansion(model, tokens, pattern) if len(path) < 2}
    with_it = sum(paths.values())
    without = sum(x for path, x in paths.items() if path != ((layer, head),))
    losses = [stream_loss(model, x, tokens).mean().item() for x in (without, with_it)]
    return losses[0] - losses[1]


def one_of_two(pattern, join):
    start = (pattern[..., 0] > 0.9999).all(dim=-1).all(dim=1)
    return join(start[0][:, None].expand(6, 6), start[1][None].expand(6, 6))


def composed(pattern, order="jq"):
    return torch.einsum("bjqp,bipk->ijbqk", pattern[1], pattern[0])[..., 0]


def product(pattern, first, second):
    return pattern[1, :, second] @ pattern[0, :, first]


def nothing(*_):
    return None


RIGHT = [
    (ch08.importance_table, table),
    (ch08.importance_table, lambda *given: torch.tensor(table(*given), dtype=torch.float64)),
    (ch08.fair_shares, lambda loss: shares(loss, lambda alone, beside: (alone + beside) / 2)),
    (ch08.fair_shares, lambda loss: shares(loss, lambda alone, beside: ((alone + beside) / 2).tolist())),
    (ch08.one_step, step),
    (ch08.one_step, step_by_heads),
    (ch08.one_step, lambda *given: torch.stack(step(*given))),
    (ch08.direct_term_rise, rise),
    (ch08.direct_term_rise, rise_from_paths),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, i, j), W_OV(m, 0, i) @ W_OV(m, 1, j))),
    (ch08.virtual_head, lambda m, p, i, j: [product(p, i, j), (W_OV(m, 0, i) @ W_OV(m, 1, j)).AB]),
    (ch08.same_everywhere, lambda p: (composed(p) > 0.9999).flatten(2).all(dim=2)),
    (ch08.same_everywhere, lambda p: ((composed(p) > 0.9999).flatten(2).all(dim=2)).int().tolist()),
]

# --- plausible mistakes: (checker, answer, what the message must say) ---

MISTAKES = [
    (ch08.importance_table, but(table, count=lambda n, heads, k: (n * heads) ** k), "different layers"),
    (ch08.importance_table, but(table, count=lambda n, heads, k: heads**k), "How many terms"),
    (ch08.importance_table, but(table, start=math.log2), "starts in bits"),
    (ch08.importance_table, but(table, start=lambda d_vocab: 0.0), "begins with the loss of the direct path"),
    (ch08.importance_table, but(table, fall=lambda start, _, now: start - now), "from the uniform guess each time"),
    (ch08.importance_table, but(table, fall=lambda start, before, now: now - before), "wrong sign"),
    (ch08.importance_table, but(table, per_term=lambda gained, n: gained), "per term"),
    (ch08.importance_table, lambda losses, *_: losses, "rows of three numbers"),
    (ch08.importance_table, lambda *given: table(*given)[1:], "has shape [2, 3], expected [3, 3]"),
    (ch08.importance_table, nothing, "None"),
    (ch08.fair_shares, but(shares, change=lambda alone, beside: alone), "gives alone"),
    (ch08.fair_shares, but(shares, change=lambda alone, beside: beside), "beside the other"),
    (ch08.fair_shares, but(shares, change=lambda alone, beside: alone + beside), "take the mean"),
    (ch08.fair_shares, but(shares, change=lambda alone, beside: -(alone + beside) / 2), "wrong sign"),
    (ch08.fair_shares, but(shares, change=lambda alone, beside: (alone + beside).flip(0) / 2), "swapped"),
    (ch08.fair_shares, but(shares, change=lambda a, b: (a + b) / (a + b).sum()), "leave them in nats"),
    (ch08.fair_shares, but(shares, change=lambda a, b: (a + b).mean() / 2 * torch.ones(2)), "a share is"),
    (ch08.fair_shares, but(shares, change=lambda a, b: torch.stack([a[0], b[0]])), "the shares sum to"),
    (ch08.fair_shares, nothing, "None"),
    (ch08.one_step, but(step, fresh=True), "in this very step"),
    (ch08.one_step, but(step, up_to=lambda layer: layer + 1), "its own output"),
    (ch08.one_step, but(step, up_to=lambda layer: None), "what it and later layers wrote"),
    (ch08.one_step, but(step, up_to=lambda layer: 0), "What layer 1 writes is"),
    (ch08.one_step, but(step, embedding=0), "The embedding is missing"),
    (ch08.one_step, but(step, own=True), "the model's own patterns"),
    (ch08.one_step, but(step, W_pos=True), "You add W_pos"),
    (ch08.one_step, step_in_place, "You changed `written`"),
    (ch08.one_step, step_that_returns_streams, "only what the layer adds"),
    (ch08.one_step, lambda *given: sum(step(*given)), "what layer 0 writes has shape"),
    (ch08.one_step, lambda *given: step(*given)[:2], "what each of the 3 layers writes"),
    (ch08.direct_term_rise, but(rise, order=2), "beside the virtual heads"),
    (ch08.direct_term_rise, but(rise, whole_head=True), "the head's whole output"),
    (ch08.direct_term_rise, but(rise, sign=-1), "is a fall"),
    (ch08.direct_term_rise, but(rise, alone=True), "gives alone"),
    (ch08.direct_term_rise, but(rise, skip=False), "position 0"),
    (ch08.direct_term_rise, but(rise, each=True), "Return one number"),
    (ch08.direct_term_rise, rise_of_a_real_ablation, "a real ablation"),
    (ch08.direct_term_rise, lambda m, tokens, layer, head: rise(m, tokens, layer, head - 1), "The rise for head"),
    (ch08.virtual_head, lambda m, p, i, j: (p[0, :, i] @ p[1, :, j], W_OV(m, 0, i) @ W_OV(m, 1, j)), "A² A¹"),
    (ch08.virtual_head, lambda m, p, i, j: (p[0, :, i] * p[1, :, j], W_OV(m, 0, i) @ W_OV(m, 1, j)), "entry by entry"),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, j, i), W_OV(m, 0, i) @ W_OV(m, 1, j)), "The heads are swapped"),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, i, j), W_OV(m, 1, j) @ W_OV(m, 0, i)), "the paper's order"),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, i, j), W_OV(m, 0, j) @ W_OV(m, 1, i)), "heads swapped"),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, i, j), (W_OV(m, 0, i) @ W_OV(m, 1, j)).T), "transpose"),
    (ch08.virtual_head, lambda m, p, i, j: (product(p, i, j), W_OV(m, 1, j)), "The matrix is"),
    (ch08.virtual_head, lambda m, p, i, j: (p[1, :, j], W_OV(m, 0, i) @ W_OV(m, 1, j)), "The pattern is"),
    (ch08.virtual_head, lambda m, p, i, j: product(p, i, j), "Return two things"),
    (ch08.same_everywhere, lambda p: one_of_two(p, lambda a, b: a), "But a later head"),
    (ch08.same_everywhere, lambda p: one_of_two(p, lambda a, b: b), "But after an earlier head"),
    (ch08.same_everywhere, lambda p: one_of_two(p, torch.logical_and), "one is enough"),
    (ch08.same_everywhere, lambda p: one_of_two(p, torch.logical_or), "Look at the product"),
    (ch08.same_everywhere, lambda p: (composed(p) > 0.9999).flatten(2).all(dim=2).T, "transpose"),
    (ch08.same_everywhere, lambda p: (composed(p)[:, :, 0] > 0.9999).all(dim=2), "first context only"),
    (ch08.same_everywhere, lambda p: (composed(p)[..., -1] > 0.9999).all(dim=2), "last position only"),
    (ch08.same_everywhere, lambda p: composed(p).flatten(2).mean(dim=2) > 0.9, "is True, expected False"),
    (ch08.same_everywhere, lambda p: composed(p).flatten(2).mean(dim=2), "True and False"),
    (ch08.same_everywhere, lambda p: torch.ones(6, 6), "is True, expected False"),
    (ch08.same_everywhere, lambda p: composed(p) > 0.9999, "has shape"),
    (ch08.same_everywhere, nothing, "None"),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch08, RIGHT, MISTAKES, 6)
