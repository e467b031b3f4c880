"""Exercises of chapter 1, "The residual stream".

Each checker works out the answer by itself and compares: on a small random model (in 64-bit numbers), and where the
exercise ends in a finding also on the trained one and on the same in disguise.
"""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    disguised,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    one_number,
    require,
    require_close,
    require_given,
    require_parts,
    require_shape,
    second_half,
    small_model,
)
from course_utils.circuits import W_OV, centre
from course_utils.config import ModelConfig
from course_utils.corpus import load_text, spread, windows
from course_utils.interventions import run_without
from course_utils.model import AttentionOnlyTransformer, Cache

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-9  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 1.1")
def shapes(answer, heads_share) -> str:
    models = {f"the {name} model": load_model(name, "cpu") for name in ("two-layer", "one-layer")}
    models = {"a small model": small_model(SMALL, 1), **models, "an unseen model": load_model("unseen-a", "cpu")}
    trained = models["the two-layer model"]
    for sizes in ((SMALL, 2, 5), (SMALL, 3, 4), (trained.cfg, 1, 100)):
        _judge_shapes(answer(*sizes), *sizes)
    for name, model in models.items():
        _judge_share(second_half(heads_share, "heads_share", "All six shapes fit.", model.cfg), name, model)
    share = _learned(trained)["heads"] / _learned(trained)["all"]
    return f"All six shapes fit; and without a look you knew that {share:.0%} of the trained model is heads."


def _judge_shapes(got, cfg: ModelConfig, batch: int, pos: int) -> None:
    want = {
        "stream": (batch, pos, cfg.d_model),
        "query": (batch, pos, cfg.d_head),
        "pattern": (batch, pos, pos),
        "head_out": (batch, pos, cfg.d_model),
        "W_OV": (cfg.d_model, cfg.d_model),
        "logits": (batch, pos, cfg.d_vocab),
    }
    require(isinstance(got, dict), f"Your function returns {type(got).__name__}, expected a dict from names to shapes.")
    require(set(got) == set(want), f"The names are {sorted(map(str, got))}, expected {sorted(want)}.")
    hints = {
        "query": "One head's query lives in the head's own small space.",
        "pattern": "One weight for each pair: position that looks, position looked at.",
        "head_out": "What is added to the stream must have the shape of the stream.",
        "W_OV": "It takes a vector of the stream to a vector of the stream; only its rank is d_head.",
        "logits": "One logit for each token of the vocabulary, at every position.",
    }
    for name, shape in want.items():
        sizes = f"d_model={cfg.d_model}, d_head={cfg.d_head}, d_vocab={cfg.d_vocab}, batch={batch}, pos={pos}"
        told = f"{name} has shape {tuple(got[name])}, expected {shape} ({sizes}). {hints.get(name, '')}"
        require(tuple(got[name]) == shape, told.strip())


def _judge_share(got, name: str, model: AttentionOnlyTransformer) -> None:
    """What is right is counted in the model's weights; the reader had the sizes only."""
    there, cfg = _learned(model), model.cfg
    heads, rest = there["heads"], there["all"] - there["heads"]
    want, got = heads / there["all"], one_number(got, "The share")
    products = 2 * cfg.n_layers * cfg.n_heads * cfg.d_model**2
    slips = {
        "That is in percent: return a share, between 0 and 1.": 100 * want,
        "That is the share of what is not in heads.": 1 - want,
        "Divide by all that is learned, the heads' own numbers included.": heads / rest,
        "That is with one head: a layer has n_heads of them.": heads / (heads + cfg.n_heads * rest),
        "That is with one layer: each has its own heads.": heads / (heads + cfg.n_layers * rest),
        "W_pos is left out: it is learned, too.": heads / (there["all"] - there["W_pos"]),
        "W_U is left out: it is learned, too, and not the transpose of W_E.": heads / (there["all"] - there["W_U"]),
        "A head learns four weights, W_Q, W_K, W_V and W_O.": 0.75 * heads / (0.75 * heads + rest),
        "A head learns its narrow weights, not their products.": products / (products + rest),
    }
    for message, wrong in slips.items():
        told = f"For {name} your share is {got:.4g}, expected {want:.4g}. {message}"
        require(not math.isclose(got, wrong, rel_tol=1e-4) or math.isclose(want, wrong), told)
    require(math.isclose(got, want, rel_tol=1e-4), f"For {name} your share is {got:.4g}, expected {want:.4g}: of "
            f"{there['all']} numbers {heads} are in heads.")  # fmt: skip


