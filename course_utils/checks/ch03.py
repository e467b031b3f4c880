"""Exercises of chapter 3, "One layer: skip-trigrams".

Each checker draws a small random model, text or pattern, works out the answer by itself, and compares.
"""

import random

import torch

from course_utils.checks.base import (
    close,
    exercise,
    later_keys,
    normal,
    numbers,
    require,
    require_close,
    require_given,
    small_model,
)
from course_utils.circuits import through_head
from course_utils.config import ModelConfig

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=1, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-5  # answers may come in 32-bit numbers


@exercise("Exercise 3.1")
def last_gets(answer) -> str:
    got = numbers(answer(), "What the head adds")
    X, weights = torch.tensor([[2.0, 0], [0, 4], [6, 2]]).double(), torch.tensor([0.5, 0.25, 0.25]).double()
    average = weights @ X
    mistakes = {
        "This is the average of the vectors. The two dimensions are not swapped yet.": average,
        "This is the plain mean: use the weights ½, ¼, ¼.": X.mean(dim=0).flip(0),
        "This is the sum of the vectors: each counts by its weight.": X.sum(dim=0).flip(0),
        "This is the last position's own vector, swapped: it attends to all three.": X[-1].flip(0),
        "This is what the position holds afterwards. The question is what the head adds.": X[-1] + average.flip(0),
    }
    _reject(got, mistakes)
    require_close(got, average.flip(0), "What the head adds", EXACT, "First the weighted average, then the swap.")
    return "Average, then swap; or swap, then average."


@exercise("Exercise 3.2")
def big_matrix(answer) -> str:
    pos, M, D = 3, 5, 2
    W_V, W_O, X = normal((M, D), 0), normal((D, M), 1), normal((pos, M), 2)
    pattern = _pattern(1, pos, 3)[0]
    try:
        got = numbers(answer(pattern, W_V, W_O), "The matrix")
    except RuntimeError as error:
        require("view size" not in str(error), "torch.kron refuses a transposed matrix: write `.T.contiguous()`.")
        raise
    require(
        tuple(got.shape) == (pos * M, pos * M),
        f"The matrix has shape {list(got.shape)}, expected {[pos * M, pos * M]}: {pos} × {M}, both ways.",
    )
    W = W_V @ W_O
    mistakes = {
        "W_V @ W_O is not transposed: the big matrix stands left of the long vector, so W must be W.T.": (pattern, W),
        "The factors are exchanged: with rows put one after the other, the pattern comes first.": (W.T, pattern),
        "The factors are exchanged, and W_V @ W_O is not transposed.": (W, pattern),
        "The pattern is transposed: its rows are queries, and the output's rows are too.": (pattern.T, W.T),
        "The whole matrix is transposed: it should multiply vec(X) from the left.": (pattern.T, W),
    }
    _reject(got, {told: torch.kron(*(factor.contiguous() for factor in factors)) for told, factors in mistakes.items()})
    added = (pattern @ (X @ W_V) @ W_O).flatten()  # what the head adds, with no Kronecker product
    hint = "It should be pattern @ X @ W_V @ W_O, row after row."
    require_close(got @ X.flatten(), added, "The matrix times vec(X)", EXACT, hint)
    columns = [pattern @ unit.reshape(pos, M) @ W_V @ W_O for unit in torch.eye(pos * M).double()]
    require_close(got, torch.stack([column.flatten() for column in columns], dim=1), "An entry", EXACT, hint)
    return f"{pos * M} × {pos * M}, and the same head."


