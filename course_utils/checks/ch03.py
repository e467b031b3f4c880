"""Exercises of chapter 3, "One layer: skip-trigrams".

Each checker draws a small random model or pattern, works out the answer by itself, and compares; some do so on the
trained model, too, and on one that is the same in disguise.
"""

import torch

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    close,
    disguised,
    exercise,
    name_mistake,
    normal,
    numbers,
    require,
    require_close,
    require_given,
    require_parts,
    second_half,
    small_model,
)
from course_utils.circuits import through_head
from course_utils.config import ModelConfig
from course_utils.corpus import load_text, load_tokenizer, windows
from course_utils.model import AttentionOnlyTransformer

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=1, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-5  # answers may come in 32-bit numbers
TOLERANT = 1e-3  # so may the trained model


@exercise("Exercise 3.1")
def last_gets(answer, writes_most) -> str:
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
    name_mistake(got, mistakes)
    require_close(got, average.flip(0), "What the head adds", EXACT, "First the weighted average, then the swap.")

    one_layer = _one_layer()
    texts = [load_tokenizer().context(text) for text in ("raise ValueError(", "while True:\n    try")]
    cases = [
        (small_model(SMALL, seed), torch.tensor([ids])) for seed, ids in ((4, [0, 5, 11, 3]), (9, [0, 8, 2, 8, 6]))
    ]
    hidden, untrained = disguised(one_layer, 6)[0], _one_layer(random=True)
    cases += [(model, tokens) for model in (one_layer, hidden, untrained) for tokens in texts]
    for model, tokens in cases:
        got = second_half(writes_most, "writes_most", "The two numbers are right.", model, tokens.clone())
        _judge_writer(got, model, tokens)
    (one, size, rest), (other, *_) = (_best_of(_sizes(one_layer, tokens)) for tokens in texts)
    _, control, others = _best_of(_sizes(untrained, texts[0]))
    return (
        f"Average, then move. In the trained model one text wakes head {one}, which writes {size / rest:.1f} times as "
        f"much as the others, the other text head {other}. Untrained, the largest writes {control / others:.1f} times "
        "as much: nobody is awake."
    )


def _judge_writer(got, model, tokens) -> None:
    got = numbers(got, "Head, size and the others' mean size")
    require(tuple(got.shape) == (3,), f"Your function returns shape {list(got.shape)}, expected three numbers.")
    sizes, cache = _sizes(model, tokens), model.run_with_cache(tokens)[1]
    want = _best_of(sizes)
    x, pattern, W_OV = model.W_E[tokens[0]], cache.pattern[0, 0], model.W_V[0] @ model.W_O[0]
    averages = pattern[:, -1] @ x
    mistakes = {
        "These are the sizes of the averages: W_V W_O comes after.": _best_of(averages.norm(dim=-1)),
        "This is what position 0 gets: take the last one.": _best_of(_sizes(model, tokens, 0)),
        "This is what all positions get: take the last one only.":
            _best_of(torch.stack([each.norm() for each in pattern @ x @ W_OV])),
        "The pattern's axes are query, then key: take the last row.":
            _best_of((pattern[:, :, -1, None] * x @ W_OV).sum(dim=1).norm(dim=-1)),
        "This is with a plain mean over the sources: each counts by its weight.":
            _best_of((x.mean(dim=0) @ W_OV).norm(dim=-1)),
        "This is the last position's own vector, moved: it attends to others, too.":
            _best_of((x[-1] @ W_OV).norm(dim=-1)),
        "Values don't read positions: leave W_pos out.":
            _best_of((pattern[:, -1:] @ (x + model.W_pos[: len(x)]) @ W_OV).norm(dim=-1).flatten()),
        "These are the squares of the sizes.": _best_of(sizes**2),
        "The mean is that of all heads: leave the largest out.": [*want[:2], sizes.mean().item()],
        "This is the head that writes least.": [_best_of(-sizes)[0], *got[1:].tolist()],
    }  # fmt: skip
    says = "The norm of what a head adds to the stream."
    _judge(got, want, mistakes, {"The head": says, "Its size": says, "The others' mean size": says})


