"""Exercises of chapter 7, "Induction heads".

Each checker makes its own sequences, patterns or small models, works the answer out another way, and compares. What is
found in a trained model is compared on the shipped one and on one that no page shows.
"""

from functools import cache

import torch

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    disguised,
    drawn_tokens,
    exercise,
    later_keys,
    require,
    require_close,
    require_given,
    require_parts,
    require_shape,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.corpus import common_tokens
from course_utils.model import AttentionOnlyTransformer

SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=19, n_ctx=20)
EXACT = 1e-6
UNLIKE = 9  # a seed by which the heads of this chapter, 0.8 among them, all get other numbers


@exercise("Exercise 7.1")
def induction_keys(answer, best_head) -> str:
    cases = [[0, 5, 6, 7, 5], [0, 3, 3, 3], [0, 1, 2, 1, 4, 1, 2], [0], [0, *drawn_tokens(6, (11,), 0).tolist()]]
    for tokens in cases:
        got = answer(list(tokens))
        require_given(got)
        got = [sorted(int(key) for key in keys) for keys in got]
        require(len(got) == len(tokens), f"{len(got)} lists for {len(tokens)} positions: one for each position.")
        same = [[j for j in range(len(tokens)) if tokens[j] == token] for token in tokens]
        earlier = [[j for j in where if j < q] for q, where in enumerate(same)]
        want = [[j + 1 for j in where] for where in earlier]
        told = {
            "These are the earlier occurrences themselves: look one further, at what came after them.": earlier,
            "This looks one to the left of the earlier occurrences: the key is one to the right.": [
                [j - 1 for j in where] for where in earlier
            ],
            "The present position is no earlier occurrence of itself.": [
                [j + 1 for j in where if j <= q] for q, where in enumerate(same)
            ],
            "Only the latest occurrence is there: all earlier ones count.": [keys[-1:] for keys in want],
            "Only the first occurrence is there: all earlier ones count.": [keys[:1] for keys in want],
            "The key may be the present position: in `a a` the second a follows the first.": [
                [key for key in keys if key < q] for q, keys in enumerate(want)
            ],
        }
        for message, wrong in told.items():
            require(got != sorted_lists(wrong) or wrong == want, f"{message} (tokens {tokens})")
        for q, (mine, right) in enumerate(zip(got, want, strict=True)):
            require(mine == right, f"At position {q} of {tokens} the keys are {mine}, expected {right}.")
    for name, model, tokens in _trained(seed=3):
        _judge_best_head(best_head, name, model, tokens)
    return "Right, on repeats of every kind, and the head is found."


def _judge_best_head(answer, name: str, model, tokens) -> None:
    got = answer(model, tokens)
    require_given(got)
    require_parts(got, 2, "Return two things: (layer, head) and the mean.")
    head, mean = _pair(got[0]), got[1]
    pattern = model.run_with_cache(tokens)[1].pattern[:, 0].double()
    same = tokens[0][:, None] == tokens[0][None]
    target = torch.zeros_like(same)
    for query in range(len(same)):
        target[query, 1 : query + 1] = same[query, :query]
    has = target.any(-1)
    by_query = (pattern * target).sum(-1)
    means = by_query[..., has].mean(-1)
    want = divmod(int(means.argmax()), model.cfg.n_heads)
    told = {
        "over all queries: leave out those that have no key": by_query.mean(-1),
        "the sum over the queries: take the mean": by_query[..., has].sum(-1),
        "the mean over keys: add up the keys of a query": (by_query / target.sum(-1).clamp(min=1))[..., has].mean(-1),
        "over all pairs of a query and a key: divide by how many queries have a key": by_query.sum(-1) / target.sum(),
        "the attention to the earlier occurrences themselves": (pattern * same.tril(-1)).sum(-1)[..., has].mean(-1),
    }
    require_shape(mean, (), "The mean attention", "It is one number.")
    for what, wrong in told.items():
        is_wrong = close(mean, wrong.max()) and not close(wrong.max(), means[want])
        require(not is_wrong, f"On {name}, this is {what}.")
    require(head == want, f"On {name} you found head {head}; {want} gives its keys more, {means[want]:.3f} "
            f"where yours gives {means[_inside(head, means)]:.3f}.")  # fmt: skip
    require_close(mean, means[want], f"On {name}, the mean attention of head {want}", 1e-4,
                  "Sum over a query's keys, mean over the queries that have one.")  # fmt: skip