@exercise("Exercise 1.2")
def logit_parts(answer, gain) -> str:
    model, tokens = small_model(SMALL, 2), drawn_tokens(SMALL.d_vocab, (1, 7), 3)
    position, token = 4, 11
    logits, cache = model.run_with_cache(tokens)
    parts = _parts(cache)[:, 0]
    want = parts[:, position] @ model.W_U[:, token]
    got = answer(model, tokens, position, token)
    hint = "The embedding first, then the heads: 0.0, 0.1, …, 1.0, …"
    require_shape(got, tuple(want.shape), "The list of parts", hint)
    if close(got[0], cache.resid[-1][0, position] @ model.W_U[:, token]):
        raise Wrong("The first part is the whole logit: take the stream before layer 0, cache.resid[0].")
    slips = {
        "These parts are of the logit of the token that stands at the position: use the token given.":
        parts[:, position] @ model.W_U[:, tokens[0, position]],
        "You took the mean over the vocabulary off. That is right for comparing parts, but these sum to the logit less "
        "its mean: here take the column of W_U as it is.": parts[:, position] @ centre(model.W_U, dim=1)[:, token],
        "These parts are those of the position before the one given.": parts[:, position - 1] @ model.W_U[:, token],
        "These parts are those of the position after the one given.": parts[:, position + 1] @ model.W_U[:, token],
        "These parts are those of the last position: use the position given.": parts[:, -1] @ model.W_U[:, token],
    }  # fmt: skip
    name_mistake(got, slips, want=want)
    total, logit = float(torch.as_tensor(got).sum()), logits[0, position, token].item()
    require(abs(total - logit) < EXACT, f"The parts sum to {total:.4g}, but the logit is {logit:.4g}. {hint}")
    require_close(got, want, "The list of parts", EXACT, hint)

    for name, model, tokens in _models(3):
        _, cache = model.run_with_cache(tokens)
        want, added = _gain(model, cache, tokens), _direct(model, cache, tokens)
        got = second_half(gain, "gain", "The parts sum to the logit.", model, tokens.clone())
        what = f"The gain of the heads of {name}"
        require_shape(got, tuple(want.shape), what, "A number for each head: [n_layers, n_heads].")
        plain = centre(model.W_U, dim=1).T[tokens[:, 2:]] - centre(model.W_U, dim=1).T[tokens[:, 1:-1]]
        slips = {
            "That is without the control: take off what the head adds to the other window's token.": added,
            "That is the control alone.": added - want,
            "The sign is the other way: the right token's first, then less the other window's.": -want,
            "The prediction at position 0 is in the mean: leave it out.": _gain(model, cache, tokens, first=0),
            "The control should be another window's next token, not the token that stands there.": _mean(
                cache, plain, 1
            ),
            "The control is the window behind: take the one before, tokens.roll(1, dims=0).": _gain(
                model, cache, tokens, roll=-1
            ),
        }
        name_mistake(got, slips, want=want)
        require_close(got, want, what, 1e-6, "Mean over windows and positions of right token less the other's.")
    best, first = (divmod(int(each.argmax()), model.cfg.n_heads) for each in _of_trained(_gain, _direct))
    return f"The trained model's largest gain is that of {_head(best)}; without the control it would be {_head(first)}."


@exercise("Exercise 1.3")
def through_others(answer) -> str:
    for name, model, tokens in _models(4):
        _, cache = model.run_with_cache(tokens)
        direct = _direct(model, cache, tokens)
        total = _total(model, cache, tokens)
        want = total - direct
        got = answer(model, tokens.clone())
        what = f"What the heads of {name} do through others"
        require_shape(got, tuple(want.shape), what, "A number for each head: [n_layers, n_heads].")
        raw = _total(model, cache, tokens, centred=False) - _direct(model, cache, tokens, centred=False)
        first = _total(model, cache, tokens, first=0) - _direct(model, cache, tokens, first=0)
        slips = {
            "That is the whole effect of taking the head out: take its own, direct part off.": total,
            "That is the direct part.": direct,
            "The sign is the other way: the model's logit less that of the model without the head.": -want,
            "You add the direct part to the whole effect: take it off.": total + direct,
            "The logits are not centred: a head that moves all of them alike has changed nothing.": raw,
            "The prediction at position 0 is in the mean: leave it out.": first,
        }
        name_mistake(got, slips, want=want)
        last = torch.as_tensor(got)[-1].abs().max()
        require(last < 1e-6, f"In {name} a head of the last layer has {last:.4g} through others, expected 0: nobody "
                "reads after it but the unembedding. Compare the same predictions and the same centring.")  # fmt: skip
        require_close(got, want, what, 1e-6)
    whole, direct = _of_trained(_total, _direct)
    best = divmod(int((whole - direct)[0].argmax()), model.cfg.n_heads)
    return (
        f"In the trained model {_head(best)} does most by way of layer 1, where its direct part is {direct[best]:.2f}."
    )


