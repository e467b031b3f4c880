"""Exercises of chapter 6, "Composition: heads that read heads".

Each checker draws small random matrices or a small model (in 64-bit numbers), works out the answer by itself, and
compares. What is to be found in a trained model is looked for in the shipped one and in one in disguise.
"""

import copy
import functools
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest import mock

import torch

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    disguised,
    drawn_tokens,
    exercise,
    later_keys,
    name_mistake,
    normal,
    numbers,
    one_number,
    require,
    require_close,
    require_given,
    require_parts,
    require_shape,
    second_half,
    small_model,
    whole_number,
)
from course_utils.circuits import composition_scores, random_heads
from course_utils.config import ModelConfig
from course_utils.corpus import load_tokenizer
from course_utils.interventions import pattern_without
from course_utils.model import AttentionOnlyTransformer

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=6, d_vocab=17, n_ctx=9)
EXACT = 1e-5  # the answer may be in 32-bit numbers


@exercise("Exercise 6.1", answer="virtual_head_of")
def virtual_head(answer, two_back) -> str:
    pos, d = 5, 4
    A1, A2 = (
        normal((pos, pos), seed).tril().masked_fill(later_keys(pos), -torch.inf).softmax(dim=-1) for seed in (1, 2)
    )
    OV1, OV2, x = normal((d, d), 3), normal((d, d), 4), normal((pos, d), 5)
    got = answer(A1, OV1, A2, OV2)
    require_parts(got, 2, "Return two matrices: the pattern and the OV matrix.")
    pattern, OV = (numbers(each, "A factor") for each in got)
    require_shape(pattern, (pos, pos), "The pattern", "One weight for each pair of positions.")
    require_shape(OV, (d, d), "The OV matrix", "From the stream to the stream.")
    if close(pattern, A1 @ A2) and not close(pattern, A2 @ A1):
        raise Wrong("The pattern is A1 @ A2. Patterns stand to the left of x: what happens later stands farther left.")
    if close(OV, OV2 @ OV1):
        raise Wrong(
            "The OV matrix is OV2 @ OV1, the paper's order for columns. In rows, what happens first stands first."
        )
    for name, matrix, a, b in (("pattern", pattern, A1, A2), ("OV matrix", OV, OV1, OV2)):
        if close(matrix, a + b) or close(matrix, a * b):
            raise Wrong(f"The {name} is a sum, or a product cell by cell; but one head reads what the other wrote.")
    want = A2 @ (A1 @ x @ OV1) @ OV2
    require_close(
        pattern @ x @ OV, want, "What the virtual head writes", EXACT, "It should be A2 @ (A1 @ x @ OV1) @ OV2."
    )
    sums = pattern.double().sum(dim=-1)
    require_close(sums, torch.ones(pos), "The sum of a row of the pattern", EXACT, "It is a pattern: scale nothing.")
    said = "Patterns with patterns, matrices with matrices."
    for model, tokens, which in _models():
        got = second_half(two_back, "two_back", said, model, tokens)
        pair, mean = _pair(got, "two_back", "(earlier, later), mean")
        pair = _pair(pair, "two_back", "(earlier, later), mean")
        found, mean = tuple(whole_number(head, "A head of the pair") for head in pair), one_number(mean, "The mean")
        _require_two_back(found, mean, model.run_with_cache(tokens)[1].pattern, which)
    return f"{said} A pair that looks two back in each of three models."


def _require_two_back(found: tuple, mean: float, pattern: torch.Tensor, which: str) -> None:
    """Raise Wrong, and name the likely slip, unless this pair of heads looks two back most, and this much."""
    A1, A2 = pattern[0][:, :, None], pattern[1][:, None]  # [batch, earlier, later, query, key], one of the heads free

    def back(patterns, by=2):
        return patterns.diagonal(-by, -2, -1).mean(-1)

    right = back(A2 @ A1).mean(0)
    best, told = divmod(int(right.argmax()), len(right)), f"On {which} you find 0.{found[0]} → 1.{found[1]}, {mean:.4f}"
    require(found != best[::-1] or found == best, f"{told}. The other way round: the earlier head comes first.")
    if found == best and abs(mean - right.max()) < EXACT:
        return
    slips = {
        "That is of A1 @ A2: what happens later stands farther left.": back(A1 @ A2).mean(0),
        "Multiply the patterns of each text, and then take the mean: a mean of patterns is another pattern.": back(
            A2.mean(0) @ A1.mean(0)),
        "That is a product of two means, of how much each head looks one back: multiply the patterns.": back(
            A2, 1).mean(0) * back(A1, 1).mean(0),
        "That is the mean over all queries from 0 on: from query 2 on, each has one place two back.": right
        * (1 - 2 / pattern.shape[-1]),
    }  # fmt: skip
    for words, table in slips.items():
        require(abs(mean - table.max()) > EXACT or found != divmod(int(table.argmax()), len(right)), f"{told}. {words}")
    more = f"there 0.{best[0]} → 1.{best[1]} looks two back more, {right.max():.3f} on average"
    require(found == best, f"{told}; {more}.")
    raise Wrong(
        f"{told}: the right pair, but its mean is {right.max():.4f}. From query 2 on, each has one place two back."
    )