@exercise("Exercise 3.2")
def most_needed(answer) -> str:
    small, model = small_model(SMALL, 4, W_V=4, W_O=4), _one_layer()
    ids = load_tokenizer().context("with open(name) as").tolist()[0]
    cases = [(small, [0, 5, 11, 3, 8, 2], 13, 7), (small, [0, 9, 4, 4, 12, 1, 6], 2, 3), (small, [0, 2, 16, 7], 5, 1)]
    cases += [(model, ids, load_tokenizer().one(" get"), load_tokenizer().one(" f"))]
    cases += [(model, *_ids("try:\n    import numpy as", " set", " np"))]
    for model, ids, swap, out in cases:
        got = numbers(answer(model, torch.tensor([ids]), swap, out), "Position, fall and control")
        require(tuple(got.shape) == (3,), f"Your function returns shape {list(got.shape)}, expected three numbers.")
        falls = {place: _fall(model, ids, {place: swap}, out) for place in range(1, len(ids) - 1)}
        want = _best(falls)
        last, everything = len(ids) - 1, list(falls.values())
        mistakes = {
            "The start token is no word of the text: leave position 0 out.":
                _best(falls | {0: _fall(model, ids, {0: swap}, out)}),
            "The last token asks the question: swap only those before it.":
                _best(falls | {last: _fall(model, ids, {last: swap}, out)}),
            "This is the word that stands most in the way: a fall is what log P loses by the swap.":
                _best({place: -fall for place, fall in falls.items()}),
            "The swaps pile up: put each token back before you swap the next.":
                _best({p: _fall(model, ids, dict.fromkeys(range(1, p + 1), swap), out) for p in falls}),
            "Probabilities are compared: take the difference of their logarithms, in nats.":
                _best({p: _fall(model, ids, {p: swap}, out, log=False) for p in falls}),
            "The control is the mean over the *other* positions: leave the largest out.":
                [*want[:2], sum(everything) / len(everything)],
        }  # fmt: skip
        parts = {
            "The position": "Position 0 holds the start token.",
            "The fall": "log P before, less log P after.",
            "The control": "The mean fall over the other positions.",
        }
        _judge(got, want, mistakes, parts)
    return f"In the trained model ` open` is needed most, by {_open()[1]:.2f} nats; the others, {_open()[2]:.2f} each."


@exercise("Exercise 3.3")
def arrives(answer, most_from) -> str:
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
        "You took the mean over the vocabulary off. The question is about the logits as they are.": want - want.mean(),
        "This is a vector of the stream: the logits come after W_U.": weight * x[source] @ W,
        "The same token stands at two positions, and you took both: the source is one position.": same_token,
    }  # fmt: skip
    name_mistake(got, mistakes)
    require_close(got, want, "What arrives", EXACT, "Attention × the source's W_E W_V W_O W_U.")
    parts = [numbers(answer(model, tokens, head, destination, j), "What arrives") for j in range(destination + 1)]
    whole = cache.head_out(0, head)[0, destination] @ model.W_U
    require_close(sum(parts), whole, "The sum over all sources", EXACT, "It should be all that the head adds.")

    one_layer = _one_layer()
    hidden = disguised(one_layer, 7)[0]
    cases = [(small_model(SMALL, 4, W_V=4, W_O=4), [0, 5, 11, 3, 11, 8, 2], 7)]
    cases += [(small_model(SMALL, 9, W_V=4, W_O=4), [0, 3, 6, 6, 12, 1], 2)]
    for text, out in (("try:\n    import numpy as", " np"), ("foo(a, b", ")"), ("x = [1, 2, 3", "]")):
        ids, _, one = _ids(text, " get", out)
        cases += [(one_layer, ids, one), (hidden, ids, one)]
    for model, ids, out in cases:
        tokens = torch.tensor([ids])
        got = second_half(most_from, "most_from", "What arrives is right.", model, tokens.clone(), out)
        _judge_source(got, model, tokens, out)
    ids, _, out = _ids("foo(a, b", " get", ")")
    place, fall, others = _best_of(_falls(one_layer, torch.tensor([ids]), out))
    source = "the start token" if place == 0 else f"position {place}"
    return (
        "One number of the pattern times one row of a table; over all sources, the head. What says most for `)` after "
        f"`foo(a, b` is {source}: without it log P falls by {fall:.2f}, without another source by {others:.2f}."
    )