@exercise("Exercise 3.3")
def arrives(answer) -> str:
    model, tokens = small_model(SMALL, 4), torch.tensor([[0, 5, 11, 3, 11, 8, 2]])
    head, destination, source = 1, 5, 2
    _, cache = model.run_with_cache(tokens)
    got = numbers(answer(model, tokens, head, destination, source), "What arrives")
    want = _arriving(model, tokens, cache.pattern, head, destination, source)
    weight, back = cache.pattern[0, 0, head, destination, source], cache.pattern[0, 0, head, source, destination]
    x, W = model.W_E[tokens[0]], model.W_V[0, head] @ model.W_O[0, head]
    same_token = sum(_arriving(model, tokens, cache.pattern, head, destination, j) for j in (2, 4))
    mistakes = {
        "This is with full attention: multiply by how much the destination looks at the source.": want / weight,
        "The attention is that of another head.": want / weight * cache.pattern[0, 0, 0, destination, source],
        "The pattern's axes are query, then key: you took the attention of the source to the destination.":
            want / weight * back,
        "These values read positions. Only queries and keys do.":
            weight * (x[source] + model.W_pos[source]) @ W @ model.W_U,
        "This is the destination's value: take the source's.": weight * x[destination] @ W @ model.W_U,
        "This is all that the head adds at the destination: take the one source only.":
            cache.head_out(0, head)[0, destination] @ model.W_U,
        "This is a vector of the stream: the logits come after W_U.": weight * x[source] @ W,
        "The same token stands at two positions, and you took both: the source is one position.": same_token,
    }  # fmt: skip
    _reject(got, mistakes)
    require_close(got, want, "What arrives", EXACT, "Attention × the source's W_E W_V W_O W_U.")
    parts = [numbers(answer(model, tokens, head, destination, j), "What arrives") for j in range(destination + 1)]
    whole = cache.head_out(0, head)[0, destination] @ model.W_U
    require_close(sum(parts), whole, "The sum over all sources", EXACT, "It should be all that the head adds.")
    return "One number of the pattern times one row of a table; over all sources, the head."


@exercise("Exercise 3.4")
def count_lift(answer) -> str:
    # A wide span, a narrow one, and texts in which sources stand just inside and just outside of it.
    for seed, span, source in ((0, 255, 1), (1, 3, 1), (2, 2, 1), (3, 6, 1), (4, 4, 2)):
        ids = _text(seed)
        got = numbers(answer(list(ids), source, 2, 3, span, 0), "The lift")
        want = _lift(ids, source, 2, 3, span)
        mistakes = {
            "Sources of the document before count here: stop there.": _lift(ids, source, 2, 3, span, across=True),
            f"The span is one too short: {span} tokens before it count.": _lift(ids, source, 2, 3, span - 1),
            f"The span is one too long: {span} tokens before it count.": _lift(ids, source, 2, 3, span + 1),
            "This is P(out | destination, source before): divide by P(out | destination).":
                _lift(ids, source, 2, 3, span, divide=False),
            "You count once for each source. Two sources before one destination are one occasion.":
                _lift(ids, source, 2, 3, span, each=True),
            "A destination is no source of its own occasion: take the tokens before it.":
                _lift(ids, source, 2, 3, span, own=True),
            "Here the span is ignored: a source counts however far away it stands.": _lift(ids, source, 2, 3, 10**6),
            "A destination at the end of its document is no occasion: nothing follows it.":
                _lift(ids, source, 2, 3, span, ends=True),
            "The base is how often out occurs in the text. It should be how often it follows the destination.":
                _lift(ids, source, 2, 3, span, base="out"),
            "The base leaves out destinations with the source before. It should be over all destinations.":
                _lift(ids, source, 2, 3, span, base="without"),
        }  # fmt: skip
        told = [message for message, wrong in mistakes.items() if abs(wrong - want) > EXACT and close(got, wrong)]
        require(not told, f"The lift is {_first(got):.4g}, expected {want:.4g} at span {span}. {' Or: '.join(told)}")
        require_close(
            got, torch.tensor(want).double(), f"The lift at span {span}", EXACT, "Count one occasion by hand."
        )
    return "Five texts, five lifts."