def sorted_lists(lists: list[list[int]]) -> list[list[int]]:
    return [sorted(keys) for keys in lists]


@exercise("Exercise 7.2")
def name_heads(answer, induction_heads) -> str:
    for N in (7, 12):
        habits = list(_habits(N))
        order = _permutation(len(habits), N)
        habits = [habits[i] for i in order]
        got = answer(torch.stack([_with_habits(N, habit) for habit in habits]), N)
        require_given(got)
        got = [str(name) for name in got]
        require(len(got) == len(habits), f"{len(got)} names for {len(habits)} heads.")
        for i, (mine, habit) in enumerate(zip(got, habits, strict=True)):
            means = {kind: float(weights.mean()) for kind, weights in habit.items()}
            best = max(means, key=means.get, default="other")
            right = best if means.get(best, 0) >= 0.4 else "other"
            if mine != right:
                shares = ", ".join(f"{mean:.2f} to {KINDS[kind][0]}" for kind, mean in means.items())
                raise Wrong(f"Head {i} is called {mine!r}, expected {right!r} (N = {N}). In the mean over queries "
                            f"N + 1 … 2N it gives {shares or 'nothing to any of the four'}; the rest, to q − N. "
                            "In the first copy it looks at itself.")  # fmt: skip
    N, seed = 40, 5
    friend = _false_friend(30, N)
    _judge_found(induction_heads, "a model with a head that always looks N − 1 back", friend, N, seed, [(1, 0)])
    for name, model, _ in _trained(seed):
        _judge_found(induction_heads, name, model, N, seed)
    return "All heads named, and those that match told from one that counts."


def _judge_found(answer, name: str, model, N: int, seed: int, want: list | None = None) -> None:
    """Whether the right heads are found; on a trained model they follow from the strict definition."""
    drawn = common_tokens(model.cfg.d_vocab) if model.cfg.d_vocab > 1000 else torch.arange(1, model.cfg.d_vocab)
    draw = torch.Generator().manual_seed(seed)
    once, other = (drawn[torch.randint(len(drawn), (N,), generator=draw)] for _ in range(2))
    start = torch.zeros(1, dtype=torch.long)
    repeated, control = (torch.cat([start, once, half])[None] for half in (once, other))
    q = torch.arange(N + 1, 2 * N + 1)
    pattern, against = (model.run_with_cache(tokens)[1].pattern[:, 0] for tokens in (repeated, control))

    def named(pattern):
        means = torch.stack([pattern[..., q, key(q, N)].mean(-1) for _, key in KINDS.values()])
        return (means.argmax(0) == list(KINDS).index("induction")) & (means.amax(0) >= 0.4)

    passed, fooled = named(pattern), named(against)
    want = [tuple(place) for place in (passed & ~fooled).nonzero().tolist()] if want is None else want
    got = answer(model, repeated, control, N)
    require_given(got)
    got = sorted(_pair(head) for head in got)
    if got != want and got == [tuple(place) for place in passed.nonzero().tolist()]:
        raise Wrong(f"On {name} you give {got}: what is named on the control as well looks by position alone.")
    require(got == want, f"On {name} you give {got}, expected {want}.")