def _judge_source(got, model, tokens, out: int) -> None:
    got = numbers(got, "Source, fall and the others' mean fall")
    require(tuple(got.shape) == (3,), f"Your function returns shape {list(got.shape)}, expected three numbers.")
    falls, told = _falls(model, tokens, out), _told(model, tokens)
    want, by_place = _best_of(falls), dict(enumerate(falls.tolist()))
    alone = torch.zeros_like(told).index_fill_(1, torch.tensor(out), 1) * told
    pattern = model.run_with_cache(tokens)[1].pattern
    one_head = torch.stack([_arriving(model, tokens, pattern, 0, len(told) - 1, j) for j in range(len(told))])
    mistakes = {
        "The start token counts here: it is a source like all others.": _best({k: by_place[k] for k in by_place if k}),
        "The last position counts: it looks at itself, too.": _best({k: by_place[k] for k in list(by_place)[:-1]}),
        "These are the logits that arrive: take them off, and see how far log P falls.": _best_of(told[:, out]),
        "These are logits less their mean: take them off, and see how far log P falls.":
            _best_of((told - told.mean(dim=1, keepdim=True))[:, out]),
        "You took off what arrives for `out` alone: take it off all logits.":
            _best_of(_falls(model, tokens, out, alone)),
        "This is head 0 alone: take what arrives through all heads together.":
            _best_of(_falls(model, tokens, out, one_head)),
        "Probabilities are compared: take the difference of their logarithms, in nats.":
            _best_of(_falls(model, tokens, out, log=False)),
        "This is what log P gains when nothing arrives: a fall is before, less after.": _best_of(-falls),
        "The control is the mean over the *other* sources: leave the largest out.": [*want[:2], falls.mean().item()],
    }  # fmt: skip
    says = "log P before, less log P without what arrives."
    _judge(got, want, mistakes, {"The source": says, "The fall": says, "The control": says})


@exercise("Exercise 3.4")
def best_source(answer) -> str:
    one_layer, (ids, _, f) = _one_layer(), _ids("with open(name) as", " get", " f")
    shown, order = disguised(one_layer, 3)
    cases = [
        (small_model(SMALL, 4), [0, 5, 11, 3, 11, 8, 2], 7),
        (small_model(SMALL, 9), [0, 3, 6, 6, 12, 1], 2),
        (small_model(SMALL, 10), [0, 4, 13, 2], 5),
        (one_layer, ids, f),
        (shown, ids, f),
    ]
    for model, ids, out in cases:
        tokens = torch.tensor([ids])
        got = numbers(answer(model, tokens, out), "Head, source and amount")
        require(tuple(got.shape) == (3,), f"Your function returns shape {list(got.shape)}, expected three numbers.")
        _, cache = model.run_with_cache(tokens)
        pattern, W_U = cache.pattern[0, 0], model.W_U - model.W_U.mean(dim=1, keepdim=True)
        last = len(ids) - 1
        parts = torch.stack(
            [torch.stack([_arriving(model, tokens, cache.pattern, h, last, j) for j in range(len(ids))])
             for h in range(model.cfg.n_heads)]
        )  # fmt: skip
        raw, parts = parts[..., out], (parts - parts.mean(dim=-1, keepdim=True))[..., out]
        full = model.W_E[tokens[0]] @ model.W_V[0] @ model.W_O[0] @ W_U[:, out]
        mistakes = {
            "Nothing is centred: take the mean over the vocabulary off.": _largest(raw),
            "This looks for the largest size: what pushes ` out` down is no answer.": _largest(parts.abs()),
            "This lowers the logit most: take the largest.": _largest(-parts),
            "The attention is that of position 0: the last position asks.": _largest(full * pattern[:, 0]),
            "This is with full attention: multiply by how much the last position looks at the source.": _largest(full),
            "The pattern's axes are query, then key.": _largest(full * pattern[:, :, -1]),
        }
        want = _largest(parts)
        says = "Over all heads and sources, the largest."
        _judge(got, want, mistakes, {"The head": says, "The source's position": says, "The amount": says})
    head, source, amount = _head_on_open(one_layer, f)
    return (
        f"In the trained model it is head {head}, from position {source}: {amount:+.2f}. In disguise that head is "
        f"number {order[0].index(head)}, and you found it there."
    )


