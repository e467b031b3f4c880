"""Exercises of chapter 11, "The assumptions, put back".

Each checker makes a small random model with what the exercise is about put back (in 64-bit numbers), works the answer
out another way, and compares.
"""

import torch

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    numbers,
    require,
    require_close,
    require_parts,
)
from course_utils.config import TransformerConfig
from course_utils.transformer import Transformer

SIZES = {"n_layers": 2, "n_heads": 3, "d_model": 14, "d_head": 5, "d_vocab": 19, "n_ctx": 12, "d_mlp": 11}  # all differ
EXACT = 1e-8  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 11.1")
def fold_value_biases(answer) -> str:
    for seed in (0, 1):
        model, tokens = _model(seed, biases=True), _text(seed)
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        got = numbers(answer(model), "The new b_O")
        _untouched(model, before)
        each = torch.einsum("lhd,lhdm->lhm", model.b_V, model.W_O)
        want = model.b_O + each.sum(1)
        require(got.shape == want.shape, f"The new b_O has shape {list(got.shape)}, expected {list(want.shape)}.")
        mistakes = {
            "leaves out the old b_O: add to it": each.sum(1),
            "is that of one head: a layer's heads add up": model.b_O + each[:, 0],
            "is a mean over heads: they add up": model.b_O + each.mean(1),
            "has b_V of one layer with W_O of another": model.b_O
            + torch.einsum("lhd,lhdm->lm", model.b_V, model.W_O.flip(0)),
            "has the wrong sign": model.b_O - each.sum(1),
            "is the old one": model.b_O,
        }
        _compare(got, want, mistakes, "The new b_O")
        logits = model(tokens)
        model.b_O.copy_(got), model.b_V.zero_()
        require_close(model(tokens), logits, "With it, and b_V at zero, a logit", EXACT)
    return "A pattern's row sums to one, so a value's bias arrives whole, wherever the head looks."


@exercise("Exercise 11.2")
def without_the_mean(answer) -> str:
    for seed in (2, 3):
        model, tokens = _model(seed, norm="layer"), _text(seed)
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        got = answer(model)
        _untouched(model, before)
        require(isinstance(got, dict), f"Return a dict from names to tensors, not {type(got).__name__}.")
        unknown = sorted(set(got) - set(before))
        require(not unknown, f"The model has no {unknown}: use the names of its parameters.")
        other = Transformer(TransformerConfig(**SIZES | {"norm": "rms"})).double().requires_grad_(False)
        for name, weight in other.named_parameters():
            value = numbers(got[name], name) if name in got else before[name]
            want = list(weight.shape)
            require(list(value.shape) == want, f"{name} has shape {list(value.shape)}, expected {want}.")
            weight.copy_(value)
        writers = {"W_E": -1, "W_pos": -1, "W_O": -1}
        changed = {name for name, weight in before.items() if not close(other.get_parameter(name), weight, EXACT)}
        require(
            not changed or changed & set(writers),
            f"Only {sorted(changed)} changed, which read the stream: they don't see its mean then, "
            "but the norm's root of the mean square still does. Change what writes.",
        )
        for name, weight in before.items():
            value = other.get_parameter(name)
            if name not in writers:
                require(close(value, weight, EXACT), f"{name} only reads the stream: leave it as it is.")
            elif not close(value, weight - weight.mean(-1, keepdim=True), EXACT):
                across = weight - weight.mean(-2, keepdim=True)
                require(
                    not close(value, across, EXACT), f"{name}: the mean over coordinates of the stream, not over rows."
                )
                require(not close(value, weight - weight.mean(), EXACT), f"{name}: each row has a mean of its own.")
                hint = (
                    "Positions are part of what a norm gets, here." if name == "W_pos" else "It writes into the stream."
                )
                require(not close(value, weight, EXACT), f"{name} is as it was. {hint}")
                raise Wrong(f"{name}: each of its rows [d_model] should have mean zero, and else be as it was.")
        require_close(other(tokens), model(tokens), "With RMSNorm and your weights, a logit", EXACT)
    return "LayerNorm is RMSNorm of a stream without a mean: nobody could read that mean."


