"""Exercises of chapter 8, "Term importance".

Each checker draws a small random model (in 64-bit numbers), works out the answer by its own route, and compares.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    normal,
    require,
    require_close,
    require_given,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.factored import FactoredMatrix

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-8  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 8.1")
def importance_table(answer) -> str:
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
    return "The table of the paper, for any depth."


@exercise("Exercise 8.2")
def fair_shares(answer) -> str:
    for none, zero, one, both in ((5.0, 4.5, 3.0, 2.75), (4.0, 4.5, 3.5, 2.0), (2.0, 1.5, 1.25, 1.0)):
        loss = {"none": none, "0": zero, "1": one, "both": both}
        got = answer(dict(loss))
        require_given(got)
        alone, beside = torch.tensor([none - zero, none - one]), torch.tensor([one - both, zero - both])
        require_close(torch.as_tensor(got).shape, (2,), "The number of shares", 0, "Return one for each layer.")
        got, want = torch.as_tensor(got).double(), ((alone + beside) / 2).double()
        mistakes = {
            "what each layer gives alone": alone,
            "what each layer gives beside the other": beside,
            "the sum of alone and beside: take the mean": alone + beside,
            "parts of 1: leave them in nats": want / want.sum(),
            "swapped: layer 0 first": want.flip(0),
            "of the wrong sign: what lowers the loss has a share above 0": -want,
        }
        for what, wrong in mistakes.items():
            if close(got, wrong) and not close(wrong, want):
                raise Wrong(f"For {loss} the shares {_listed(got)} are {what}.")
        total = none - both
        sums = f"For {loss} the shares sum to {got.sum():.4g}, but both together lower the loss by {total:.4g}."
        require(abs(got.sum().item() - total) < 1e-5, sums)
        require_close(got, want, f"For {loss}, a share", 1e-5, "Either layer may come first: take the mean of both.")
    return "They sum to what both give, and depend on no order."


@exercise("Exercise 8.3")
def one_step(answer) -> str:
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
    return "Run it n times from zeros, and all paths through n heads are in."


@exercise("Exercise 8.4")
def direct_term_rise(answer) -> str:
    for seed, layer, head in ((5, 0, 1), (6, 1, 2)):
        model, tokens = small_model(SMALL, seed, W_O=6), _text(seed + 1)  # heads as loud as the embedding
        got = answer(model, tokens, layer, head)
        require_given(got)
        _, cache = model.run_with_cache(tokens)
        embedding = model.W_E[tokens]
        values = torch.einsum("bpm,lhmd->lbhpd", embedding, model.W_V)
        terms = torch.einsum("lbhqk,lbhkd,lhdm->lhbqm", cache.pattern, values, model.W_O)
        singles, full, term = embedding + terms.sum(dim=(0, 1)), cache.resid[-1], terms[layer, head]

        def loss(stream, skip=1, model=model, tokens=tokens):
            return F.cross_entropy(
                (stream[:, skip:-1] @ model.W_U).flatten(0, 1), tokens[:, skip + 1 :].flatten()
            ).item()

        want = loss(singles - term) - loss(singles)
        ablated = _ablated(model, tokens, layer, head)
        mistakes = {
            "a fall: the loss without the term less the loss with it is a rise": -want,
            "what the term gives alone, beside the direct path": loss(embedding) - loss(embedding + term),
            "measured beside the virtual heads: leave the term out of direct path + single heads":
            loss(full - term) - loss(full),
            "made with the head's whole output, which holds its virtual heads too: let the head read the embedding":
            loss(singles - cache.head_out(layer, head)) - loss(singles),
            "that of a real ablation, which moves patterns and takes every path through the head":
            ablated - loss(full),
            "taken with the prediction made at position 0: leave it out": loss(singles - term, 0) - loss(singles, 0),
        }  # fmt: skip
        number = torch.as_tensor(got)
        require(number.numel() == 1, f"Return one number: the mean over all contexts, not {number.numel()} numbers.")
        number = number.double().item()
        name = f"{layer}.{head}"
        for what, wrong in mistakes.items():
            if abs(number - wrong) < EXACT and abs(wrong - want) > EXACT:
                raise Wrong(f"For head {name} the value {number:.4g} is {what}.")
        require_close(number, want, f"The rise for head {name}", EXACT,
                      "Patterns frozen; direct path + single heads, with and without this head's term.")  # fmt: skip
    return "One direct term out, all else as it was."


@exercise("Exercise 8.5")
def virtual_head(answer) -> str:
    model, tokens, first, second = small_model(SMALL, 8), _text(9), 1, 2
    _, cache = model.run_with_cache(tokens)
    got = answer(model, cache.pattern, first, second)
    require(isinstance(got, tuple | list) and len(got) == 2, "Return two things: the pattern and the matrix.")
    A, W = got
    require(A is not None and W is not None, "One of the two is None.")
    W = W.AB if isinstance(W, FactoredMatrix) else torch.as_tensor(W)
    one, two = cache.pattern[0, :, first], cache.pattern[1, :, second]
    ov = [model.W_V[layer, h] @ model.W_O[layer, h] for layer, h in ((0, first), (1, second))]
    other = [model.W_V[layer, h] @ model.W_O[layer, h] for layer, h in ((0, second), (1, first))]
    A = torch.as_tensor(A)
    require(A.shape == two.shape, f"The pattern has shape {list(A.shape)}, expected {list(two.shape)}.")
    require(W.shape == ov[0].shape, f"The matrix has shape {list(W.shape)}, expected {list(ov[0].shape)}.")
    if close(A, one @ two):
        raise Wrong("The pattern is A¹ A²: positions are moved by the earlier head first, and what acts first stands "
                    "next to the stream, on the right: A² A¹ X.")  # fmt: skip
    require(not close(A, two * one), "You multiplied the patterns entry by entry: take the matrix product.")
    if close(A, cache.pattern[1, :, first] @ cache.pattern[0, :, second]):
        raise Wrong("The heads are swapped: `first` is in layer 0 and `second` in layer 1.")
    require_close(A, two @ one, "The pattern", EXACT, "The later head looks at what the earlier one has moved: A² A¹.")
    if close(W, ov[1] @ ov[0]):
        raise Wrong(
            "The matrix is W_OV² W_OV¹, the paper's order, for columns. We multiply rows: the first comes first."
        )
    require(not close(W, other[0] @ other[1]), "The matrix is that of the heads swapped: `first` is in layer 0.")
    require(not close(W, (ov[0] @ ov[1]).T), "The matrix is the transpose: rows go in on the left.")
    require_close(W, ov[0] @ ov[1], "The matrix", EXACT, "Values and output of the first, then of the second.")
    return "One head made of two: A² A¹ ⊗ W_OV¹ W_OV²."


@exercise("Exercise 8.6")
def same_everywhere(answer) -> str:
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
        "You multiplied the patterns in the wrong order: A² A¹.": (
            torch.einsum("bipk,bjkq->ijbpq", pattern[0], pattern[1])[..., 0] > 1 - 1e-4
        ).flatten(2).all(dim=2),
    }  # fmt: skip
    for what, wrong in mistakes.items():
        require(torch.equal(got, want) or not torch.equal(got, wrong), what)
    if not torch.equal(got, want):
        i, j = (got != want).nonzero()[0].tolist()
        least = composed[i, j, ..., 0].min().item()
        raise Wrong(f"Virtual head 0.{i} → 1.{j} is {bool(got[i, j])}, expected {bool(want[i, j])}: the least weight "
                    f"that its pattern gives to the start token is {least:.4g}.")  # fmt: skip
    return f"{int(want.sum())} of {want.numel()} virtual heads are constants."


def _planted_patterns() -> torch.Tensor:
    """Patterns [2, batch, head, query, key] with heads that rest on the start token, and some that seem to."""
    batch, n_heads, pos = 2, 6, 7
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
    return pattern


def _ablated(model, tokens, layer: int, head: int) -> float:
    """The loss with a head's output matrix put to zero."""
    kept = model.W_O[layer, head].clone()
    model.W_O[layer, head] = 0
    logits = model(tokens)
    model.W_O[layer, head] = kept
    return F.cross_entropy(logits[:, 1:-1].flatten(0, 1), tokens[:, 2:].flatten()).item()


def _exact(values) -> torch.Tensor:
    """64-bit: a list alone would become 32-bit numbers."""
    return torch.tensor(values, dtype=torch.float64)


def _listed(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in values.tolist())


def _text(seed: int) -> torch.Tensor:
    """Three lines, the start token first."""
    return F.pad(drawn_tokens(SMALL.d_vocab, (3, 7), seed), (1, 0))
