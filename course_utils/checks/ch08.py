"""Exercises of chapter 8, "Term importance".

Each checker draws a small random model (in 64-bit numbers), works out the answer by its own route, and compares. What
is found in a trained model is compared on the shipped one and on one that no page shows.
"""

import copy
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    disguised,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    require,
    require_close,
    require_given,
    require_parts,
    second_half,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.corpus import common_tokens, load_text, windows

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
ROUNDED = 1e-5  # losses of loud heads
EXACT = 1e-8  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 8.1")
def importance_table(answer, fair_shares) -> str:
    for losses, n_heads, d_vocab, counts in (
        ([5.0, 2.6, 2.0], 12, 4096, [1, 24, 144]),
        ([4.0, 3.0, 2.5, 2.25], 5, 300, [1, 15, 75, 125]),
        ([3.0, 2.0], 4, 50, [1, 4]),
    ):
        got = answer(list(losses), n_heads, d_vocab)
        require_given(got, "The table")
        first = torch.tensor(float(d_vocab), dtype=torch.float64).log().item()
        reductions = [before - now for before, now in zip([first, *losses], losses, strict=False)]
        want = [(n, fall, fall / n) for n, fall in zip(counts, reductions, strict=True)]
        given = f"with losses {losses}, {n_heads} heads and {d_vocab} tokens"
        try:
            table = torch.tensor([[float(x) for x in row] for row in got], dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise Wrong("The table should be a list of rows of three numbers.") from error
        shape = list(table.shape)
        require(shape == [len(losses), 3], f"The table has shape {shape}, expected {[len(losses), 3]}, {given}.")
        n_layers = len(losses) - 1
        if close(table[:, 0], [n_layers**k * n_heads**k for k in range(n_layers + 1)]) and n_layers > 1:
            raise Wrong("You count a head twice, or later before earlier: a path takes its heads from different "
                        f"layers, in their order. Of order 2, {given}, there are {counts[2]} paths.")  # fmt: skip
        require_close(table[:, 0], counts, f"How many terms, {given}:", 0, "Choose the layers, then a head in each.")
        what = f"A reduction, {given},"
        if close(table[0, 1], losses[0]) or close(table[0, 1], -losses[0]):
            raise Wrong(f"{what} begins with the loss of the direct path: take what it gains on ln d_vocab.")
        require(not close(table[:, 1], [-fall for fall in reductions]), f"{what} has the wrong sign: a fall counts up.")
        if close(table[:, 1], [first - loss for loss in losses]):
            raise Wrong(f"{what} is counted from the uniform guess each time: take it from the order before.")
        if close(table[0, 1], torch.tensor(float(d_vocab)).log2().item() - losses[0]):
            raise Wrong(f"{what} starts in bits: the uniform guess costs ln d_vocab nats.")
        require_close(table[:, 1], _exact(reductions), what, EXACT, "From ln d_vocab down, one order after the other.")
        require_close(table[:, 2], _exact([row[2] for row in want]), f"A reduction per term, {given},", EXACT,
                      "Divide by how many terms there are.")  # fmt: skip
    for name, model, tokens in _trained(0):
        _judge_shares(fair_shares, name, model, tokens)
    return "The table of the paper, for any depth, and two shares that do not depend on who comes first."


def _judge_shares(answer, name: str, model, tokens) -> None:
    got = answer(model, tokens)
    require_given(got)
    require(isinstance(got, torch.Tensor | list | tuple) and len(got) == 2, "Return the two shares.")
    got = _exact([float(share) for share in got])
    embedding, terms = _terms(model, tokens)
    guess = torch.tensor(float(model.cfg.d_vocab)).log().item()

    def both_ways(heads, skip=1):
        """What the direct path and these heads take off the loss: each first, each second."""
        direct, alone, both = (_loss(model, x, tokens, skip) for x in (embedding, heads, embedding + heads))
        return _exact([guess - direct, guess - alone]), _exact([alone - both, direct - both])

    singles = terms.sum(dim=(0, 1))
    first, second = both_ways(singles)
    want = (first + second) / 2
    with_virtual = model.run_with_cache(tokens)[1].resid[-1] - embedding
    mistakes = {
        "what each gives when it comes first": first,
        "what each gives when it comes second": second,
        "the sum of both ways: take the mean": first + second,
        "swapped: the direct path first": want.flip(0),
        "those with the direct path first, as in the paper": torch.stack([first[0], second[1]]),
        "those with heads first": torch.stack([second[0], first[1]]),
        "of the wrong sign: what lowers the loss has a share above 0": -want,
        "taken with the prediction made at position 0: leave it out": sum(both_ways(singles, skip=0)) / 2,
        "made with the virtual heads included: let heads read the bare embedding": sum(both_ways(with_virtual)) / 2,
    }
    name_mistake(got, mistakes, f"On {name} the shares {_listed(got)} are {{}}.", 1e-3)
    require_close(got, want, f"On {name}, a share", 1e-3, "Mean of coming first and second, from a uniform guess.")


@exercise("Exercise 8.2")
def one_step(answer, second_copy) -> str:
    model, tokens = small_model(replace(SMALL, n_layers=3), 1), _text(2)
    _, cache = model.run_with_cache(tokens)
    pattern = cache.pattern.roll(1, dims=1)  # not the model's own for these tokens: it must be taken from the argument
    embedding = model.W_E[tokens]
    written = [normal(embedding.shape, 3 + layer) for layer in range(3)]
    copies = [x.clone() for x in written]
    got = answer(model, tokens, pattern, written)
    require_given(got)
    require(all(torch.equal(a, b) for a, b in zip(written, copies, strict=True)),
            "You changed `written`, which the other layers still have to read: return a new list.")  # fmt: skip
    require(isinstance(got, torch.Tensor | list | tuple) and len(got) == 3, "Return what each of the 3 layers writes.")
    got = [torch.as_tensor(x) for x in got]

    def out(x, layer, patterns=pattern):
        values = torch.einsum("bpm,hmd->bhpd", x, model.W_V[layer])
        return torch.einsum("bhqk,bhkd,hdm->bqm", patterns[layer], values, model.W_O[layer])

    reads = [embedding + sum(written[:layer]) for layer in range(3)]
    want = [out(x, layer) for layer, x in enumerate(reads)]
    for layer, (mine, right) in enumerate(zip(got, want, strict=True)):
        require(mine.shape == right.shape, f"What layer {layer} writes has shape {list(mine.shape)}, "
                f"expected {list(right.shape)}.")  # fmt: skip
    fresh = []  # each layer reads what this very step has written before it
    for layer in range(3):
        fresh.append(out(embedding + sum(fresh), layer))
    if close(got[1], fresh[1]):
        raise Wrong(
            "Layer 1 reads what layer 0 writes in this very step: all layers read the outputs of the step before."
        )
    if all(close(x, out(embedding + sum(written), layer)) for layer, x in enumerate(got)):
        raise Wrong("A layer reads what it and later layers wrote: it can read the layers before it only.")
    if all(close(x, out(embedding + sum(written[: layer + 1]), layer)) for layer, x in enumerate(got)):
        raise Wrong("A layer reads its own output: it can read the layers before it only.")
    for which, only in (("0", written[0]), ("1", written[1])):
        if close(got[2], out(embedding + only, 2)):
            raise Wrong(f"Layer 2 reads what layer {which} wrote only: it must read layers 0 *and* 1.")
    if all(close(x, out(sum(written[:layer], torch.zeros_like(embedding)), layer)) for layer, x in enumerate(got)):
        raise Wrong("The embedding is missing: it is in the stream at every step.")
    if all(close(x, r + y) for x, r, y in zip(got, reads, want, strict=True)):
        raise Wrong("You return the stream after each layer: return only what the layer adds to it.")
    positions = model.W_pos[: tokens.shape[1]]
    if all(close(x, out(r + positions, layer)) for layer, (r, x) in enumerate(zip(reads, got, strict=True))):
        raise Wrong("You add W_pos to what values read: positions enter queries and keys only, and these are frozen.")
    if close(got[0], out(embedding, 0, cache.pattern)):
        raise Wrong("These are the model's own patterns, computed again: use the `pattern` that you were given.")
    for layer in range(3):
        require_close(got[layer], want[layer], f"What layer {layer} writes", EXACT,
                      "All heads of the layer, reading the embedding and what earlier layers wrote.")  # fmt: skip
    said = "Run it n times from zeros, and all paths through n heads are in."
    for n_layers, words in ((1, "one layer"), (3, "three layers")):
        small = small_model(replace(SMALL, n_layers=n_layers), 21 + n_layers, W_O=4, W_Q=4)
        ids = drawn_tokens(SMALL.d_vocab, (3, 4), 22)
        twice = F.pad(torch.cat([ids, ids], dim=1), (1, 0))
        _judge_second_copy(second_copy, said, f"a small model of {words}", small, twice)
    (name, model, _), (other, unseen, _) = _trained(3)
    twice = _repeats(2, 20)
    _judge_second_copy(second_copy, said, name, model, twice)
    _judge_second_copy(second_copy, said, other, unseen, _repeats(3, 17))
    frozen, free = _by_steps(model, twice)
    return (
        f"{said} The second copy costs the trained model {_listed(frozen)} nats with frozen patterns, and "
        f"{_listed(free)} where each step looks for itself."
    )


def _by_steps(model, tokens, at: int | None = None, looks: str = "reads") -> torch.Tensor:
    """[2, step] loss of the second copy with frozen patterns and with each step's own; `at` is the first prediction.

    looks: what a layer's own look reads: what the layer "reads", the bare "token", or this step's "new" outputs.
    """
    at = len(tokens[0]) // 2 + 1 if at is None else at
    held, x, layers = model.run_with_cache(tokens)[1].pattern, model.W_E[tokens], range(model.cfg.n_layers)

    def step(written: list, free: bool) -> list:
        new = []
        for layer in layers:
            reads = x + sum(written[:layer])
            seen = {"reads": reads, "token": x, "new": x + sum(new)}[looks]
            pattern = model.attention_scores(seen, layer).softmax(dim=-1) if free else held[layer]
            values = torch.einsum("bkm,hmd->bhkd", reads, model.W_V[layer])
            new.append(torch.einsum("bhqk,bhkd,hdm->bqm", pattern, values, model.W_O[layer]))
        return new

    rows = []
    for free in (False, True):
        written, losses = [torch.zeros_like(x)] * len(layers), []
        for _ in range(len(layers) + 1):
            losses.append(_loss(model, x + sum(written), tokens, at))
            written = step(written, free)
        rows.append(losses)
    return _exact(rows)


def _judge_second_copy(answer, said: str, name: str, model, tokens) -> None:
    got = second_half(answer, "second_copy", said, model, tokens.clone())
    steps, half = model.cfg.n_layers + 1, len(tokens[0]) // 2
    try:
        got = _exact([[float(loss) for loss in row] for row in got])
    except (TypeError, ValueError) as error:
        raise Wrong(f"On {name} second_copy returns {got!r}, expected two lists of losses.") from error
    told = f"On {name} second_copy returns {list(got.shape)} numbers, expected [2, {steps}]"
    require(list(got.shape) == [2, steps], f"{told}: frozen and free, after each of the steps from 0 on.")
    want, tolerance = _by_steps(model, tokens), 1e-3
    mistakes = {
        "the free patterns come first: frozen ones first": want.flip(0),
        "the second row is the first again: in it each layer looks anew in each step": want[[0, 0]],
        "over all tokens: take the predictions made in the second copy": _by_steps(model, tokens, 0),
        "over both copies: take the predictions made in the second": _by_steps(model, tokens, 1),
        "the last token of the first copy counts, who can't know what follows: begin with the first of the second":
        _by_steps(model, tokens, half),
        "a token too few: the first of the second copy already knows what follows": _by_steps(model, tokens, half + 2),
        "free patterns are made of the bare embedding: a layer looks with all that it reads in this step": _by_steps(
            model, tokens, looks="token"),
        "a layer's look reads what was written in this very step: it knows the step before only": _by_steps(
            model, tokens, looks="new"),
    }  # fmt: skip
    name_mistake(got, mistakes, f"On {name}: {{}}.", tolerance, want)
    hint = "From zeros, one step after the other, with your first function."
    require_close(got[0], want[0], f"On {name}, frozen, the loss of the second copy", tolerance, hint)
    require_close(got[1], want[1], f"On {name}, with each step's own patterns, the loss", tolerance, hint)


@exercise("Exercise 8.3")
def two_rises(answer, underrated) -> str:
    for seed, layer, head in ((5, 0, 1), (6, 1, 2)):
        model, tokens = small_model(SMALL, seed, W_O=6), _text(seed + 1)  # heads as loud as the embedding
        got = answer(model, tokens, layer, head)
        require_given(got)
        require(isinstance(got, torch.Tensor | list | tuple) and len(got) == 2, "Return two numbers: frozen, real.")
        cache = model.run_with_cache(tokens)[1]
        (embedding, terms), ablated = _terms(model, tokens), _ablated(model, tokens, (layer, head))
        singles, full, term = embedding + terms.sum(dim=(0, 1)), cache.resid[-1], terms[layer, head]

        def loss(stream, skip=1, model=model, tokens=tokens):
            return _loss(model, stream, tokens, skip)

        want = loss(singles - term) - loss(singles), loss(ablated) - loss(full)
        frozen = {
            "a fall: the loss without the term less the loss with it is a rise": -want[0],
            "what the term gives alone, beside the direct path": loss(embedding) - loss(embedding + term),
            "measured beside the virtual heads: leave the term out of direct path + single heads":
            loss(full - term) - loss(full),
            "made with the head's whole output, which holds its virtual heads too: let the head read the embedding":
            loss(singles - cache.head_out(layer, head)) - loss(singles),
            "the real one: frozen comes first": want[1],
            "taken with the prediction made at position 0: leave it out": loss(singles - term, 0) - loss(singles, 0),
        }  # fmt: skip
        real = {
            "a fall: the loss without the head less the loss with it is a rise": -want[1],
            "counted from direct path + single heads: count it from the whole model": loss(ablated) - loss(singles),
            "with patterns frozen: what the head wrote is taken off, and nobody notices":
            loss(full - cache.head_out(layer, head)) - loss(full),
            "taken with the prediction made at position 0: leave it out": loss(ablated, 0) - loss(full, 0),
        }  # fmt: skip
        for kind, number, right, mistakes in zip(("frozen", "real"), got, want, (frozen, real), strict=True):
            number = torch.as_tensor(number)
            require(number.numel() == 1, f"Return the mean over all contexts, not {number.numel()} numbers.")
            number = number.double().item()
            for what, wrong in mistakes.items():
                if abs(number - wrong) < ROUNDED and abs(wrong - right) > ROUNDED:
                    raise Wrong(f"For head {layer}.{head} the value {number:.4g} ({kind}) is {what}.")
            require_close(number, right, f"The rise for head {layer}.{head}, {kind},", ROUNDED)
    _judge_underrated(underrated, "a small model with random weights", small_model(SMALL, 18, W_O=6), _text(19))
    for name, model, _ in _trained(1):
        _judge_underrated(underrated, name, model, _repeats(2, 20))
    return "Two rises, kept apart, and the head whose work the table doesn't see."


def _judge_underrated(answer, name: str, model, tokens) -> None:
    got = answer(model, tokens)
    require_given(got)
    frozen, real = _rises(model, tokens)
    heads = list(real)
    try:
        got = tuple(int(part) for part in got)
    except (TypeError, ValueError) as error:
        raise Wrong(f"A head is (layer, head), such as (1, 10), not {got!r}.") from error
    require(got in heads, f"On {name} there is no head {got}: layers and heads count from 0.")
    want = max(heads, key=lambda head: real[head] - frozen[head])
    mistakes = {
        "its real rise is the largest. But the table may say so: take off what it says, the frozen rise": real,
        "its frozen rise is the smallest. It may deserve that: take it off the real rise": {
            head: -rise for head, rise in frozen.items()
        },
    }
    for what, value in mistakes.items():
        require(got == want or got != max(heads, key=value.get), f"On {name} you say {got}: {what}.")
    require(got == want, f"On {name} you say {got}: frozen {frozen[got]:+.3f}, real {real[got]:+.3f}. There is "
            "another of which the table says even less.")  # fmt: skip


@exercise("Exercise 8.4")
def same_everywhere(answer, loudest_constant) -> str:
    pattern = _planted_patterns()
    got = answer(pattern.clone())
    require_given(got)
    got = torch.as_tensor(got)
    n_heads = pattern.shape[2]
    require(tuple(got.shape) == (n_heads, n_heads), f"The answer has shape {list(got.shape)}, "
            f"expected {[n_heads, n_heads]}: earlier head, later head.")  # fmt: skip
    require(bool(((got == 0) | (got == 1)).all()), "The answer should hold True and False (or 1 and 0) only.")
    got = got.bool()
    composed = torch.einsum("bjqp,bipk->ijbqk", pattern[1], pattern[0])
    want = (composed[..., 0] > 1 - 1e-4).flatten(2).all(dim=2)
    start = (pattern[..., 0] > 1 - 1e-4).all(dim=-1).all(dim=1)  # [layer, head]: on the start token from everywhere
    mistakes = {
        "You multiplied the patterns in the wrong order, A¹ A²: what acts first, the earlier head, stands next to the "
        "stream, on the right: A² A¹.": (
            torch.einsum("bipk,bjkq->ijbpq", pattern[0], pattern[1])[..., 0] > 1 - 1e-4
        ).flatten(2).all(dim=2),
        "This is right when the earlier head rests on the start token. But a later head that does so makes a constant "
        "as well: position 0 sees itself alone.": start[0][:, None].expand_as(want),
        "This is right when the later head rests on the start token. But after an earlier head that does so, every "
        "average is one of equal vectors.": start[1][None].expand_as(want),
        "You ask for both heads to rest on the start token: one is enough.": start[0][:, None] & start[1][None],
        "One of the two need not rest on the start token by itself: here a later head looks at positions 0 and 1 only, "
        "and an earlier one carries the start token to both. Look at the product of the patterns.": start[0][:, None]
        | start[1][None],
        "This is the transpose: the earlier head counts the rows.": want.T,
        "You looked at the first context only.": (composed[:, :, 0, :, 0] > 1 - 1e-4).all(dim=2),
        "You looked at the last position only.": (composed[:, :, :, -1, 0] > 1 - 1e-4).all(dim=2),
        "You take a mean over positions: each of them, in each context, must be over the line.":
        composed[..., 0].flatten(2).mean(dim=2) > 1 - 1e-4,
        "You take the mean over contexts: each of them must be over the line.":
        (composed[..., 0].mean(dim=2) > 1 - 1e-4).all(dim=2),
    }  # fmt: skip
    for what, wrong in mistakes.items():
        require(torch.equal(got, want) or not torch.equal(got, wrong), what)
    if not torch.equal(got, want):
        i, j = (got != want).nonzero()[0].tolist()
        least = composed[i, j, ..., 0].min().item()
        raise Wrong(f"Virtual head 0.{i} → 1.{j} is {bool(got[i, j])}, expected {bool(want[i, j])}: the least weight "
                    f"that its pattern gives to the start token is {least:.4g}.")  # fmt: skip
    (name, model, tokens), (other, unseen, _) = _trained(2)
    _judge_loudest(loudest_constant, name, model, tokens)
    _judge_loudest(loudest_constant, other, _with_a_louder_head(unseen, tokens), tokens)
    return f"{int(want.sum())} of {want.numel()} virtual heads are constants; the loudest one of the models is found."


def _judge_loudest(answer, name: str, model, tokens) -> None:
    got = answer(model, tokens)
    require_given(got)
    require_parts(got, 2, "Return two things: (earlier, later) and the length.")
    constant, _, written = _constants(model, tokens)
    loud = written.where(constant, 0)
    want = divmod(int(loud.argmax()), model.cfg.n_heads)
    try:
        pair = tuple(int(part) for part in got[0])
    except (TypeError, ValueError) as error:
        raise Wrong(f"A virtual head is (earlier, later), such as (3, 5), not {got[0]!r}.") from error
    require(pair == want or pair != divmod(int(written.argmax()), model.cfg.n_heads),
            f"On {name}, {pair} writes the longest vector from the start token, but it is no constant.")  # fmt: skip
    require(pair == want or pair[::-1] != want, f"On {name} you say {pair}: the earlier head comes first.")
    require(pair == want, f"On {name} you say {pair}; another constant writes more, length {loud.max():.3g}.")
    require_close(got[1], loud.max(), f"On {name}, the length for {pair}", 1e-2, "What the start token brings through "
                  "both heads.")  # fmt: skip


def _constants(model, tokens) -> tuple:
    """Which virtual heads [earlier, later] are constants; what earlier heads bring of the start token; the lengths."""
    pattern = model.run_with_cache(tokens)[1].pattern
    constant = (torch.einsum("bjqp,bip->ijbq", pattern[1], pattern[0, ..., 0]) > 1 - 1e-4).flatten(2).all(dim=2)
    values = model.W_E[tokens[0, 0]] @ model.W_V[0]  # [earlier, d_head]
    middle = torch.einsum("hd,hdm->hm", values, model.W_O[0])
    return constant, middle, torch.einsum("im,jmd,jde->ije", middle, model.W_V[1], model.W_O[1]).norm(dim=-1)


def _with_a_louder_head(model, tokens):
    """A copy with the same patterns, in which a virtual head that is no constant writes the longest vector of all."""
    constant, middle, written = _constants(model, tokens)
    resting, later = constant.all(dim=1), int((~constant.all(dim=0)).nonzero()[0])
    deaf = torch.linalg.qr(middle[resting].T).Q  # to what heads that rest on the start token bring
    loud = 2 * written.max() / written[~resting, later].max()
    model = copy.deepcopy(model)
    model.W_V[1, later] = loud * (model.W_V[1, later] - deaf @ (deaf.T @ model.W_V[1, later]))
    return model


def _planted_patterns() -> torch.Tensor:
    """Patterns [2, batch, head, query, key] with heads that rest on the start token, and some that seem to."""
    batch, n_heads, pos = 2, 7, 7
    causal = torch.ones(pos, pos, dtype=torch.bool).tril()
    scores = normal((2, batch, n_heads, pos, pos), 10)
    pattern = scores.masked_fill(~causal, -torch.inf).softmax(dim=-1)
    rest = torch.zeros(pos, pos, dtype=torch.float64)
    rest[:, 0] = 1
    pattern[0, :, 1] = pattern[1, :, 4] = rest
    pattern[1, 0, 3] = rest  # in one context only
    pattern[1, :, 2, -1] = rest[-1]  # from the last position only
    pattern[0, :, 5] = 0.98 * rest + 0.02 * pattern[0, :, 5]  # nearly
    near_start = torch.tensor([0.5, 0.5, *[0.0] * (pos - 2)], dtype=torch.float64)
    pattern[1, :, 0, 1:] = near_start  # looks at positions 0 and 1 only …
    pattern[0, :, 2, 1] = rest[1]  # … and this earlier head carries the start token to both
    pattern[0, :, 3, 1:] = near_start  # and the other way round: constant only in the wrong order
    pattern[1, :, 5, 1] = rest[1]
    pattern[1, :, 6] = rest
    pattern[1, 0, 6, -1] = 0.99975 * rest[-1] + 0.00025 * torch.eye(pos, dtype=torch.float64)[-1]  # but for a hair
    return pattern


def _rises(model, tokens) -> tuple[dict, dict]:
    """For each head: rise of the loss without its direct term, patterns frozen, and with it really out."""
    embedding, terms = _terms(model, tokens)
    singles = embedding + terms.sum(dim=(0, 1))
    before = _loss(model, singles, tokens), _loss(model, model.run_with_cache(tokens)[1].resid[-1], tokens)
    heads = [(layer, head) for layer in range(2) for head in range(model.cfg.n_heads)]
    frozen = {head: _loss(model, singles - terms[head], tokens) - before[0] for head in heads}
    real = {head: _loss(model, _ablated(model, tokens, head), tokens) - before[1] for head in heads}
    return frozen, real


def _repeats(count: int, N: int) -> torch.Tensor:
    """Contexts of the start token, N random tokens and the same again."""
    common, draw = common_tokens(), torch.Generator().manual_seed(N)
    once = common[torch.randint(len(common), (count, N), generator=draw)]
    return F.pad(torch.cat([once, once], dim=1), (1, 0))


def _terms(model, tokens) -> tuple:
    """The embedding, and all direct terms [layer, head, batch, pos, d_model]."""
    pattern, embedding = model.run_with_cache(tokens)[1].pattern, model.W_E[tokens]
    values = torch.einsum("bpm,lhmd->lbhpd", embedding, model.W_V)
    return embedding, torch.einsum("lbhqk,lbhkd,lhdm->lhbqm", pattern, values, model.W_O)


def _ablated(model, tokens, head: tuple) -> torch.Tensor:
    """The final stream with a head really out."""
    kept = model.W_O[head].clone()
    model.W_O[head] = 0
    stream = model.run_with_cache(tokens)[1].resid[-1]
    model.W_O[head] = kept
    return stream


def _loss(model, stream, tokens, skip: int = 1) -> float:
    """Mean loss, the first `skip` predictions left out."""
    logits = stream[:, skip:-1] @ model.W_U
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, skip + 1 :].flatten()).item()


@cache
def _trained(seed: int):
    """(name, model, contexts) of the shipped model and of one that no page shows, which gets contexts of its own."""
    model = load_model("two-layer", "cpu")
    contexts = windows(load_text("validation"), 64)
    draw, other = torch.randint(len(contexts), (2, 3), generator=torch.Generator().manual_seed(seed))
    return ("the shipped model", model, contexts[draw]), (
        "a model that you have not seen",
        disguised(model, seed)[0],
        contexts[other],
    )


def _exact(values) -> torch.Tensor:
    """64-bit: a list alone would become 32-bit numbers."""
    return torch.tensor(values, dtype=torch.float64)


def _listed(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in values.tolist())


def _text(seed: int) -> torch.Tensor:
    """Three lines, the start token first."""
    return F.pad(drawn_tokens(SMALL.d_vocab, (3, 7), seed), (1, 0))