@exercise("Exercise 11.3")
def cut_in_two(answer) -> str:
    for seed, head in ((4, (1, 0)), (5, (1, 2))):
        model, tokens = _model(seed, norm="layer", mlp="gelu"), _text(seed)
        model.W_out[-1] = 0  # nobody reads what a head of the last layer writes, but the last norm
        got = answer(model, tokens.clone(), head)
        require_parts(got, 2, "Return two numbers: direct, and rescaled.")
        require(all(numbers(x, "A number").numel() == 1 for x in got), "Return means: two numbers, not two tensors.")
        direct, rescaled = (numbers(x, "A number").flatten()[0] for x in got)
        logits, cache = model.run_with_cache(tokens)
        x, part = cache.resid[-1], cache.head_out(*head)

        def of_answer(values, first=1, centred=True, tokens=tokens, ahead=1):
            values = values - values.mean(-1, keepdim=True) if centred else values
            return (
                values[:, first:-1].gather(2, tokens[:, first + ahead :][:, : tokens.shape[1] - 1 - first, None]).mean()
            )

        held = lambda p, whole=x, model=model: model.unembed(p, part_of=whole)  # noqa: E731
        fall = of_answer(logits) - of_answer(model.unembed(x - part))
        want = of_answer(held(part))
        mistakes = {
            "has the scale of the head's own output: pass part_of, the whole stream": of_answer(model.unembed(part)),
            "has no norm": of_answer(part @ model.W_U),
            "has the scale of the stream that is left": of_answer(held(part, x - part)),
            "is not taken less the mean over the vocabulary": of_answer(held(part), centred=False),
            "counts the prediction made at position 0": of_answer(held(part), 0),
            "is of the token at each position: take that which comes next": of_answer(held(part), ahead=0),
            "is the whole fall": fall,
        }
        name = "{}.{}".format(*head)
        _compare(direct, want, mistakes, f"Of head {name} the direct part")
        rest, less = fall - want, logits - model.unembed(x - part) - held(part)
        mistakes = {
            "is the whole fall: take the direct part off": fall,
            "has the wrong sign: both parts add up to the fall": -rest,
            "is not taken less the mean over the vocabulary": of_answer(less, centred=False),
            "counts the prediction made at position 0": of_answer(less, 0),
        }
        _compare(rescaled, rest, mistakes, f"Of head {name} the rescaled part")
    return "What is left over grows when a part goes: a cut understates what the head wrote."


@exercise("Exercise 11.4")
def neuron_parts(answer) -> str:
    for seed, neuron, biases in ((6, 3, True), (7, 10, True), (10, 4, False)):
        model, tokens = _model(seed, biases=biases, mlp="gelu"), _text(seed)
        got = answer(model, tokens.clone(), neuron)
        got = torch.stack(list(got)) if isinstance(got, list | tuple) and all(map(torch.is_tensor, got)) else got
        got = numbers(got, "The table")
        cache = model.run_with_cache(tokens)[1]
        w, b = model.W_in[0, :, neuron], model.b_in[0, neuron] if biases else torch.zeros((), dtype=torch.float64)
        want, shape = _parts(model, tokens, cache, w, b), [SIZES["n_heads"] + 2, *tokens.shape]
        says = f"The table has shape {list(got.shape)}, expected {shape}: embedding, each head, constant."
        require(list(got.shape) == shape, says)
        only_b, only_b_O = (torch.cat([want[:-1], constant.expand_as(want[:1])]) for constant in (b, want[-1:] - b))
        mistakes = {
            "leaves b_O out of the constant: it reaches the neuron, too": only_b,
            "leaves b_in out of the constant": only_b_O,
            "is of the neuron before it": _parts(model, tokens, cache, model.W_in[0, :, neuron - 1], b),
            "is of a neuron of layer 1": _parts(model, tokens, cache, model.W_in[1, :, neuron], b),
            "has the neuron's output weights: what it reads is a column of W_in": _parts(
                model, tokens, cache, model.W_out[0, neuron], b
            ),
            "is after GELU: the sum is exact before it": torch.nn.functional.gelu(want),
        }
        if biases:
            values = (model.b_V[0, :, None] @ model.W_O[0]).squeeze(1) @ w
            moved = torch.cat([want[:1], want[1:-1] - values[:, None, None], want[-1:] + values.sum()])
            mistakes["has the biases of values in the constant: each head writes its own"] = moved
        mistakes |= {
            f"is of neuron {other}": _parts(
                model, tokens, cache, model.W_in[0, :, other], model.b_in[0, other] if biases else b
            )
            for other in range(SIZES["d_mlp"])
            if other != neuron
        }
        _compare(got, want, mistakes, "The table")
        whole = model.pre_activations(cache.resid_mid[0], 0)[..., neuron]
        require_close(got.sum(0), whole, "The sum over parts", EXACT)
        model.run_with_cache = _pushed(model)
        again = numbers(torch.stack(list(answer(model, tokens.clone(), neuron))), "The table")
        require(
            close(again, want, EXACT),
            "The constant is what is left over of the neuron's input: make it of b_in and of what b_O adds.",
        )
    return "Up to here all is linear. What GELU makes of the sum is not a sum."


