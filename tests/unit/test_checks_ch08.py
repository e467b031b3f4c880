"""The checkers of chapter 8: what they say to plausible mistakes, and right answers in other forms."""

import math

import torch
from checker_checks import same_tests

from course_utils.checkpoints import load_model
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


def loss_from_0(model, x, tokens):
    """With the prediction made at position 0, which should be left out."""
    logits = (x[:, :-1] @ model.W_U).transpose(1, 2)
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none").mean(dim=1)


def shares(model, tokens, change=lambda first, second: (first + second) / 2, order=1, loss=stream_loss):
    direct, *terms = streams_by_order(model, tokens, model.run_with_cache(tokens)[1].pattern)
    single = terms[order - 1]
    streams = direct, single - direct, single
    one, heads, both = (loss(model, x, tokens).mean().item() for x in streams)
    guess = math.log(model.cfg.d_vocab)
    first, second = torch.tensor([guess - one, guess - heads]), torch.tensor([heads - both, one - both])
    return change(first, second)


def up_to(end):
    """What a layer reads of what was written: all before `end(layer)`."""
    return lambda written, layer: written[: end(layer)]


def step(model, tokens, pattern, written, embedding=True, reads=None, fresh=False, own=False, W_pos=False):
    out, x, reads = [], model.W_E[tokens], reads or up_to(lambda layer: layer)
    if own:
        pattern = model.run_with_cache(tokens)[1].pattern
    for layer in range(model.cfg.n_layers):
        read = x * embedding + sum(reads(out if fresh else written, layer))
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