@exercise("Exercise 3.5")
def job_of(answer) -> str:
    n = 64
    i = torch.arange(n)
    base = torch.ones(3, n, n).double().tril()
    made = {}
    for name, keys in {
        "start": 0 * i,
        "previous": (i - 1).clamp(min=0),
        "present": i,
        "next": (i - 2).clamp(min=0),
    }.items():
        peak = torch.zeros(n, n).double()
        peak[i, keys] = 1.0
        for share in (0.5, 0.25):  # ten times uniform is 0.37 here: only the first is enough
            pattern = (1 - share) * base / base.sum(dim=-1, keepdim=True) + share * peak
            made[name, share] = pattern
    early = base / base.sum(dim=-1, keepdim=True)  # uniform but for the first eight queries, which look at themselves
    early[:, :8] = torch.eye(n).double()[:8]
    made["early", 1.0] = early
    mixed = 0.15 * made["previous", 0.5] + 0.85 * made["start", 0.5]
    made["mixed", 1.0] = mixed
    edge = early.clone()  # 10.6 times uniform over queries from 8 on, less than 10 with the first eight left uniform
    edge[:, 8:] = 0.62 * early[:, 8:] + 0.38 * torch.eye(n).double()[(i - 1).clamp(min=0)][8:]
    edge[:, :8] = base[:, :8] / base.sum(dim=-1, keepdim=True)[:, :8]
    made["edge", 1.0] = edge
    for (name, share), pattern in made.items():
        want = _job(pattern)
        got = answer(pattern)
        require_given(got)
        require(isinstance(got, str) and got in {"start", "previous", "present", "other"},
                f"Your function returns {got!r}, expected 'start', 'previous', 'present' or 'other'.")  # fmt: skip
        told = f"You say {got!r}, expected {want!r}, for a head that "
        says = {
            "start": f"gives the start token {share:.2f} of its attention.",
            "previous": f"gives the previous token {share:.2f} of its attention. Row = query, column = key.",
            "present": f"gives the present token {share:.2f} of its attention.",
            "next": "looks two positions back, which is none of the three places. Off by one?",
            "early": "looks evenly over all positions from query 8 on. Leave the first eight queries out.",
            "mixed": "looks mostly at the start token, and at the previous one a little.",
            "edge": "gives the previous token just enough, over queries from 8 on. Both means are over these.",
        }
        reason = says[name]
        if name in ("start", "previous", "present") and want == "other":
            reason += " That is less than ten times what uniform attention gives."
        require(got == want, told + reason)
    return f"{len(made)} heads, each in its place."


@exercise("Exercise 3.6")
def virtual_head(answer) -> str:
    for pos in (7, 4):
        _judge_virtual_head(answer(pos), pos)
    return "Two heads, one step back each: together, two steps back."


def _judge_virtual_head(got, pos: int) -> None:
    names = ["pattern", "W_V1", "W_O1", "W_V2", "W_O2"]
    require(isinstance(got, tuple | list) and len(got) == 5, f"Return five matrices: {', '.join(names)}.")
    shapes = [(pos, pos), (16, 4), (4, 16), (16, 4), (4, 16)]
    parts = []
    for name, part, shape in zip(names, got, shapes, strict=True):
        part = numbers(part, name)
        require(tuple(part.shape) == shape, f"{name} has shape {list(part.shape)}, expected {list(shape)}.")
        parts.append(part)
    A, W_V1, W_O1, W_V2, W_O2 = parts
    previous = torch.zeros(pos, pos).double()
    previous[torch.arange(pos), (torch.arange(pos) - 1).clamp(min=0)] = 1
    require(not close(A, previous.T) and not bool((A.triu(1).abs() > EXACT).any()),
            "The pattern looks ahead: row = the position that looks, column = the one looked at.")  # fmt: skip
    rows = A.sum(dim=1)
    far = (rows - 1).abs().argmax()
    require(bool((rows - 1).abs().max() < EXACT),
            f"Row {int(far)} of the pattern sums to {rows[far].item():.4g}, expected 1. Row 0: at itself.")  # fmt: skip
    two_back = torch.zeros(pos, pos).double()
    two_back[torch.arange(pos), (torch.arange(pos) - 2).clamp(min=0)] = 1
    require(
        not close(A, two_back), "The pattern looks two positions back. Each head looks back one: two heads make two."
    )
    require_close(A, previous, "The pattern", EXACT, "Row i holds a single 1, at i − 1; row 0 at itself.")
    space = dict(zip("ABCD", torch.eye(16).double().split(4), strict=True))  # space["A"]: [4, 16]
    for number, W, read, write in ((1, W_V1 @ W_O1, "A", "B"), (2, W_V2 @ W_O2, "B", "C")):
        moved = {(a, b): space[a] @ W @ space[b].T for a in space for b in space}
        for (a, b), block in moved.items():
            if (a, b) != (read, write):
                require(close(block, torch.zeros(4, 4).double()),
                        f"Head {number} moves something from {a} to {b}, not only {read} to {write}.")  # fmt: skip
        hint = "The identity, between the two subspaces."
        require_close(moved[read, write], torch.eye(4), f"What head {number} does from {read} to {write}", EXACT, hint)
    X = normal((pos, 16), pos)
    after = X + A @ X @ W_V1 @ W_O1  # run the two heads: nothing is taken from the products above
    second = A @ after @ W_V2 @ W_O2
    from_first = second - A @ X @ W_V2 @ W_O2
    want = torch.zeros(pos, 16).double()
    want[:, 8:12] = X[(torch.arange(pos) - 2).clamp(min=0), :4]
    require_close(
        from_first, want, "What head 2 adds through head 1", EXACT, "It should be A of two positions back, in C."
    )