@exercise("Exercise 11.5")
def without_pointers(answer) -> str:
    for seed, head in ((8, 1), (9, 2)):
        model, tokens = _model(seed, positions="stream"), _text(seed)
        got = numbers(answer(model, tokens.clone(), head), "The pattern")
        cache = model.run_with_cache(tokens)[1]
        place, word = model.W_pos[: tokens.shape[1]].expand(*tokens.shape, -1), model.W_E[tokens]
        moved, moved_words = (model.write(cache.pattern[0] @ model.read(x, 0, "v"), 0) for x in (place, word))
        want = _less(model, cache, head, moved, "q")
        shape = list(want.shape)
        require(list(got.shape) == shape, f"The pattern has shape {list(got.shape)}, expected {shape}.")
        mistakes = {
            "is as it was: nothing was taken off": cache.pattern[1][:, head],
            "has positions taken off the keys: off the queries": _less(model, cache, head, moved, "k"),
            "has what heads moved of tokens taken off: of positions": _less(model, cache, head, moved_words, "q"),
            "has all that heads moved taken off: of positions only": _less(
                model, cache, head, moved + moved_words, "q"
            ),
            "has the query's own position taken off, too: only what heads of layer 0 moved": _less(
                model, cache, head, moved + place, "q"
            ),
            "has the query's own position taken off, not what heads of layer 0 moved": _less(
                model, cache, head, place, "q"
            ),
            "is of another head": _less(model, cache, head - 1, moved, "q"),
            "has positions taken off the keys, too: off the queries only": _less(model, cache, head, moved, "qk"),
            "are scores: a pattern is their softmax": _less(model, cache, head, moved, "q", scores=True),
        }
        for earlier in range(SIZES["n_heads"]):
            z = torch.zeros_like(cache.z[0])
            z[:, earlier] = (cache.pattern[0] @ model.read(place, 0, "v"))[:, earlier]
            one = _less(model, cache, head, model.write(z, 0), "q")
            mistakes[f"has only what head 0.{earlier} moved taken off: all heads of layer 0"] = one
        _compare(got, want, mistakes, "The pattern")
    return "Where attention changes so, a place was passed on, not a token: a pointer, which may help or hinder."


def _parts(model: Transformer, tokens, cache, w, b) -> torch.Tensor:
    """What the embedding, each head of layer 0 and the constant add along `w`: [2 + n_heads, batch, pos]."""
    heads = [cache.z[0][:, head] @ model.W_O[0, head] @ w for head in range(SIZES["n_heads"])]
    constant = b + model.b_O[0] @ w if model.cfg.biases else b
    return torch.stack([model.W_E[tokens] @ w, *heads, constant.expand(tokens.shape)])


def _pushed(model: Transformer):
    """A `run_with_cache` that tells of a stream between heads and neurons which is more than what was written."""
    run = model.run_with_cache

    def told(*given):
        logits, cache = run(*given)
        cache.resid_mid = cache.resid_mid + 1
        return logits, cache

    return told


def _less(model: Transformer, cache, head: int, part, sides: str, scores: bool = False) -> torch.Tensor:
    """Pattern (or scores) of a head of layer 1 whose queries, keys or both read the stream less a part of it."""
    x = cache.resid[1]
    q, k = (model.read(x - part * (mine in sides), 1, mine)[:, head] for mine in "qk")
    found = model.scores(q, k)
    return found if scores else found.softmax(-1)


def _compare(got, want, mistakes, what: str) -> None:
    """Raise Wrong with the mistake that `got` looks like, or with where it differs."""
    name_mistake(got, mistakes, f"{what} {{}}.", EXACT, want)
    require_close(got, want, what, EXACT)


def _untouched(model: Transformer, before: dict) -> None:
    changed = [name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])]
    require(not changed, f"You changed the model's {changed}: make new tensors.")


def _model(seed: int, **put_back) -> Transformer:
    """Random weights in 64 bits, heads and neurons as loud as the embedding, biases that are not zero, norms folded."""
    model = Transformer.init(TransformerConfig(**SIZES | put_back), seed).double().requires_grad_(False)
    model.W_O.mul_(3)
    for number, (name, weight) in enumerate(model.named_parameters()):
        if name.startswith("b_"):
            weight.copy_(0.5 * normal(tuple(weight.shape), seed + 100 + number))
    return model


def _text(seed: int) -> torch.Tensor:
    """Three lines, the start token first."""
    return torch.nn.functional.pad(drawn_tokens(SIZES["d_vocab"], (3, 8), seed), (1, 0))