@exercise("Exercise 3.5")
def job_of(answer) -> str:
    start, previous, present = "start", "previous", "present"
    made = {  # name: (positions, what each window gives to which place beyond uniform attention, what it says)
        **{f"{place} {share}": (64, [{place: share}] * 3, "") for place in (start, previous, present)
           for share in (0.5, 0.25)},
        "two back": (64, [{"two back": 0.6}] * 3, "looks two positions back, which is none of the three. Off by one?"),
        "next": (64, [{"two back": 0.3, present: 0.1}] * 2, "looks two positions back, which is none of the three."),
        "short": (24, [{start: 0.5}] * 2, "has 24 positions only: uniform attention gives more there. No constant."),
        "long": (200, [{start: 0.25}] * 2, "has 200 positions: uniform attention gives less there. No constant."),
        "first": (64, [{previous: 0.9}, {}, {}], "looks back in the first window only. The mean is over all windows."),
        "others": (64, [{}, {present: 0.9}, {present: 0.9}], "does its job in the last two windows. Take all."),
        "last": (64, [{}, {}, {"previous": 0.9}], "looks back in the last window only. The mean is over all windows."),
        "just below": (64, [{"start": 0.33}] * 2, "is a little below ten times what uniform attention gives."),
        "just above": (64, [{"start": 0.345}] * 2, "is a little above ten times what uniform attention gives."),
        "below, short": (12, [{"present": 0.9}] * 2, "has 12 positions only, and is a little below the line."),
        "two": (200, [{start: 0.3, previous: 0.4}] * 2, "passes the line twice: its job is the larger."),
        "twice": (200, [{start: 0.25, present: 0.45}] * 2, "passes the line twice: its job is the larger."),
        "again": (200, [{previous: 0.3, present: 0.5}] * 2, "passes the line twice: its job is the larger."),
        "start first": (200, [{start: 0.5, previous: 0.3}] * 2, "passes the line twice: its job is the larger."),
    }  # fmt: skip
    told = {name: says for name, (_, _, says) in made.items()}
    heads = {name: torch.stack([_head(n, shares) for shares in windows]) for name, (n, windows, _) in made.items()}
    for kind in (start, previous, present):  # only some of the queries do it, and the mean just passes or just fails
        for name, rows, says in (
            ("from 8", range(8, 12), "does its job from query 8 on, and not before."),
            ("after 8", range(9, 12), "does its job from query 9 on: query 8 counts, too."),
            ("up to 10", range(8, 11), "does its job at queries 8 to 10: the last query counts, too."),
        ):
            heads[f"{kind} {name}"], told[f"{kind} {name}"] = _head(12, {kind: 1}, rows, {"two back": 1})[None], says
    for name, pattern in heads.items():
        _judge_job(answer, pattern, told[name])
    text = windows(load_text("validation"), 64)[::400]
    found = {}
    for model in (_one_layer(), disguised(_one_layer(), 5)[0], _one_layer(random=True)):
        for head, pattern in enumerate(model.run_with_cache(text)[1].pattern[0].transpose(0, 1)):
            _judge_job(answer, pattern, f"is head {head} of a trained model.")
            found.setdefault(id(model), {}).setdefault(_job(pattern), []).append(head)
    shown, _, random_heads = found.values()
    jobs = ", ".join(f"{kind} {shown[kind]}" for kind in (start, previous, present) if kind in shown)
    return f"In the trained model: {jobs}. Of random heads, {len(random_heads['other'])} of 12 are 'other'."


def _judge_job(answer, pattern: torch.Tensor, says: str) -> None:
    means, line = _means(pattern)
    want, got = _job(pattern), answer(pattern)
    require_given(got)
    require(isinstance(got, str) and got in {*means, "other"},
            f"Your function returns {got!r}, expected 'start', 'previous', 'present' or 'other'.")  # fmt: skip
    measured = ", ".join(f"{place} {mean:.3f}" for place, mean in means.items())
    told = (
        f"You say {got!r}, expected {want!r}. Mean attention over queries from 8 on: {measured}; ten times uniform is"
    )
    require(got == want, f"{told} {line:.3f} there.{says and f' This head {says}'}")


@exercise("Exercise 3.6")
def virtual_head(answer) -> str:
    for pos in (7, 4):
        _judge_virtual_head(answer(pos), pos)
    return "Two heads, one step back each: together, two steps back."


def _judge_virtual_head(got, pos: int) -> None:
    names = ["pattern", "W_V1", "W_O1", "W_V2", "W_O2"]
    require_parts(got, 5, f"Return five matrices: {', '.join(names)}.")
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


def _told(model, tokens) -> torch.Tensor:
    """[source, d_vocab]: what the last position gets from each, through all heads."""
    pattern, last = model.run_with_cache(tokens)[1].pattern, tokens.shape[1] - 1
    heads = range(model.cfg.n_heads)
    return torch.stack(
        [sum(_arriving(model, tokens, pattern, head, last, source) for head in heads) for source in range(last + 1)]
    )


def _falls(model, tokens, out: int, told: torch.Tensor | None = None, log: bool = True) -> torch.Tensor:
    """By how much log P(out), or P(out), is lower at the last position without what each source told."""
    logits = model(tokens)[0, -1]
    told = _told(model, tokens) if told is None else told
    before, after = logits.log_softmax(dim=0)[out], (logits - told).log_softmax(dim=1)[:, out]
    return before - after if log else before.exp() - after.exp()