@exercise("Exercise 6.2", answer="composition_measure")
def measure(answer) -> str:
    d, rank = 9, 3
    OV1, QK2, OV2 = (normal((d, rank), seed) @ normal((rank, d), seed + 1) for seed in (10, 20, 30))
    got = answer(OV1, 3 * QK2, OV2 / 2)  # sizes must not matter
    want = {"Q": _fit(OV1, QK2), "K": _fit(OV1, QK2.T), "V": _fit(OV1, OV2)}
    require(isinstance(got, dict), f"Your function returns {type(got).__name__}, expected a dict with Q, K and V.")
    require(set(got) == set(want), f"The names are {sorted(map(str, got))}, expected {sorted(want)}.")
    wrong = {
        "Q": {
            "what the queries would read of OV1 transposed: the paper's letters, for columns": _fit(QK2.T, OV1),
            "the keys: in W_QK the query's side is in the rows": _fit(OV1, QK2.T),
            "what comes out if the later head comes first: OV1 stands left": _fit(QK2, OV1),
        },
        "K": {
            "the paper's letters, for columns: in rows OV1 must be transposed": _fit(QK2, OV1),
            "the queries: the key's side is in the columns of W_QK": _fit(OV1, QK2),
            "what OV1 reads, not what it writes": _fit(QK2.T, OV1),
        },
        "V": {
            "the product in the paper's order, for columns: in rows OV1 stands first": _fit(OV2, OV1),
            "what comes out with one matrix transposed": _fit(OV1, OV2.T),
        },
    }
    factors = {"Q": (OV1, 3 * QK2), "K": (OV1, 3 * QK2.T), "V": (OV1, OV2 / 2)}
    for kind, right in want.items():
        require(got[kind] is not None, f"{kind} is None.")
        value = numbers(got[kind], kind)
        require(value.ndim == 0, f"{kind} has shape {list(value.shape)}, expected one number.")
        if abs(value - right) < EXACT:
            continue
        for what, other in wrong[kind].items():
            require(abs(value - other) > EXACT, f"{kind} is {value:.4f}, and this is {what}. Expected {right:.4f}.")
        A, B = factors[kind]
        sizes = {
            "the norm of the product: divide by both norms": (A @ B).norm(),
            "divided by one of the two norms only": (A @ B).norm() / A.norm(),
            "divided by one of the two norms only ": (A @ B).norm() / B.norm(),
            "divided by the sum of the norms: take their product": (A @ B).norm() / (A.norm() + B.norm()),
            "squared: take the square root": right**2,
            "made with the spectral norm: take Frobenius, A.norm()": _spectral(A @ B) / (_spectral(A) * _spectral(B)),
            "the trace of the product, which is no size": (A @ B).trace() / (A.norm() * B.norm()),
        }
        for what, other in sizes.items():
            require(abs(value - other) > EXACT, f"{kind} is {value:.4f}, {what.strip()}. Expected {right:.4f}.")
        raise Wrong(f"{kind} is {value:.4f}, expected {right:.4f}. What OV1 writes comes out at its second axis.")
    return "Each side of W_QK has met what is written."