@exercise("Exercise 7.3")
def matching_without(answer, whom_it_needs) -> str:
    for N, seed, earlier, later in ((6, 0, (0, 2), (1, 1)), (9, 1, (0, 0), (1, 2))):
        model = small_model(SMALL, seed, W_O=3, W_K=2)  # attention so sharp that cutting a path shows
        once = drawn_tokens(SMALL.d_vocab, (N,), seed)
        tokens = torch.cat([torch.zeros(1, dtype=torch.long), once, once])[None]
        whole = model.state_dict()
        before = {name: weight.clone() for name, weight in whole.items()}
        got = answer(model, tokens, N, earlier, later)
        for name, weight in model.state_dict().items():
            require(torch.equal(weight, before[name]), f"You changed {name} of the model: work on a copy.")
        require_shape(got, (), "The answer", "It is one number: the mean over the second copy.")
        want = _matching(model, tokens, N, earlier, later, "K")
        told = {
            "Nothing is cut: this is the attention of the whole model.": _matching(
                model, tokens, N, earlier, later, ""
            ),
            "The path to the queries is cut: cut that to the keys.": _matching(model, tokens, N, earlier, later, "Q"),
            "The whole head is cut; that changes the queries as well. Cut only its path to the keys.": _matching(
                model, tokens, N, earlier, later, "QK"
            ),
            "This is the attention to q − N, the same token: the key is q − N + 1.": _matching(
                model, tokens, N, earlier, later, "K", off=-1
            ),
            "This is the attention to q − N + 2: the key is q − N + 1.": _matching(
                model, tokens, N, earlier, later, "K", off=1
            ),
            "This is the sum over the queries: take the mean.": want * N,
        }
        for message, wrong in told.items():
            require(not close(got, wrong), message)
        require_close(got, want, "The mean attention", EXACT, "Queries N + 1 … 2N, keys q − N + 1.")
    N = 30
    for name, model, _ in _trained(UNLIKE):
        _judge_needs(whom_it_needs, name, model, N)
    return "Only that path was cut, and the head that is needed is found."


def _judge_needs(answer, name: str, model, N: int) -> None:
    once = common_tokens()[torch.randint(len(common_tokens()), (N,), generator=torch.Generator().manual_seed(N))]
    tokens = torch.cat([torch.zeros(1, dtype=torch.long), once, once])[None]
    q = torch.arange(N + 1, 2 * N + 1)
    pattern = model.run_with_cache(tokens)[1].pattern[1, 0]
    for head in pattern[:, q, q - N + 1].mean(-1).topk(2).indices.tolist():
        later, heads = (1, head), range(model.cfg.n_heads)
        left = torch.stack([_matching(model, tokens, N, (0, h), later, "K") for h in heads])
        first, second = left.argsort()[:2].tolist()
        got = answer(model, tokens, N, later)
        require_given(got)
        require_parts(got, 3, "Return three things: (0, head), what is left, and the least left without another.")
        found, (least, control) = _pair(got[0]), got[1:]
        what = f"On {name}, for head {later}"
        require(found == (0, first), f"{what}: you say that it needs {found}; without {(0, first)} least is left.")
        require_close(least, left[first], f"{what}: what is left", 1e-4)
        whole = pattern[head, q, q - N + 1].mean()
        require(not close(control, whole), f"{what}: the control is the whole model; take another *cut*.")
        require_close(
            control, left[second], f"{what}: the control", 1e-4, "The least that a cut of another head leaves."
        )


@exercise("Exercise 7.4")
def pointer_weights(answer) -> str:
    for d_vocab, n_ctx, seed in ((13, 27, 0), (16, 33, 1)):
        got = answer(d_vocab, n_ctx)
        require_parts(got, 4, "Return four matrices: QK_0, OV_0, QK_1, OV_1.")
        d = 2 * d_vocab + 2 * n_ctx
        weights = []
        for name, W in zip(("QK_0", "OV_0", "QK_1", "OV_1"), got, strict=True):
            require_shape(W, (d, d), name, "The stream is d = 2 * d_vocab + 2 * n_ctx wide.")
            weights.append(torch.as_tensor(W).detach().double())
        for tokens in _repeats(12, d_vocab, n_ctx, seed):
            _judge_pointer(weights, tokens, d_vocab, n_ctx)
    return "Found by pointer, on every sequence."


# --- the checkers' own routes ---


