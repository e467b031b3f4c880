"""Exercises of chapter 6, "Composition: heads that read heads".

Each checker draws small random matrices or a small model (in 64-bit numbers), works out the answer by itself, and
compares.
"""

import math

import torch

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    later_keys,
    normal,
    numbers,
    require,
    require_close,
    require_given,
    require_shape,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.model import AttentionOnlyTransformer

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-5  # the answer may be in 32-bit numbers


@exercise("Exercise 6.1")
def count_paths(answer) -> str:
    for n_layers, n_heads in ((0, 5), (1, 12), (2, 12), (3, 4), (4, 1)):
        got = answer(n_layers, n_heads)
        of = f"For {n_layers} layers of {n_heads} heads"
        require_given(got)
        require(hasattr(got, "__len__"), f"{of} you return {got!r}, expected a list of {n_layers + 1} numbers.")
        require(
            len(got) == n_layers + 1, f"{of} the list has {len(got)} numbers, expected {n_layers + 1}: from 0 heads on."
        )
        got = [float(count) for count in got]
        want = [math.comb(n_layers, k) * n_heads**k for k in range(n_layers + 1)]
        if got == want:
            continue
        if got == [n_heads**k for k in range(n_layers + 1)]:
            raise Wrong(f"{of} you count the heads, {got}, but not in which layers they are: choose k layers first.")
        if got == [math.comb(n_layers * n_heads, k) for k in range(n_layers + 1)]:
            raise Wrong(f"{of} you choose any heads, {got}, but two heads of one layer never follow one another.")
        if sum(got) != sum(want):
            total = (
                f"The counts must sum to (1 + n_heads)^n_layers = {sum(want)}: each layer is passed beside or through."
            )
            raise Wrong(f"{of} you count {got}, in all {sum(got):g}. {total}")
        raise Wrong(f"{of} you count {got}, expected {want[0]} with no head, {want[1]} with one …")
    return "1, 24, 144 for two layers of 12."


@exercise("Exercise 6.2")
def virtual_head(answer) -> str:
    pos, d = 5, 4
    A1, A2 = (
        normal((pos, pos), seed).tril().masked_fill(later_keys(pos), -torch.inf).softmax(dim=-1) for seed in (1, 2)
    )
    OV1, OV2, x = normal((d, d), 3), normal((d, d), 4), normal((pos, d), 5)
    got = answer(A1, OV1, A2, OV2)
    require(isinstance(got, tuple | list) and len(got) == 2, "Return two matrices: the pattern and the OV matrix.")
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
    return "Patterns with patterns, matrices with matrices."


@exercise("Exercise 6.3")
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


@exercise("Exercise 6.4")
def baseline(answer) -> str:
    d_model, d_head, draws = 48, 4, 600
    with torch.random.fork_rng():
        torch.manual_seed(0)
        got, narrow = answer(d_model, d_head, draws), answer(12, 3, draws)
    for pair in (got, narrow):
        two = isinstance(pair, tuple | list | torch.Tensor) and len(pair) == 2
        require(two, "Return two numbers: the mean and the standard deviation.")
    (mean, sd), (mean_narrow, sd_narrow) = ([float(value) for value in pair] for pair in (got, narrow))
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
    right = abs(sd - want_sd) < 0.25 * want_sd and abs(sd_narrow - other_sd) < 0.25 * other_sd
    require(right, f"{told}. Each draw needs two new heads.")
    return f"Mean {mean:.3f}, close to {root}; spread {sd:.4f}."