@exercise("Exercise 6.3", answer="random_baseline")
def baseline(answer, keeps_apart) -> str:
    d_model, d_head, draws = 48, 4, 600
    with torch.random.fork_rng():
        torch.manual_seed(0)
        got, narrow = answer(d_model, d_head, draws), answer(12, 3, draws)
    for pair in (got, narrow):
        two = isinstance(pair, tuple | list | torch.Tensor) and len(pair) == 2
        require(two, "Return two numbers: the mean and the standard deviation.")
    (mean, sd), (mean_narrow, sd_narrow) = (
        [one_number(value, "A mean or a standard deviation") for value in pair] for pair in (got, narrow)
    )
    want, want_sd = _random_fits(d_model, d_head, 4000)
    root = f"1/√d_model = {d_model**-0.5:.4f}"
    if mean > 1:
        raise Wrong(f"The mean is {mean:.1f}: this is the norm of the product. Divide by both norms.")
    if abs(mean - want**2) < 0.01:
        raise Wrong(f"The mean is {mean:.4f}, the square of what it should be: take the square root.")
    if abs(mean - d_head**-0.5) < 0.06:
        why = "Are the matrices d_model × d_model, and the two of a pair drawn independently?"
        raise Wrong(f"The mean is {mean:.4f}, about 1/√d_head, expected {want:.4f}. {why}")
    hint = "Are the two heads of a pair drawn independently, and is it the Frobenius norm?"
    slack = 5 * want_sd / draws**0.5  # five standard errors
    require(abs(mean - want) < slack, f"The mean is {mean:.4f}, expected {want:.4f} (nearly {root}). {hint}")
    other, other_sd = _random_fits(12, 3, 4000)
    told = f"With d_model = 12 and d_head = 3 the mean is {mean_narrow:.4f}, expected {other:.4f}"
    require(abs(mean_narrow - other) < 5 * other_sd / draws**0.5, f"{told}: use the sizes that you are given.")
    told = f"The standard deviation is {sd:.4f}, expected about {want_sd:.4f}"
    if abs(sd - want_sd**2) < 0.2 * want_sd**2:
        raise Wrong(f"{told}: this is the variance. Take the square root.")
    if abs(sd - want_sd / draws**0.5) < 0.25 * want_sd / draws**0.5:
        raise Wrong(f"{told}: this is the standard error of the mean. Don't divide by √draws.")
    if sd < want_sd / 2:
        raise Wrong(f"{told}. The ranks matter: make each matrix of two factors that meet in d_head dimensions.")
    for size, its, right in (((d_model, d_head), sd, want_sd), ((12, 3), sd_narrow, other_sd)):
        told = "With d_model = {} and d_head = {} the standard deviation".format(*size)
        require(abs(its - right) < 0.25 * right,
                f"{told} is {its:.4f}, expected about {right:.4f}. Each draw needs two new heads.")  # fmt: skip
    # In two dimensions a head fits itself more unevenly than it fits a stranger.
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wide = float(answer(2, 20, 4000)[1])
    strange = _random_fits(2, 20, 40_000)[1]
    told = f"With d_model = 2 and d_head = 20 the standard deviation is {wide:.4f}, expected {strange:.4f}"
    hint = "Is a head composed with itself? Two strangers take two heads, each of two factors."
    require(abs(wide - strange) < 0.06 * strange, f"{told}. {hint}")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        means = torch.tensor([float(answer(12, 3, 4)[0]) for _ in range(200)])
    spread, expected = float(means.std()), other_sd / 2
    told = f"The means of 200 calls with draws = 4 have a spread of {spread:.4f}, expected about {expected:.4f}"
    require(spread > 0.01 * expected, f"{told}: all are the same. Draw new heads at every call.")
    require(abs(spread - expected) < 0.3 * expected, f"{told}: is the mean over `draws` pairs, and each drawn anew?")
    said = f"Mean {mean:.3f}, close to {root}; spread {sd:.4f}."
    trained = load_model("two-layer", "cpu").requires_grad_(False)
    for model, which in (
        *((_apart(*plant), "a small model") for plant in ((1, 3, 0, "V"), (2, 0, 2, "Q"), (3, 2, 1, "K"))),
        (trained, "the trained model"),
        (disguised(trained, 31)[0], "a model of ours"),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            got = second_half(keeps_apart, "keeps_apart", said, model)
        found, spreads = _pair(got, "keeps_apart", "(earlier, later, kind) and a number")
        _require_apart(_three(found), one_number(spreads, "The number of standard deviations"), model, which)
    pair, least = _least(composition_scores(trained))
    control = _least(composition_scores(_turned(trained)))[1]
    cfg = trained.cfg
    chance, spread = _random_fits(cfg.d_model, cfg.d_head, 400)
    return (
        f"{said} In the trained model {_named(pair)} is {(chance - least) / spread:.0f} spreads below chance; after a "
        f"random turn the least is {(chance - control) / spread:.0f} below."
    )


def _least(scores: dict[str, torch.Tensor]) -> tuple[tuple[int, int, str], float]:
    """The pair and kind of the smallest number in these tables, and the number."""
    kind = min(scores, key=lambda kind: scores[kind].min())
    return (*divmod(int(scores[kind].argmin()), len(scores[kind])), kind), scores[kind].min().item()


def _apart(seed: int, earlier: int, later: int, kind: str) -> AttentionOnlyTransformer:
    """Random heads of very different sizes, one of which reads next to nothing of what a certain earlier one writes.

    Each of the two has a loud dimension, and only in these they miss one another: W_O and its reader don't show it.
    """
    model = _planted(seed, (earlier + 2) % 4, (later + 2) % 4, "QKV"[seed % 3])
    reads = {"Q": model.W_Q, "K": model.W_K, "V": model.W_V}[kind]
    beyond = {"Q": model.W_K, "K": model.W_Q, "V": model.W_O.mT}[kind]
    written, read = model.W_O[0, earlier, 0], reads[1, later, :, 0]
    read -= written * (written @ read) / (written @ written)
    model.W_V[0, earlier, :, 0] *= 300
    beyond[1, later, :, 0] *= 300
    return model


def _turned(model: AttentionOnlyTransformer) -> AttentionOnlyTransformer:
    """A copy in which what each head of layer 0 writes is turned at random: the chapter's `turned(model, 0)`."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for head in range(model.cfg.n_heads):
        noise = torch.randn(model.cfg.d_model, model.cfg.d_model, generator=generator, dtype=torch.float64)
        turn = torch.linalg.qr(noise).Q
        model.W_O[0, head] = model.W_O[0, head] @ turn.to(model.W_O)
    return model


def _require_apart(found: tuple, spreads: float, model: AttentionOnlyTransformer, which: str) -> None:
    """Raise Wrong, and name the likely slip, unless this pair composes least, and so many spreads below chance."""
    scores, (chance, spread) = composition_scores(model), _random_fits(model.cfg.d_model, model.cfg.d_head, 400)
    (pair, value), (most, _) = _least(scores), _most(model)
    want, told = (chance - value) / spread, f"On {which} you find {_named(found)}, {spreads:.4g} spreads below"
    require(found != most, f"{told}. That pair composes most: asked is the least.")
    swapped = found[1::-1] == pair[:2] and found[2] == pair[2]
    require(found == pair or not swapped, f"{told}. The other way round: the earlier head comes first.")
    if found != pair:
        own = scores.get(found[2])
        fits = own is not None and max(found[:2]) < len(own)
        require(fits, f"{told}: expected two heads, counted from 0, and 'Q', 'K' or 'V'.")
        raise Wrong(f"{told}. Its measure is {own[found[:2]]:.4f}; {_named(pair)} has {value:.4f}. All three kinds?")
    slips = {
        "Below is above 0: the mean less the measure.": -want,
        "Divide the distance by your standard deviation.": chance - value,
        "That is the measure itself: how far is it from your mean?": value,
        "Divide by the standard deviation, not by the mean.": (chance - value) / chance,
        "Divide by the spread of single pairs, not by the standard error of their mean.": want * 200**0.5,
    }
    near = 0.25 * abs(want)  # both are estimates, from some hundred draws
    for words, wrong in slips.items():
        require(abs(spreads - wrong) > 0.25 * abs(wrong) or abs(spreads - want) < near, f"{told}. {words}")
    require(abs(spreads - want) < near, f"{told}; it is about {want:.1f}. Is your baseline of this model's sizes?")


def _named(found: tuple) -> str:
    return "0.{} → 1.{} by {}".format(*found)


def _three(got) -> tuple[int, int, str]:
    """(earlier, later, kind), as it was returned."""
    require_parts(got, 3, f"Return three things: earlier, later, kind; not {got!r}.")
    heads = [whole_number(head, f"The {which} head") for head, which in zip(got, ("earlier", "later"), strict=False)]
    return *heads, str(got[2])


@exercise("Exercise 6.4")
def score_table(answer, who_is_read) -> str:
    model, tokens, head, query, key = small_model(SMALL, 40), drawn_tokens(SMALL.d_vocab, (1, 7), 41), 1, 5, 2
    got = answer(model, tokens, head, query, key)
    _, cache = model.run_with_cache(tokens)
    parts = [torch.stack([cache.resid[0][0, at], model.W_pos[at], *(cache.head_out(0, h)[0, at] for h in range(3))])
             for at in (query, key)]  # fmt: skip
    q, k, root = parts[0] @ model.W_Q[1, head], parts[1] @ model.W_K[1, head], SMALL.d_head**0.5
    want = q @ k.T / root
    size = 2 + SMALL.n_heads
    require_given(got, "The table")
    got = numbers(got, "The table")
    if tuple(got.shape) == (size - 1, size - 1):
        raise Wrong(
            f"The table has {size - 1} rows and columns, expected {size}: token, position, and {SMALL.n_heads} heads."
        )
    require_shape(got, (size, size), "The table", "Token, position, then each head of layer 0, on either side.")
    swapped = (parts[1] @ model.W_Q[1, head]) @ (parts[0] @ model.W_K[1, head]).T / root
    order = [1, 0, 2, 3, 4]
    layer_0 = (parts[0] @ model.W_Q[0, head]) @ (parts[1] @ model.W_K[0, head]).T / root
    mistakes = {
        "Rows are the key's parts and columns the query's: it is the transpose.": want.T,
        "The scores are not divided by √d_head.": q @ k.T,
        "The scores are divided by d_head: take its square root.": q @ k.T / root**2,
        "The scores are divided by √d_model: it is √d_head.": q @ k.T / SMALL.d_model**0.5,
        "Query and key have changed places: the parts at `query` go through W_Q.": swapped,
        "These are the weights of layer 0: the head that looks is in layer 1.": layer_0,
        "Position comes second, after the token: two rows and columns are exchanged.": want[order][:, order],
    }  # fmt: skip
    name_mistake(got, mistakes)
    score = float(model.attention_scores(cache.resid[1], 1)[0, head, query, key])
    told = f"The table sums to {float(got.sum()):.4g}, but the score is {score:.4g}."
    if close(got[0, 0], want[0, 0] + want[0, 1] + want[1, 0] + want[1, 1]):
        raise Wrong("The first part holds token and position together: `cache.resid[0]` alone is the token.")
    if bool((got[1].abs() < EXACT).all() or (got[:, 1].abs() < EXACT).all()):
        raise Wrong(f"{told} The row or column of the position is empty: queries and keys read model.W_pos.")
    require(abs(float(got.sum()) - score) < EXACT, f"{told} Is each part taken at its own position?")
    require_close(got, want, "The table", EXACT, "The sum is right. Token, position, 0.0, 0.1, …, on either side.")
    said = f"The {size} × {size} terms sum to the score."
    for model, tokens, which in _models():
        for later, query, key in ((0, 17, 6), (1, 20, 9)) if model.cfg.n_ctx > 9 else ((1, 5, 2), (0, 6, 1)):
            got = second_half(who_is_read, "who_is_read", said, model, tokens[:1], later, query, key)
            found, share = _pair(got, "who_is_read", "a head and a share")
            found, share = whole_number(found, "The head"), one_number(share, "The share")
            _require_read(found, share, _shares_of_a_look(model, tokens[:1], later, query, key), which)
    return said + " And on three models you found who is read."


def _shares_of_a_look(model: AttentionOnlyTransformer, tokens, head: int, query: int, key: int) -> dict:
    """Of each head of layer 0 in the keys, with the query's token: its share of a score above its mean, and slips."""
    _, cache = model.run_with_cache(tokens)
    at, n = model.W_pos[: tokens.shape[1]], range(model.cfg.n_heads)
    wrote = torch.stack([cache.head_out(0, h)[0] for h in n])
    q = cache.resid[0][0, query] @ model.W_Q[1, head]
    with_token = wrote @ model.W_K[1, head] @ q  # [head of layer 0, key]
    whole_q = (cache.resid[1][0, query] + at[query]) @ model.W_Q[1, head]
    score = (cache.resid[1][0] + at) @ model.W_K[1, head] @ whole_q

    def above(x, last=query + 1):
        return x[..., key] - x[..., :last].mean(dim=-1)

    both = [torch.cat([cache.resid[0], at[None], wrote]) @ W[1, head] for W in (model.W_Q, model.W_K)]
    table = above(torch.einsum("id,jkd->ijk", both[0][:, query], both[1]))  # all terms of the look
    return {
        "right": above(with_token) / above(score),
        "score": above(score),
        "You divide by the sum of the row of the query's token: divide by the whole score above its mean.": (
            above(with_token) / table[0].sum()
        ),
        "You divide by the sum of the terms' sizes: they partly cancel. Divide by the whole score above its mean.": (
            above(with_token) / table.abs().sum()
        ),
        "You divide by the score as it is: take its mean over the keys off, too.": above(with_token) / score[key],
        "That is the mean over all keys: take those that the query may look at.": above(with_token, len(score))
        / above(score, len(score)),
        "The mean over the keys is not taken off.": with_token[:, key] / score[key],
        "This is a term, not a share of the whole score.": above(with_token) / model.cfg.d_head**0.5,
        "The query may look at itself too.": above(with_token, query) / above(score, query),
        "The query's side is its token, not all that it reads.": above(wrote @ model.W_K[1, head] @ whole_q)
        / above(score),
    }


def _require_read(found: int, share: float, shares: dict, which: str) -> None:
    right = shares.pop("right")
    sign = right.new_tensor(1.0 if shares.pop("score") > 0 else -1.0)
    best, told = int((right * sign).argmax()), f"On {which} you find 0.{found}, with a share of {share:.4g}"
    if found == best and abs(share - right[best]) < 1e-3:
        return
    loudest = int(right.abs().argmax())
    quiet = found != loudest or abs(abs(share) - right[loudest].abs()) > 1e-3
    require(quiet, f"{told}. That is the largest term by size, and it lowers the score: asked is what adds most.")
    shifted = found == best + 2 and abs(share - right[best]) < 1e-3
    require(not shifted, f"{told}: count heads from 0; token and position are no heads.")
    for message, wrong in shares.items():
        at = found if found < len(wrong) else best
        require(abs(share - wrong[at]) > 1e-4, f"{told}. {message}")
    require(found != best, f"{told}: the right head. Its share is {right[best]:.4g}: its term above its mean, over the "
            "whole score above its mean.")  # fmt: skip
    raise Wrong(f"{told}; it is 0.{best}, with {right[best]:.4g}: the largest in the row of the query's token.")


@exercise("Exercise 6.5")
def pattern_with_cut(answer, spared_least) -> str:
    # Loud, so that patterns are far from uniform, and what layer 0 wrote counts.
    model, tokens = small_model(SMALL, 50, W_O=5, W_Q=2), drawn_tokens(SMALL.d_vocab, (2, 7), 51)
    earlier, later = 2, 0
    _, cache = model.run_with_cache(tokens)
    whole = cache.resid[1] + model.W_pos[: tokens.shape[1]]
    wrote = cache.head_out(0, earlier)
    hint = "Take what the earlier head wrote off the stream that this side reads, and nothing else."

    def pattern(q_from, k_from, scale=SMALL.d_head**-0.5, mask=True, head=later):
        scores = (q_from @ model.W_Q[1, head]) @ (k_from @ model.W_K[1, head]).mT * scale
        return (scores.masked_fill(later_keys(tokens.shape[1]), -torch.inf) if mask else scores).softmax(dim=-1)

    for side in "QK":
        before = tokens.clone()
        got = answer(model, tokens, earlier, later, side)
        require(torch.equal(tokens, before), "You changed the tokens that you were given.")
        cut, no_pos = whole - wrote, cache.resid[1]
        q, k = (cut if side == this else whole for this in "QK")
        q_bare, k_bare = (no_pos - wrote if side == this else no_pos for this in "QK")
        q_half, k_half = (no_pos - wrote if side == this else whole for this in "QK")
        q_only, k_only = (wrote if side == this else whole for this in "QK")
        want = pattern(q, k)
        require_shape(got, tuple(want.shape), f"The pattern for side {side!r}", "[batch, query, key].")
        other = cache.head_out(0, later) if later != earlier else wrote
        q_other, k_other = (whole - other if side == this else whole for this in "QK")
        mistakes = {
            "Nothing was cut: this is the pattern as it is.": pattern(whole, whole),
            f"The other side was cut: for {side!r} change the {'queries' if side == 'Q' else 'keys'}.": pattern(k, q),
            "Queries and keys were both cut: only one side reads without the earlier head.": pattern(cut, cut),
            "Positions are missing: queries and keys read the stream plus W_pos.": pattern(q_bare, k_bare),
            "The side that was cut has lost its positions too.": pattern(q_half, k_half),
            "This is what the earlier head's part alone gives: take it off, keep the rest.": pattern(q_only, k_only),
            "Another head's output was taken off: it is `earlier` in layer 0.": pattern(q_other, k_other),
            "The scores are not divided by √d_head.": pattern(q, k, scale=1),
            "The mask is missing: no position looks at a later one.": pattern(q, k, mask=False),
            "This is the pattern of another head: it is `later` in layer 1.": pattern(q, k, head=earlier),
        }
        name_mistake(got, mistakes, f"Side {side!r}: {{}}")
        require_close(got, want, f"The pattern for side {side!r}", EXACT, hint)
    said = "One reading changed, and nothing else."
    for model, tokens, which in _models():
        for later in (1, 0):
            got = second_half(spared_least, "spared_least", said, model, tokens, later)
            path, nats = _pair(got, "spared_least", "(earlier, side) and nats")
            path = _pair(path, "spared_least", "(earlier, side) and nats")
            require(
                path[0] not in ("Q", "K"), f"spared_least returns {path!r}, expected (earlier, side): the head first."
            )
            path = whole_number(path[0], "The earlier head"), str(path[1])
            _require_spared(path, one_number(nats, "How far"), model, tokens, later, which)
    return said + " And on three models you found the path that can be spared least."


def _require_spared(found: tuple, nats: float, model: AttentionOnlyTransformer, tokens, later: int, which: str) -> None:
    cache, effects, slips = model.run_with_cache(tokens)[1], {}, {}
    before = cache.pattern[1, :, later]
    seen = ~later_keys(tokens.shape[1])
    for earlier in range(model.cfg.n_heads):
        for side in "QK":
            after = pattern_without(model, cache, (1, later), [(0, earlier)], side)
            log = (before / after).log()[:, seen]
            effects[earlier, side] = (before[:, seen] * log).sum() / before[..., 0].numel()
            slips[earlier, side] = -(after[:, seen] * log).sum() / before[..., 0].numel()
    best = max(effects, key=effects.get)
    told = f"On {which.removesuffix(',')}, for head 1.{later}, you find {found}, {nats:.4g}"
    require(found in effects, f"{told}: expected a head of layer 0 and 'Q' or 'K'.")
    if found == best and abs(nats - effects[best]) < 1e-4 * max(1.0, float(effects[best])):
        return
    zeros = "0 times the logarithm of 0 is no number: leave out the keys after the query, or multiply by torch.xlogy."
    require(nats == nats, f"{told}. {zeros}")
    require(
        abs(nats) < torch.inf, f"{told}. Somewhere p' is 0 and p is not: a key after the query, or one that rounded."
    )
    means = effects[found] / tokens.shape[1]
    require(abs(nats - means) > 1e-5, f"{told}. Sum over the keys, and take the mean over texts and queries only.")
    require(abs(nats - slips[found]) > 1e-5, f"{told}. That is the divergence the other way: weigh by the "
            "pattern before the cut.")  # fmt: skip
    require(abs(nats + effects[found]) > 1e-5, f"{told}. The sign is the other way round: p / p', not p' / p.")
    sums = effects[found] * before[..., 0].numel()
    require(abs(nats - sums) > 1e-3, f"{told}. Take the mean over texts and queries, not the sum.")
    raise Wrong(f"{told}; it is {best}, {effects[best]:.4g} nats.")


@exercise("Exercise 6.6")
def planted_pair(answer) -> str:
    plants = ((0, 2, "K"), (3, 1, "Q"), (1, 0, "V"), (2, 3, "K"), (3, 3, "V"), (0, 1, "Q"))
    for seed, plant in enumerate(plants):
        model = _planted(seed, *plant)
        with _without_scores(model):
            got = answer(model)
        require_given(got)
        earlier, later, kind = found = _three(got)
        told = f"In model {seed + 1} of {len(plants)} you found {_named(found)}"
        if found == plant:
            continue
        if (later, earlier, kind) == plant:
            raise Wrong(f"{told}: the right heads, but in the other order. The earlier one is in layer 0.")
        why = "The paper's products are for columns. In rows W_OV is the transpose of its own"
        for letters in ("QKV", *"KVQ"):
            which = f"product for {letters} gives if it is" if len(letters) == 1 else "products give if they are"
            require(
                found != _literal(model, letters), f"{told}: this is what the paper's {which} taken literally. {why}."
            )
        if (earlier, later) == plant[:2]:
            raise Wrong(
                f"{told}: the right pair, but it composes by {plant[2]}. In W_QK the query's side is in the rows."
            )
        sizes = [lambda A, B, by=by: (A @ B).norm() / (A, B)[by].norm() for by in (0, 1)]
        if found in [_loudest(model), *(_loudest(model, size) for size in sizes)]:
            raise Wrong(f"{told}: a large product, where no norm or only one was divided out. Divide by both norms.")
        raise Wrong(f"{told}, but it is 0.{plant[0]} → 1.{plant[1]} by {plant[2]}.")
    trained = load_model("two-layer", "cpu").requires_grad_(False)
    for model, which in ((trained, "the trained model"), (disguised(trained, 33)[0], "a model of ours")):
        with _without_scores(model):
            found = _three(answer(model))
        pair, value = _most(model)
        swapped = found[1::-1] == pair[:2] and found[2] == pair[2]
        told = f"On {which} you find {_named(found)}"
        require(found == pair or not swapped, f"{told}: the right heads, but in the other order.")
        require(found == pair, f"{told}; {_named(pair)} composes more, {value:.3f}. Does your search see all heads?")
    pair, value = _most(trained)
    return (
        f"All {len(plants)} pairs found; and in the trained model {_named(pair)}, {value:.3f}. The best pair of random "
        f"heads has {_most(random_heads(trained))[1]:.3f}."
    )


def _most(model: AttentionOnlyTransformer) -> tuple[tuple[int, int, str], float]:
    pair, value = _least({kind: -table for kind, table in composition_scores(model).items()})
    return pair, -value


def _without_scores(model: AttentionOnlyTransformer) -> AbstractContextManager:
    """In which `composition_scores` refuses this model, and copies: what it does is what the reader is to write."""
    module = importlib.import_module("course_utils.circuits.composition")  # the package has a function of this name
    own = module.reading

    def reading(read, layer: int = 1):
        says = "`composition_scores` found it. What it does is the exercise: begin from `W_OV` and `W_QK`"
        require(not close(read.W_O, model.W_O), f"{says}, and divide the norm of each product by both norms.")
        return own(read, layer)

    return mock.patch.object(module, "reading", reading)


def _planted(seed: int, earlier: int, later: int, kind: str) -> AttentionOnlyTransformer:
    """A model of random heads of very different sizes, one of which reads just what an earlier one writes."""
    cfg = ModelConfig(n_layers=2, n_heads=4, d_model=60, d_head=3, d_vocab=7, n_ctx=5)
    model = small_model(cfg, 60 + seed)
    reads = {"Q": model.W_Q, "K": model.W_K, "V": model.W_V}[kind]
    mix = torch.linalg.qr(normal((cfg.d_head, cfg.d_head), 70 + seed)).Q
    reads[1, later] = model.W_O[0, earlier].T @ mix
    loud = 10.0 ** torch.randint(0, 3, (3, 2, cfg.n_heads), generator=torch.Generator().manual_seed(80 + seed)).double()
    loud[:, 0, earlier] = loud[:, 1, later] = 1  # the planted pair is among the quiet ones
    loud[:, 0, (earlier + 1) % 4] = loud[:, 1, (later + 1) % 4] = 100
    for weight, size in zip((model.W_Q, model.W_K, model.W_V), loud, strict=True):
        weight *= size[:, :, None, None]
    return model


def _products(V1, Q2, V2) -> dict:
    return {"Q": (V1, Q2), "K": (V1, Q2.T), "V": (V1, V2)}


def _loudest(model: AttentionOnlyTransformer, size: Callable = lambda A, B: (A @ B).norm()) -> tuple[int, int, str]:
    return _best(model, size, _products)


def _literal(model: AttentionOnlyTransformer, kinds: str) -> tuple[int, int, str]:
    """What the paper's products find, those of some kinds, with matrices for rows in them."""

    def products(V1, Q2, V2):
        paper = {"Q": (Q2.T, V1), "K": (Q2, V1), "V": (V2, V1)}
        return _products(V1, Q2, V2) | {kind: paper[kind] for kind in kinds}

    return _best(model, _fit, products)


def _best(model: AttentionOnlyTransformer, size: Callable, products: Callable) -> tuple[int, int, str]:
    found, heads = {}, range(model.cfg.n_heads)
    for i in heads:
        for j in heads:
            V1, V2 = model.W_V[0, i] @ model.W_O[0, i], model.W_V[1, j] @ model.W_O[1, j]
            for kind, pair in products(V1, model.W_Q[1, j] @ model.W_K[1, j].T, V2).items():
                found[i, j, kind] = size(*pair)
    return max(found, key=found.get)


def _models() -> list[tuple[AttentionOnlyTransformer, torch.Tensor, str]]:
    """Models and tokens for what is to be found: a small one, the trained one, and that in disguise."""
    trained = load_model("two-layer", "cpu").double().requires_grad_(False)
    ids = drawn_tokens(trained.cfg.d_vocab, (2, 12), 21)
    start = torch.full((2, 1), load_tokenizer().start_id)
    tokens = torch.cat([start, ids, ids], dim=1)  # a text that comes again
    small = small_model(SMALL, 50, W_O=5, W_Q=2)
    return [
        (small, drawn_tokens(SMALL.d_vocab, (2, 8), 22), "a small model"),
        (trained, tokens, "the trained model, with random tokens that come twice,"),
        (disguised(trained, 23)[0], tokens, "a model of ours, with random tokens that come twice,"),
    ]


def _pair(got, name: str, what: str):
    require_parts(got, 2, f"{name} returns {got!r}, expected {what}.")
    return got


def _fit(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """‖AB‖ / (‖A‖ ‖B‖) by singular values, another way than the chapter's."""
    sizes = [torch.linalg.svdvals(M).square().sum().sqrt() for M in (A @ B, A, B)]
    return sizes[0] / (sizes[1] * sizes[2])


def _spectral(A: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(A, 2)


@functools.cache
def _random_fits(d_model: int, rank: int, draws: int) -> tuple[float, float]:
    """Mean and standard deviation of the fit of random pairs, computed in batches from the factors."""

    def norm(left, right):
        return ((left.mT @ left) * (right @ right.mT)).sum(dim=(1, 2)).sqrt()

    fits, at_once = [], 2_000_000 // (d_model * rank)
    for start in range(0, draws, at_once):
        n = min(at_once, draws - start)
        A, C = (normal((n, d_model, rank), 90 + start + i) for i in range(2))
        B, D = (normal((n, rank, d_model), 92 + start + i) for i in range(2))
        fits.append(norm(A @ (B @ C), D) / (norm(A, B) * norm(C, D)))
    fits = torch.cat(fits)
    return fits.mean().item(), fits.std().item()