def _judge_pointer(weights: list[torch.Tensor], tokens: list[int], d_vocab: int, n_ctx: int) -> None:
    QK_0, OV_0, QK_1, OV_1 = weights
    n = len(tokens)
    blocks = [torch.eye(d_vocab)[tokens], torch.eye(n_ctx)[:n], torch.zeros(n, n_ctx), torch.zeros(n, d_vocab)]
    x = torch.cat(blocks, dim=1).double()
    future = later_keys(n)

    def look(x, QK):
        return (x @ QK @ x.T).masked_fill(future, -torch.inf).softmax(-1)

    first = look(x, QK_0)
    x = x + first @ x @ OV_0
    second = look(x, QK_1)
    guess = (x + second @ x @ OV_1)[:, -d_vocab:]
    require(bool(guess.isfinite().all()), "Some results are not finite: is a gain too large?")
    for q, b in _known(tokens).items():
        if int(guess[q].argmax()) == b:
            continue
        place, earlier = f"position {q} of {tokens}", next(j for j in range(1, q) if tokens[j] == tokens[q])
        if first[q, earlier] < 0.9:
            at, weight = int(first[q].argmax()), first[q].max()
            looks = f"At {place} layer 0 looks at {at} ({weight:.2f})"
            if first[q, q] > 0.3:
                hint = f"expected {earlier}: the present position has the same token, too: keep it out"
            elif at == earlier:
                hint = "which is the right one, but too blurred: make the scores larger"
            else:
                hint = f"expected {earlier}: compare tokens"
            raise Wrong(f"{looks}, {hint}.")
        at = int(second[q].argmax())
        if second[q, earlier + 1] < 0.9:
            pointer = x[q, d_vocab + n_ctx : -d_vocab]
            at_0 = f"At {place} layer 0 looks at {earlier}, the right one, but"
            require(
                bool(pointer.any()), f"{at_0} leaves the pointer block empty: OV_0 must copy the position block there."
            )
            to = int(pointer.argmax())
            require(to == earlier, f"{at_0} makes a pointer to {to}: OV_0 must copy the position as it is.")
            require(at != earlier + 1, f"At {place} layer 1 looks at {at} ({second[q, at]:.2f}), which is the right "
                    "one, but too blurred: make the scores larger.")  # fmt: skip
            default = "Its query comes from the pointer block, its keys from the position block."
            hint = default if second[q, at] < 0.5 else {
                earlier: "The pointer must be moved by one, to what came after.",
                earlier - 1: "The pointer is moved by one the wrong way.",
            }.get(at, default)  # fmt: skip
            raise Wrong(f"At {place} layer 1 looks at {at} ({second[q, at]:.2f}), expected {earlier + 1}. {hint}")
        got = int(guess[q].argmax())
        raise Wrong(f"At {place} layer 1 looks at the right key, but the largest output is that of {got}, "
                    f"expected {b}: OV_1 must copy the token into the output block, the last one.")  # fmt: skip


def _known(tokens: list[int]) -> dict[int, int]:
    """Positions whose token has exactly one earlier occurrence, and what followed that."""
    known = {}
    for q in range(1, len(tokens)):
        after = [tokens[j + 1] for j in range(1, q) if tokens[j] == tokens[q]]
        if len(after) == 1:
            known[q] = after[0]
    return known