@exercise("Exercise 1.4")
def change_basis(answer, promote) -> str:
    model, tokens = small_model(SMALL, 5), drawn_tokens(SMALL.d_vocab, (1, 7), 6)
    before = copy.deepcopy(model.state_dict())
    M = normal((SMALL.d_model, SMALL.d_model), 7)  # invertible, far from orthogonal
    changed = answer(model, M)
    require_given(changed)
    for name, weight in model.state_dict().items():
        require(torch.equal(weight, before[name]), f"You changed {name} of the model you were given: work on a copy.")
    (want, old), (got, new) = model.run_with_cache(tokens), changed.run_with_cache(tokens)
    hint = "Inputs of a matrix are undone with the inverse; for a matrix that isn't orthogonal, M.T won't do."
    require(not close(new.resid[0], old.resid[0]), "The stream is the same as before: what writes it must be changed.")
    require_close(new.resid[0], old.resid[0] @ M, "The stream before layer 0", EXACT, "Every token's vector times M.")
    if not close(new.pattern[0], old.pattern[0]):
        moved = close(changed.W_pos, model.W_pos @ M)
        why = hint if moved else "Queries and keys read the stream plus W_pos: these vectors must turn along too."
        raise Wrong(f"The attention patterns of layer 0 are no longer the same. {why}")
    require_close(new.resid, old.resid @ M, "The stream", 1e-6, "Check W_V (reads) and W_O (writes).")
    require_close(got, want, "A logit", 1e-6, "The streams agree, so it is W_U, which reads. " + hint)

    for name, model, tokens in _models(5):
        names = [f"0.{writer}" for writer in range(model.cfg.n_heads)]
        before = _into_keys(model)
        for writer in (before.amax(dim=1).argmin().item(), 0):  # the one that is least heard, and another
            M = second_half(promote, "promote", "The function is the same.", model, writer)
            size = model.cfg.d_model
            require_shape(M, (size, size), "M", "A map of the stream to itself.")
            M = torch.as_tensor(M).to(model.W_E)
            require(bool(M.isfinite().all()) and torch.linalg.cond(M) < 1e6,
                    f"Your M for head {names[writer]} of {name} can't be undone: a direction is lost.")  # fmt: skip
            if close(M @ M.T, torch.eye(size) * (M @ M.T)[0, 0].item(), 1e-6):
                raise Wrong("Your M is a rotation, times a number: it changes no angle, and no strength. Stretch it.")
            other = _changed(model, M)
            require_close(other(tokens), model(tokens), "A logit", 1e-6, "M must leave the function as it is.")
            after = _into_keys(other).amax(dim=1)
            best = int(after.argmax())
            require(best == writer, f"In {name} the strongest pair begins at head {names[best]} ({after[best]:.2f}), "
                    f"expected {names[writer]} ({after[writer]:.2f}). What a head writes is divided by its own size, "
                    "and what is read by the reader's: which directions should shrink?")  # fmt: skip
    return "Another stream, the same function; and any head you like is the one most listened to, by that measure."


@exercise("Exercise 1.5")
def fold_biases(answer) -> str:
    d_model, d_head, pos = 5, 3, 4
    W_V, W_O = normal((d_model, d_head), 8), normal((d_head, d_model), 9)
    b_V, b_O = normal((d_head,), 10), normal((d_model,), 11)
    x, pattern = normal((pos, d_model), 12), normal((pos, pos), 13).softmax(dim=-1)
    got = answer(W_V, b_V, W_O, b_O)
    require_parts(got, 2, "Return two matrices, the new W_V and the new W_O.")
    new_V, new_O = got
    require_shape(new_V, (d_model + 1, d_head + 1), "The new W_V", "A row more for the one, a column more to carry it.")
    require_shape(new_O, (d_head + 1, d_model + 1), "The new W_O", "One more row for the one that W_V carried.")
    with_one = torch.cat([x, torch.ones(pos, 1, dtype=x.dtype)], dim=1)
    added = pattern @ (with_one @ new_V) @ new_O
    want = pattern @ (x @ W_V + b_V) @ W_O + b_O
    ones = added[:, -1]
    require(close(ones, torch.zeros_like(ones), EXACT), "The head adds something to the dimension that is always one "
            f"({ones[0].item():.4g}): what it adds there must be 0, or the stream's 1 is gone.")  # fmt: skip
    if close(added[:, :-1], pattern @ (x @ W_V) @ W_O + b_O):
        raise Wrong("b_V is missing: the last row of the new W_V meets the one of the stream.")
    if close(added[:, :-1], pattern @ (x @ W_V + b_V) @ W_O):
        raise Wrong("b_O is missing: carry the one through the head's last dimension, and let W_O read it there.")
    require_close(added[:, :-1], want, "What the head adds", EXACT, "It should be pattern @ (x W_V + b_V) W_O + b_O.")
    return "No bias left, and the same head."