def _sizes(model, tokens, place: int = -1) -> torch.Tensor:
    """The norm of what each head adds at a position."""
    cache = model.run_with_cache(tokens)[1]
    return torch.stack([cache.head_out(0, head)[0, place].norm() for head in range(model.cfg.n_heads)])


def _one_layer(random: bool = False) -> AttentionOnlyTransformer:
    model = load_model("one-layer", "cpu")
    return AttentionOnlyTransformer.init(model.cfg, seed=1).requires_grad_(False) if random else model


def _ids(text: str, swap: str, out: str) -> tuple[list[int], int, int]:
    tokenizer = load_tokenizer()
    return tokenizer.context(text).tolist()[0], tokenizer.one(swap), tokenizer.one(out)


def _fall(model, ids: list[int], swaps: dict[int, int], out: int, log: bool = True) -> float:
    """By how much log P(out), or P(out), is lower when tokens are swapped."""
    other = [swaps.get(place, token) for place, token in enumerate(ids)]
    before, after = (model(torch.tensor([x]))[0, -1].log_softmax(dim=0)[out] for x in (ids, other))
    return (before - after if log else before.exp() - after.exp()).item()


def _best(falls: dict[int, float]) -> list[float]:
    """The position with the largest fall, the fall, and the mean fall over the others."""
    place = max(falls, key=falls.get)
    return [place, falls[place], (sum(falls.values()) - falls[place]) / max(1, len(falls) - 1)]


def _best_of(values: torch.Tensor) -> list[float]:
    return _best(dict(enumerate(values.tolist())))


def _open() -> list[float]:
    ids, swap, out = _ids("with open(name) as", " get", " f")
    return _best({place: _fall(_one_layer(), ids, {place: swap}, out) for place in range(1, len(ids) - 1)})


def _largest(parts: torch.Tensor) -> list[float]:
    head, source = divmod(int(parts.argmax()), parts.shape[1])
    return [head, source, parts[head, source].item()]


def _head_on_open(model, out: int) -> tuple[int, int, float]:
    tokens = torch.tensor([_ids("with open(name) as", " get", " f")[0]])
    pattern = model.run_with_cache(tokens)[1].pattern
    W_U = (model.W_U - model.W_U.mean(dim=1, keepdim=True))[:, out]
    head, source, amount = _largest(pattern[0, 0, :, -1] * (model.W_E[tokens[0]] @ model.W_V[0] @ model.W_O[0] @ W_U))
    return int(head), int(source), amount


def _head(n: int, shares: dict[str, float], rows: range | None = None, else_: dict[str, float] | None = None):
    """A pattern [query, key] that gives shares to places, at some queries only, and the rest to all alike."""
    pattern = torch.zeros(n, n).double()
    for i in range(n):
        here = shares if rows is None or i in rows else else_
        pattern[i, : i + 1] = (1 - sum(here.values())) / (i + 1)
        for place, share in here.items():
            pattern[i, {"start": 0, "previous": max(i - 1, 0), "present": i, "two back": max(i - 2, 0)}[place]] += share
    return pattern


def _means(pattern) -> tuple[dict[str, float], float]:
    """Mean attention to the three places, and the line, by loops, independent of the chapter's indexing."""
    queries = range(8, pattern.shape[1])
    mean = lambda place: sum(pattern[:, i, place(i)].mean().item() for i in queries) / len(queries)  # noqa: E731
    places = {"start": mean(lambda i: 0), "previous": mean(lambda i: i - 1), "present": mean(lambda i: i)}
    return places, 10 * sum(1 / (i + 1) for i in queries) / len(queries)


def _job(pattern) -> str:
    places, line = _means(pattern)
    best = max(places, key=places.get)
    return best if places[best] >= line else "other"


def _judge(got: torch.Tensor, want: list[float], mistakes: dict[str, list[float]], parts: dict[str, str]) -> None:
    """Raise Wrong unless this is right: with the mistakes that lead to it, or else by its first wrong part."""
    told = [message for message, wrong in mistakes.items() if close(got, wrong, TOLERANT)]
    require(close(got, want, TOLERANT) or not told, " Or: ".join(told))
    for i, (what, hint) in enumerate(parts.items()):
        require_close(got[i], torch.tensor(want[i]), what, TOLERANT, hint)