def _repeats(count: int, d_vocab: int, n_ctx: int, seed: int):
    """Sequences of the start token and N random tokens again and again, N varied, up to n_ctx long."""
    generator = torch.Generator().manual_seed(seed)
    for i in range(count):
        N = int(torch.randint(2, min(d_vocab, n_ctx // 2), (1,), generator=generator))
        if i % 2:
            once = 1 + torch.randperm(d_vocab - 1, generator=generator)[:N]
        else:
            once = torch.randint(1, d_vocab, (N,), generator=generator)
        yield [0, *once.repeat(n_ctx // len(once) + 1).tolist()][:n_ctx]


def _matching(model, tokens, N, earlier, later, sides, off=0) -> torch.Tensor:
    """Mean attention to the induction keys, the earlier head's output taken off what `sides` read: written out."""
    _, cache = model.run_with_cache(tokens)
    whole = cache.resid[1][0] + model.W_pos[: tokens.shape[1]]
    cut = whole - cache.head_out(*earlier)[0]
    q = (cut if "Q" in sides else whole) @ model.W_Q[later]
    k = (cut if "K" in sides else whole) @ model.W_K[later]
    scores = q @ k.T / model.cfg.d_head**0.5
    future = later_keys(len(scores))
    pattern = scores.masked_fill(future, -torch.inf).softmax(-1)
    queries = torch.arange(N + 1, 2 * N + 1)
    return pattern[queries, queries - N + 1 + off].mean()


KINDS = {  # a name: its key in words, and where it is
    "present": ("the present token", lambda q, N: q),
    "previous": ("the previous one", lambda q, N: q - 1),
    "start": ("the start token", lambda q, N: 0 * q),
    "induction": ("key q − N + 1", lambda q, N: q - N + 1),
}


def _habits(N: int):
    """Heads by their weights {kind: [query N + 1 … 2N]}: every kind alone, two at once, near the line, uneven."""
    even = torch.ones(N)
    yield {}
    for kind in KINDS:
        for weight in (0.3, 0.37, 0.43, 0.9):
            yield {kind: weight * even}
        for end in (0, N - 1):  # a mean that one query carries over the line, or keeps from it
            over, under = 0.38 * even, 0.42 * even
            over[end], under[end] = 0.95, 0.0
            yield {kind: over}
            yield {kind: under}
        for other in KINDS:
            if other != kind:
                yield {kind: 0.42 * even, other: 0.5 * even}


def _with_habits(N: int, habit: dict) -> torch.Tensor:
    """A pattern with these weights in the second copy, the rest at key q − N; in the first copy, all at itself."""
    pattern = torch.eye(2 * N + 1)
    q = torch.arange(N + 1, 2 * N + 1)
    pattern[q, q] = 0
    pattern[q, q - N] = 1 - sum(habit.values(), torch.zeros(N))
    for kind, weights in habit.items():
        pattern[q, KINDS[kind][1](q, N)] += weights
    return pattern


def _false_friend(d_vocab: int, N: int) -> AttentionOnlyTransformer:
    """Two heads in layer 1: the first matches, by way of layer 0; the second always looks N − 1 back."""
    n_ctx = 2 * N + 1
    cfg = ModelConfig(n_layers=2, n_heads=2, d_model=2 * d_vocab + 2, d_head=d_vocab, d_vocab=d_vocab, n_ctx=n_ctx)
    model = AttentionOnlyTransformer(cfg).requires_grad_(False)
    for weight in model.parameters():
        weight.zero_()
    token, previous, circle = torch.eye(cfg.d_model).split([d_vocab, d_vocab, 2])
    inside, step = torch.eye(d_vocab), torch.tensor(2 * torch.pi / n_ctx)
    angle = step * torch.arange(n_ctx)
    model.W_E.copy_(token)
    model.W_pos.copy_(torch.stack([angle.cos(), angle.sin()], dim=1) @ circle)
    for layer, head, back in ((0, 0, 1), (1, 1, N - 1)):
        turn = back * step
        turned = torch.tensor([[turn.cos(), -turn.sin()], [turn.sin(), turn.cos()]])
        model.W_Q[layer, head] = 30 / (1 - step.cos()) * d_vocab**0.5 * circle.T @ turned @ inside[:2]
        model.W_K[layer, head] = circle.T @ inside[:2]
    model.W_V[0, 0], model.W_O[0, 0] = token.T @ inside, inside.T @ previous
    model.W_Q[1, 0] = 30 * d_vocab**0.5 * token.T @ inside
    model.W_K[1, 0] = previous.T @ inside + 0.5 * token[0].outer(inside.sum(0))
    return model


@cache
def _trained(seed: int):
    """(name, model, a text) of the shipped model and of one that no page shows."""
    model = load_model("two-layer", "cpu")
    draw = torch.Generator().manual_seed(seed)
    once = common_tokens()[torch.randint(len(common_tokens()), (30,), generator=draw)]
    text = torch.cat([torch.zeros(1, dtype=torch.long), once, once[5:25], once])[None]
    return ("the shipped model", model, text), ("a model that you have not seen", disguised(model, seed)[0], text)


def _pair(head) -> tuple[int, int]:
    """A head as (layer, head); Wrong if it is none."""
    try:
        layer, head = (int(part) for part in head)
    except (TypeError, ValueError) as error:
        raise Wrong(f"A head is (layer, head), such as (1, 10), not {head!r}.") from error
    return layer, head


def _inside(head: tuple[int, int], table: torch.Tensor) -> tuple[int, int]:
    known = all(0 <= place < size for place, size in zip(head, table.shape, strict=True))
    require(known, f"There is no head {head}: layers and heads count from 0.")
    return head


def _permutation(n: int, seed: int) -> list[int]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