def _arriving(model, tokens, pattern, head: int, destination: int, source: int) -> torch.Tensor:
    """By another route: the head's output with the other sources' vectors set to zero."""
    x = torch.zeros_like(model.W_E[tokens])
    x[0, source] = model.W_E[tokens[0, source]]
    return through_head(model, x, pattern[0, :, head], 0, head)[0, destination] @ model.W_U


def _lift(
    ids, source, destination, out, span, across=False, divide=True, each=False, ends=False, own=False, base="all"
) -> float:
    """The lift; the keywords make one mistake each."""
    with_source, every, without = [], [], []
    for place, token in enumerate(ids):
        after = ids[place + 1] if place + 1 < len(ids) else 0
        if token != destination or (after == 0 and not ends):
            continue
        before = ids[max(0, place - span) : place + own]
        if 0 in before and not across:
            before = before[len(before) - before[::-1].index(0) :]
        n = before.count(source)
        every.append(after == out)
        with_source += [after == out] * (n if each else min(n, 1))
        without += [after == out] * (n == 0)
    mean = lambda values: sum(values) / max(1, len(values))  # noqa: E731
    frequent = ids.count(out) / sum(token != 0 for token in ids)
    bases = {"all": mean(every), "out": frequent, "without": mean(without) or 1.0}
    return mean(with_source) / (bases[base] if divide else 1)


def _text(seed: int) -> list[int]:
    """Documents of 2 to 25 tokens out of 1…6; after 2, 3 is likelier if 1 stands before; some documents end in 2."""
    draw = random.Random(seed)
    ids = []
    for _ in range(60):
        document = []
        for _ in range(draw.randint(2, 25)):
            likely = document[-1:] == [2] and 1 in document and draw.random() < 0.5
            document.append(3 if likely else draw.choice((1, 2, 2, 3, 4, 5, 6)))
        ids += [0, *document]
    return ids


def _job(pattern) -> str:
    """The job by loops, independent of the chapter's indexing."""
    queries = range(8, pattern.shape[1])
    mean = lambda place: sum(pattern[:, i, place(i)].mean().item() for i in queries) / len(queries)  # noqa: E731
    places = {"start": mean(lambda i: 0), "previous": mean(lambda i: i - 1), "present": mean(lambda i: i)}
    best = max(places, key=places.get)
    return best if places[best] >= 10 * sum(1 / (i + 1) for i in queries) / len(queries) else "other"


def _pattern(batch: int, pos: int, seed: int) -> torch.Tensor:
    return normal((batch, pos, pos), seed).masked_fill(later_keys(pos), float("-inf")).softmax(dim=-1)


def _reject(got: torch.Tensor, mistakes: dict[str, torch.Tensor]) -> None:
    for told, wrong in mistakes.items():
        require(not close(got, wrong), told)


def _first(got: torch.Tensor) -> float:
    return float(got.flatten()[0])