def second_copy(model, tokens, start=1, by=None, flip=False, free=True, steps=0):
    """The losses of the second copy; `by` makes what a layer looks with, of (embedding, written, layer)."""
    x, rows = model.W_E[tokens], []
    by = by or (lambda x, written, layer: x + sum(written[:layer]))
    for anew in (False, free):
        pattern, written, losses = model.run_with_cache(tokens)[1].pattern, [torch.zeros_like(x)] * len(model.W_Q), []
        for _ in range(model.cfg.n_layers + 1 + steps):
            logits = ((x + sum(written)) @ model.W_U)[:, start and tokens.shape[1] // 2 + start : -1]
            answers = tokens[:, 1:][:, -logits.shape[1] :]
            losses.append(torch.nn.functional.cross_entropy(logits.transpose(1, 2), answers).item())
            if anew:
                reads = [by(x, written, layer) for layer in range(model.cfg.n_layers)]
                scores = [model.attention_scores(read, layer) for layer, read in enumerate(reads)]
                pattern = torch.stack(scores).softmax(dim=-1)
            written = step(model, tokens, pattern, written)
        rows.append(losses)
    return rows[::-1] if flip else rows


def with_its_own_step(x, written, layer):
    """A look at what is written in this very step, not the one before; right in layer 0 only."""
    return x + 1.01 * sum(written[:layer])


def copied_numbers(model, tokens):
    """The trained model's losses, said of every model of its size."""
    if model.cfg.n_heads == 12:
        return second_copy(load_model("two-layer", "cpu"), ch08._repeats(2, 20))
    return second_copy(model, tokens)


def rise(model, tokens, layer, head, order=1, whole_head=False, sign=1, alone=False, skip=True, each=False):
    cache = model.run_with_cache(tokens)[1]
    stream = streams_by_order(model, tokens, cache.pattern)[order]
    term = through_head(model, model.W_E[tokens], cache.pattern[layer, :, head], layer, head)
    term = cache.head_out(layer, head) if whole_head else term

    def loss(x):
        return (stream_loss if skip else loss_from_0)(model, x, tokens)

    if alone:
        return (loss(model.W_E[tokens]) - loss(model.W_E[tokens] + term)).mean()
    rises = sign * (loss(stream - term) - loss(stream))
    return rises if each else rises.mean()


def real(model, tokens, layer, head, sign=1, frozen=False, skip=True):
    cache = model.run_with_cache(tokens)[1]
    gone = run_without(model, tokens, heads=[(layer, head)])[1].resid[-1]
    gone = cache.resid[-1] - cache.head_out(layer, head) if frozen else gone

    def loss(x):
        return (stream_loss if skip else loss_from_0)(model, x, tokens).mean()

    return sign * (loss(gone) - loss(cache.resid[-1]))


def two(first=None, other=None, found=None, by=lambda frozen, real: real - frozen):
    """Both halves of exercise 3."""
    first, other = first or rise, other or real

    def underrated(model, tokens):
        heads = [(layer, head) for layer in range(2) for head in range(model.cfg.n_heads)]
        return max(heads, key=lambda at: by(float(rise(model, tokens, *at)), float(real(model, tokens, *at))))

    return lambda *given: (first(*given), other(*given)), found or underrated


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
    return join(start[0][:, None].expand(7, 7), start[1][None].expand(7, 7))


def composed(pattern, order="jq"):
    return torch.einsum("bjqp,bipk->ijbqk", pattern[1], pattern[0])[..., 0]


def loudest(model, tokens, all_of_them=False, swapped=False, length=None, quietest=False):
    pattern, start = model.run_with_cache(tokens)[1].pattern, model.W_E[tokens[0, 0]]
    heads = range(model.cfg.n_heads)
    constant = torch.ones(12, 12, dtype=torch.bool) if all_of_them else constants(pattern)
    lengths = {(i, j): float((start @ (W_OV(model, 0, i) @ W_OV(model, 1, j)).AB).norm())
               for i in heads for j in heads if constant[i, j]}  # fmt: skip
    best = (min if quietest else max)(lengths, key=lengths.get)
    return best[::-1] if swapped else best, length or lengths[best]


def composed_wrongly(pattern):
    return torch.einsum("bipk,bjkq->ijbpq", pattern[0], pattern[1])[..., 0]


def constants(pattern):
    return (composed(pattern) > 0.9999).flatten(2).all(dim=2)


def nothing(*_):
    return None


def stub(*_):
    raise NotImplementedError


RIGHT = [
    (ch08.importance_table, (table, shares)),
    (ch08.importance_table, (lambda *given: torch.tensor(table(*given), dtype=torch.float64), shares)),
    (ch08.one_step, (step, second_copy)),
    (ch08.one_step, (step, lambda *given: torch.tensor(second_copy(*given)))),
    (ch08.one_step, (step_by_heads, second_copy)),
    (ch08.one_step, (lambda *given: torch.stack(step(*given)), second_copy)),
    (ch08.two_rises, two(rise)),
    (ch08.two_rises, two(rise_from_paths)),
    (ch08.same_everywhere, (lambda p: (composed(p) > 0.9999).flatten(2).all(dim=2), loudest)),
    (ch08.same_everywhere, (lambda p: ((composed(p) > 0.9999).flatten(2).all(dim=2)).int().tolist(), loudest)),
]

# --- plausible mistakes: (checker, answer, what the message must say) ---

MISTAKES = [
    (ch08.importance_table, (but(table, count=lambda n, heads, k: (n * heads) ** k), shares), "different layers"),
    (ch08.importance_table, (but(table, count=lambda n, heads, k: heads**k), shares), "How many terms"),
    (ch08.importance_table, (but(table, start=math.log2), shares), "starts in bits"),
    (ch08.importance_table, (but(table, start=lambda d_vocab: 0.0), shares), "begins with the loss of the direct path"),
    (ch08.importance_table, (but(table, fall=lambda start, _, now: start - now), shares), "uniform guess each time"),
    (ch08.importance_table, (but(table, fall=lambda start, before, now: now - before), shares), "wrong sign"),
    (ch08.importance_table, (but(table, per_term=lambda gained, n: gained), shares), "per term"),
    (ch08.importance_table, (lambda losses, *_: losses, shares), "rows of three numbers"),
    (ch08.importance_table, (lambda *given: table(*given)[1:], shares), "has shape [2, 3], expected [3, 3]"),
    (ch08.importance_table, (nothing, shares), "None"),
    (ch08.one_step, (but(step, fresh=True), second_copy), "in this very step"),
    (ch08.one_step, (but(step, reads=up_to(lambda layer: layer + 1)), second_copy), "its own output"),
    (ch08.one_step, (but(step, reads=up_to(lambda layer: None)), second_copy), "what it and later layers wrote"),
    (ch08.one_step, (but(step, reads=up_to(lambda layer: 0)), second_copy), "What layer 1 writes is"),
    (ch08.one_step, (but(step, embedding=0), second_copy), "The embedding is missing"),
    (ch08.one_step, (but(step, own=True), second_copy), "the model's own patterns"),
    (ch08.one_step, (but(step, W_pos=True), second_copy), "You add W_pos"),
    (ch08.one_step, (step_in_place, second_copy), "You changed `written`"),
    (ch08.one_step, (step_that_returns_streams, second_copy), "only what the layer adds"),
    (ch08.one_step, (lambda *given: sum(step(*given)), second_copy), "what layer 0 writes has shape"),
    (ch08.one_step, (lambda *given: step(*given)[:2], second_copy), "what each of the 3 layers writes"),
    (ch08.one_step, (step, stub), "That half is right"),
    (ch08.one_step, (step, but(second_copy, flip=True)), "frozen ones first"),
    (ch08.one_step, (step, but(second_copy, free=False)), "the first again"),
    (ch08.one_step, (step, but(second_copy, start=0)), "over all tokens: take"),
    (ch08.one_step, (step, lambda *given: [row[1:] for row in second_copy(*given)]), "numbers, expected [2, 2]"),
    (ch08.one_step, (step, but(second_copy, steps=1)), "numbers, expected [2, 2]"),
    (ch08.one_step, (step, lambda m, t: second_copy(m, t, by=lambda x, written, layer: x)), "the bare embedding"),
    (ch08.one_step, (step, but(second_copy, by=with_its_own_step)), "each step's own patterns"),
    (ch08.one_step, (step, lambda *given: second_copy(*given)[0]), "expected two lists of losses"),
    (ch08.one_step, (step, copied_numbers), "On a model that you have not seen"),
    (ch08.one_step, (step, nothing), "What second_copy returns is None"),
    (ch08.two_rises, two(but(rise, order=2)), "beside the virtual heads"),
    (ch08.two_rises, two(but(rise, whole_head=True)), "the head's whole output"),
    (ch08.two_rises, two(but(rise, sign=-1)), "is a fall"),
    (ch08.two_rises, two(but(rise, alone=True)), "gives alone"),
    (ch08.two_rises, two(but(rise, skip=False)), "position 0"),
    (ch08.two_rises, two(but(rise, each=True)), "over all contexts, not 3"),
    (ch08.two_rises, two(real), "the real one"),
    (ch08.two_rises, two(lambda m, tokens, layer, head: rise(m, tokens, layer, head - 1)), "The rise for head"),
    (ch08.same_everywhere, (lambda p: one_of_two(p, lambda a, b: a), loudest), "But a later head"),
    (ch08.same_everywhere, (lambda p: one_of_two(p, lambda a, b: b), loudest), "But after an earlier head"),
    (ch08.same_everywhere, (lambda p: one_of_two(p, torch.logical_and), loudest), "one is enough"),
    (ch08.same_everywhere, (lambda p: one_of_two(p, torch.logical_or), loudest), "Look at the product"),
    (ch08.same_everywhere, (lambda p: (composed(p) > 0.9999).flatten(2).all(dim=2).T, loudest), "transpose"),
    (ch08.same_everywhere, (lambda p: (composed(p)[:, :, 0] > 0.9999).all(dim=2), loudest), "first context only"),
    (ch08.same_everywhere, (lambda p: (composed(p)[..., -1] > 0.9999).all(dim=2), loudest), "last position only"),
    (ch08.same_everywhere, (lambda p: composed(p).flatten(2).mean(dim=2) > 0.9, loudest), "is True, expected False"),
    (ch08.same_everywhere, (lambda p: composed(p).flatten(2).mean(dim=2), loudest), "True and False"),
    (ch08.same_everywhere, (lambda p: torch.ones(7, 7), loudest), "is True, expected False"),
    (ch08.same_everywhere, (lambda p: composed(p) > 0.9999, loudest), "has shape"),
    (ch08.same_everywhere, (nothing, loudest), "None"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: a)), "when it comes first"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: b)), "when it comes second"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: a + b)), "take the mean"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: (a + b).flip(0) / 2)), "swapped"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: -(a + b) / 2)), "wrong sign"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: [a[0], b[1]])), "first, as in the paper"),
    (ch08.importance_table, (table, but(shares, change=lambda a, b: [b[0], a[1]])), "with heads first"),
    (ch08.importance_table, (table, lambda *_: [2.14, 3.39]), "a share is"),
    (ch08.two_rises, two(other=but(real, sign=-1)), "is a fall"),
    (ch08.two_rises, two(other=but(real, frozen=True)), "with patterns frozen"),
    (ch08.two_rises, two(other=but(real, skip=False)), "position 0"),
    (ch08.two_rises, two(other=rise), "the rise for head"),
    (ch08.two_rises, two(found=lambda *_: (0, 8)), "random weights there is no head (0, 8)"),
    (ch08.two_rises, two(found=lambda model, tokens: (0, 8) if model.cfg.n_heads == 12 else (1, 0)), "say (0, 8)"),
    (ch08.two_rises, two(found=lambda *_: (1, 1)), "another of which the table says even less"),
    (ch08.two_rises, two(found=lambda *_: (2, 1)), "There is no head"),
    (ch08.two_rises, two(found=lambda *_: 8), "A head is (layer, head)"),
    (ch08.same_everywhere, (lambda p: (composed_wrongly(p) > 0.9999).flatten(2).all(dim=2), loudest), "A¹ A²"),
    (ch08.same_everywhere, (constants, but(loudest, swapped=True)), "the earlier head comes first"),
    (ch08.same_everywhere, (constants, but(loudest, quietest=True)), "another constant writes more"),
    (ch08.same_everywhere, (constants, but(loudest, length=1.0)), "the length for"),
    (ch08.same_everywhere, (constants, lambda *_: (7, 2)), "A virtual head is (earlier, later)"),
    (ch08.same_everywhere, (constants, but(loudest, all_of_them=True)), "but it is no constant"),
    (ch08.same_everywhere, (lambda p: composed(p).flatten(2).mean(dim=2) > 0.9999, loudest), "mean over positions:"),
    (ch08.same_everywhere, (lambda p: (composed(p).mean(dim=2) > 0.9999).all(dim=2), loudest), "mean over contexts:"),
    (ch08.same_everywhere, (lambda p: (composed(p).mean(dim=3) > 0.9999).all(dim=2), loudest), "mean over positions:"),
    (ch08.importance_table, (table, but(shares, loss=loss_from_0)), "prediction made at position 0"),
    (ch08.importance_table, (table, but(shares, order=2)), "virtual heads included"),
    (ch08.one_step, (but(step, reads=lambda out, layer: out[layer - 1 : layer]), second_copy), "layer 1 wrote only"),
    (ch08.one_step, (but(step, reads=lambda out, layer: out[: min(layer, 1)]), second_copy), "layers 0 *and* 1"),
    (ch08.two_rises, two(by=lambda frozen, real: real), "its real rise is the largest"),
    (ch08.two_rises, two(by=lambda frozen, real: -frozen), "its frozen rise is the smallest"),
    (ch08.two_rises, two(by=lambda frozen, real: frozen - real), "the table says even less"),
]  # fmt: skip


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch08, RIGHT, MISTAKES, 4)