def _learned(model: AttentionOnlyTransformer) -> dict[str, int]:
    """How many numbers each weight has, and the heads and all together."""
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    heads = sum(sizes[name] for name in ("W_Q", "W_K", "W_V", "W_O"))
    return sizes | {"heads": heads, "all": sum(sizes.values())}


def _models(seed: int) -> Iterator[tuple[str, AttentionOnlyTransformer, Tensor]]:
    """A small model, the trained one, and the same in disguise, all in 64 bits, each with tokens to run it on."""
    yield "a small model", small_model(SMALL, seed), drawn_tokens(SMALL.d_vocab, (3, 8), seed)
    trained, text = load_model("two-layer", "cpu").double(), spread(windows(load_text("validation"), 256), 3)[:, :64]
    yield "the trained model", trained, text
    yield "another trained model", disguised(trained, seed)[0], text


def _of_trained(*measures) -> list[Tensor]:
    """What some measures say of the trained model."""
    _, model, tokens = list(_models(0))[1]
    _, cache = model.run_with_cache(tokens)
    return [measure(model, cache, tokens) for measure in measures]


def _head(place: tuple[int, int]) -> str:
    return f"head {place[0]}.{place[1]}"


def _parts(cache: Cache) -> Tensor:
    """What each part wrote [part, batch, pos, d_model]: the embedding, then every head."""
    layers, heads = len(cache.z), cache.z.shape[2]
    written = [cache.head_out(layer, head) for layer in range(layers) for head in range(heads)]
    return torch.stack([cache.resid[0], *written])


def _mean(cache: Cache, columns: Tensor, first: int) -> Tensor:
    """Mean over predictions of what each head adds along a column of W_U, one for each prediction."""
    added = (_parts(cache)[1:, :, first:-1] * columns).sum(dim=-1).mean(dim=(1, 2))
    return added.view(len(cache.z), -1)


def _direct(model: AttentionOnlyTransformer, cache: Cache, tokens: Tensor, first: int = 1, centred=True) -> Tensor:
    """What each head adds to the right token's logit, on the mean."""
    W_U = centre(model.W_U, dim=1) if centred else model.W_U
    return _mean(cache, W_U.T[tokens[:, first + 1 :]], first)


def _gain(model: AttentionOnlyTransformer, cache: Cache, tokens: Tensor, first: int = 1, roll: int = 1) -> Tensor:
    """The same, less what it adds to the logit of the token that comes next in another window."""
    columns = model.W_U.T[tokens[:, first + 1 :]] - model.W_U.T[tokens.roll(roll, dims=0)[:, first + 1 :]]
    return _mean(cache, columns, first)


def _total(model: AttentionOnlyTransformer, cache: Cache, tokens: Tensor, first: int = 1, centred=True) -> Tensor:
    """How far the right token's logit falls, on the mean, when a head is taken out."""
    whole = model.unembed(cache.resid[-1])

    def right(logits: Tensor) -> Tensor:
        logits = centre(logits, dim=-1) if centred else logits
        return logits[:, first:-1].gather(2, tokens[:, first + 1 :, None]).mean()

    layers, heads = range(model.cfg.n_layers), range(model.cfg.n_heads)
    return torch.stack(
        [torch.stack([right(whole) - right(run_without(model, tokens, [(at, h)])[0]) for h in heads]) for at in layers]
    )


def _changed(model: AttentionOnlyTransformer, M: Tensor) -> AttentionOnlyTransformer:
    """The same function with a stream that is the old one times M."""
    changed, back = copy.deepcopy(model), torch.linalg.inv(M)
    for writes in (changed.W_E, changed.W_pos, changed.W_O):
        writes.copy_(writes @ M)
    for reads in (changed.W_Q, changed.W_K, changed.W_V, changed.W_U):
        reads.copy_(back @ reads)
    return changed


def _into_keys(model: AttentionOnlyTransformer) -> Tensor:
    """Strength of the virtual weights from each head of layer 0 (row) into the keys of each of layer 1."""
    heads = range(model.cfg.n_heads)
    writers, readers = [W_OV(model, 0, head) for head in heads], model.W_K[1]
    return torch.stack([torch.stack([(W @ r).norm() / (W.norm() * r.norm()) for r in readers]) for W in writers])