@exercise("Exercise 6.5")
def score_table(answer) -> str:
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
    for message, wrong in mistakes.items():
        require(not close(got, wrong), message)
    score = float(model.attention_scores(cache.resid[1], 1)[0, head, query, key])
    told = f"The table sums to {float(got.sum()):.4g}, but the score is {score:.4g}."
    if close(got[0, 0], want[0, 0] + want[0, 1] + want[1, 0] + want[1, 1]):
        raise Wrong("The first part holds token and position together: `cache.resid[0]` alone is the token.")
    if bool((got[1].abs() < EXACT).all() or (got[:, 1].abs() < EXACT).all()):
        raise Wrong(f"{told} The row or column of the position is empty: queries and keys read model.W_pos.")
    require(abs(float(got.sum()) - score) < EXACT, f"{told} Is each part taken at its own position?")
    require_close(got, want, "The table", EXACT, "The sum is right. Token, position, 0.0, 0.1, …, on either side.")
    return f"The {size} × {size} terms sum to the score."


@exercise("Exercise 6.6")
def pattern_with_cut(answer) -> str:
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
        for message, wrong in mistakes.items():
            require(not close(got, wrong), f"Side {side!r}: {message}")
        require_close(got, want, f"The pattern for side {side!r}", EXACT, hint)
    return "One reading changed, and nothing else."


@exercise("Exercise 6.7")
def planted_pair(answer) -> str:
    plants = ((0, 2, "K"), (3, 1, "Q"), (1, 0, "V"), (2, 3, "K"), (3, 3, "V"), (0, 1, "Q"))
    for seed, plant in enumerate(plants):
        model = _planted(seed, *plant)
        got = answer(model)
        require_given(got)
        require(
            isinstance(got, tuple | list) and len(got) == 3, f"Return three things: earlier, later, kind; not {got!r}."
        )
        earlier, later, kind = int(got[0]), int(got[1]), str(got[2])
        told = f"In model {seed + 1} of {len(plants)} you found 0.{earlier} → 1.{later} by {kind}"
        if (earlier, later, kind) == plant:
            continue
        if (later, earlier, kind) == plant:
            raise Wrong(f"{told}: the right heads, but in the other order. The earlier one is in layer 0.")
        if (earlier, later) == plant[:2]:
            raise Wrong(
                f"{told}: the right pair, but it composes by {plant[2]}. In W_QK the query's side is in the rows."
            )
        if (earlier, later, kind) == _loudest(model):
            raise Wrong(f"{told}: this is the largest product, not the best fit. Divide by both norms.")
        raise Wrong(f"{told}, but it is 0.{plant[0]} → 1.{plant[1]} by {plant[2]}.")
    return f"All {len(plants)} pairs found."


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


def _loudest(model: AttentionOnlyTransformer) -> tuple[int, int, str]:
    found, heads = {}, range(model.cfg.n_heads)
    for i in heads:
        OV1 = model.W_V[0, i] @ model.W_O[0, i]
        for j in heads:
            QK2 = model.W_Q[1, j] @ model.W_K[1, j].T
            found[i, j, "Q"], found[i, j, "K"] = (OV1 @ QK2).norm(), (OV1 @ QK2.T).norm()
            found[i, j, "V"] = (OV1 @ model.W_V[1, j] @ model.W_O[1, j]).norm()
    return max(found, key=found.get)


def _fit(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """‖AB‖ / (‖A‖ ‖B‖) by singular values, another way than the chapter's."""
    sizes = [torch.linalg.svdvals(M).square().sum().sqrt() for M in (A @ B, A, B)]
    return sizes[0] / (sizes[1] * sizes[2])


def _spectral(A: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(A, 2)


def _random_fits(d_model: int, rank: int, draws: int) -> tuple[float, float]:
    """Mean and standard deviation of the fit of random pairs, computed in batches from the factors."""
    A, C = normal((draws, d_model, rank), 90), normal((draws, d_model, rank), 91)
    B, D = normal((draws, rank, d_model), 92), normal((draws, rank, d_model), 93)

    def norm(left, right):
        return ((left.mT @ left) * (right @ right.mT)).sum(dim=(1, 2)).sqrt()

    fits = norm(A @ (B @ C), D) / (norm(A, B) * norm(C, D))
    return fits.mean().item(), fits.std().item()
