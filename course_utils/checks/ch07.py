"""Exercises of chapter 7, "Induction heads".

Each checker makes its own sequences, patterns or small models, works the answer out another way, and compares.
"""

import torch

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    later_keys,
    normal,
    require,
    require_close,
    require_given,
    require_shape,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.model import AttentionOnlyTransformer

SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=19, n_ctx=20)
EXACT = 1e-6


@exercise("Exercise 7.1")
def induction_keys(answer) -> str:
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
    return "Right, on repeats of every kind."


def sorted_lists(lists: list[list[int]]) -> list[list[int]]:
    return [sorted(keys) for keys in lists]


@exercise("Exercise 7.2")
def name_heads(answer) -> str:
    for N in (7, 12):
        patterns = {
            "present": _planted(N, lambda q, N: q, 0.6),
            "previous": _planted(N, lambda q, N: max(q - 1, 0), 0.7),
            "start": _planted(N, lambda q, N: 0, 0.8),
            "induction": _planted(N, lambda q, N: q - N + 1 if q > N else 0, 0.65),
            "other": _planted(N, lambda q, N: q - N if q > N else q, 0.9),  # the same token: off by one
        }
        # A head with a clear habit in the first copy only, and one whose best habit is below 0.4.
        late = {"other ": _planted(N, lambda q, N: q if q <= N else q // 2, 0.9)}
        weak = {"other  ": _planted(N, lambda q, N: q - N + 1 if q > N else 0, 0.3)}
        all_heads = patterns | late | weak
        order = list(_permutation(len(all_heads), N))
        named = [list(all_heads)[i].strip() for i in order]
        stacked = torch.stack([list(all_heads.values())[i] for i in order])
        got = answer(stacked, N)
        require_given(got)
        got = [str(name) for name in got]
        require(len(got) == len(named), f"{len(got)} names for {len(named)} heads.")
        for i, (mine, right) in enumerate(zip(got, named, strict=True)):
            kind = list(all_heads)[order[i]]
            why = {
                "induction": "It attends to key q − N + 1.",
                "other": "It attends to key q − N: the same token, not its successor.",
                "other ": "It attends to the present token in the first copy only: count queries N + 1 … 2N.",
                "other  ": "Its largest mean is below 0.4.",
            }.get(kind, "")
            require(mine == right, f"Head {i} is called {mine!r}, expected {right!r} (N = {N}). {why}".strip())
    return "All heads named."


@exercise("Exercise 7.3")
def shares(answer) -> str:
    for N, seed in ((4, 0), (6, 1)):
        P = 2 * N + 1
        terms = normal((3, 3, P, P), seed)
        for i, q in ((0, N), (1, N + 1)):  # something must stand at the key, or shares are ratios of noise
            terms[i, 2] += 3 * torch.diag(torch.ones(P - N + 1, dtype=terms.dtype), -(N - 1)) * q / N
        got = answer(terms.clone(), N)
        want = _shares(terms, N)
        told = {
            "This is the value at key q − N, the same token: the induction key is q − N + 1.": _shares(
                terms, N, off=-1
            ),
            "This is the value at key q − N + 2: the induction key is q − N + 1.": _shares(terms, N, off=1),
            "The mean over the keys isn't taken off.": _shares(terms, N, mean="none"),
            "The mean is over all keys; only those up to the query are allowed.": _shares(terms, N, mean="all"),
            "The mean leaves the query's own key out; it is allowed too.": _shares(terms, N, mean="before"),
            "These are the advantages: divide by that of the whole score.": _shares(terms, N, divide=False),
            "This is the table transposed: rows are the query's parts.": want.T,
            "These are means of ratios: average over the queries first, then divide.": _shares(terms, N, ratios=True),
            "The queries are N + 1 … 2N: here the last is missing.": _shares(terms, N, last=2 * N - 1),
            "The queries are N + 1 … 2N: here the last token of the first copy is among them.": _shares(
                terms, N, first=N
            ),
        }
        require_shape(got, (3, 3), "The table of shares", "One share for each part of the query and each of the key.")
        for message, wrong in told.items():
            require(not close(got, wrong), message)
        total = float(torch.as_tensor(got).sum())
        require_close(got, want, "A share", EXACT, f"The shares sum to {total:.4g}; they should sum to 1.")
    return "The shares sum to 1, each where it belongs."


@exercise("Exercise 7.4")
def matching_without(answer) -> str:
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
    return "Only that path was cut."


@exercise("Exercise 7.5")
def induction_on_a_circle(answer) -> str:
    for d_vocab, n_ctx, seed in ((17, 40, 0), (23, 61, 1)):
        model = answer(d_vocab, n_ctx)
        require(
            isinstance(model, AttentionOnlyTransformer),
            f"Your function returns {type(model).__name__}, expected an AttentionOnlyTransformer.",
        )
        cfg = model.cfg
        given = (cfg.n_layers, cfg.d_vocab, cfg.n_ctx)
        require(given == (2, d_vocab, n_ctx), f"(n_layers, d_vocab, n_ctx) is {given}, expected {(2, d_vocab, n_ctx)}.")
        widest = 3 * d_vocab + 2
        require(cfg.d_model <= widest, f"d_model is {cfg.d_model}, and {widest} must do: two dimensions for positions.")
        raised = min(_judge_by_hand(model, tokens) for tokens in _repeats(12, d_vocab, n_ctx, seed))
        fresh = torch.arange(min(d_vocab, n_ctx))[None]
        logits, cache = model.run_with_cache(fresh)
        rests = cache.pattern[1, 0, :, 2:, 0].max(0).values.min().item()
        require(rests > 0.5, f"Where the present token is new, attention to the start token falls to {rests:.2f}: give "
                "its key a score between no match and a match.")  # fmt: skip
        said = _standing_out(logits[0, 2:]).max().item()
        require(said < 0.5 * raised, f"Where the present token is new, a logit still stands out by {said:.3g} "
                f"(where it is known, by {raised:.3g}): resting on the start token must add nothing.")  # fmt: skip
    return "Right wherever the next token can be known, and silent elsewhere."


@exercise("Exercise 7.6")
def pointer_weights(answer) -> str:
    for d_vocab, n_ctx, seed in ((13, 27, 0), (16, 33, 1)):
        got = answer(d_vocab, n_ctx)
        require(isinstance(got, tuple | list) and len(got) == 4, "Return four matrices: QK_0, OV_0, QK_1, OV_1.")
        d = 2 * d_vocab + 2 * n_ctx
        weights = []
        for name, W in zip(("QK_0", "OV_0", "QK_1", "OV_1"), got, strict=True):
            require_shape(W, (d, d), name, "The stream is d = 2 * d_vocab + 2 * n_ctx wide.")
            weights.append(torch.as_tensor(W).detach().double())
        for tokens in _repeats(12, d_vocab, n_ctx, seed):
            _judge_pointer(weights, tokens, d_vocab, n_ctx)
    return "Found by pointer, on every sequence."


# --- the checkers' own routes ---


def _judge_by_hand(model: AttentionOnlyTransformer, tokens: list[int]) -> float:
    """By how much the right logit stands out, at the least; Wrong where it doesn't or layer 1 looks elsewhere."""
    logits, cache = model.run_with_cache(torch.tensor([tokens]))
    require(bool(logits.isfinite().all()), "Some logits are not finite: is the gain too large for 32 bits?")
    looks_back = cache.pattern[0, 0].diagonal(-1, -2, -1)[:, 1:].min(-1).values.max().item()
    known = _known(tokens, once=False)
    keys_of = {q: [j + 1 for j in range(1, q) if tokens[j] == tokens[q]] for q in known}
    there_at = {q: cache.pattern[1, 0, :, q][:, keys].sum(-1).max().item() for q, keys in keys_of.items()}
    wrong = [q for q, b in known.items() if int(logits[0, q].argmax()) != b or there_at[q] < 0.5]
    if not wrong:
        return min((_standing_out(logits[0, q]).item() for q in known), default=torch.inf)
    q = wrong[0]
    place = f"position {q} of {tokens}"
    if looks_back < 0.9:
        at = cache.pattern[0, 0, :, q].max(0).values.argmax().item()
        raise Wrong(f"No head of layer 0 looks at the previous token everywhere (least: {looks_back:.2f}); "
                    f"at position {q} it looks at {at}. Does the rotation turn back? Is the gain large?")  # fmt: skip
    keys, there = keys_of[q], there_at[q]
    if there < 0.5:
        at = cache.pattern[1, 0, :, q].max(0).values.argmax().item()
        hint = {0: "The start token's key scores as high as a match or higher.", q: "That is itself."}.get(at, "")
        if at in [key - 1 for key in keys]:
            hint = (
                "That is the same token, off by one: keys must be made of the previous token, not of the token itself."
            )
        raise Wrong(f"At {place} layer 1 looks at {at}, expected {keys} (it gets {there:.2f}). {hint}".strip())
    got = int(logits[0, q].argmax())
    raise Wrong(f"At {place} layer 1 looks at the right key, {keys}, but the largest logit is that of {got}, expected "
                f"{known[q]}: check its values, its output and the unembedding.")  # fmt: skip


def _standing_out(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit less the mean."""
    return logits.max(-1).values - logits.mean(-1)


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
    for q, b in _known(tokens, once=True).items():
        if int(guess[q].argmax()) == b:
            continue
        place, earlier = f"position {q} of {tokens}", next(j for j in range(1, q) if tokens[j] == tokens[q])
        if first[q, earlier] < 0.9:
            at = int(first[q].argmax())
            hint = (
                "the present position has the same token, too: keep it out" if first[q, q] > 0.3 else "compare tokens"
            )
            raise Wrong(f"At {place} layer 0 looks at {at} ({first[q, at]:.2f}), expected {earlier}: {hint}.")
        at = int(second[q].argmax())
        if second[q, earlier + 1] < 0.9:
            default = "Its query comes from the pointer block, its keys from the position block."
            hint = default if second[q, at] < 0.5 else {
                earlier: "The pointer must be moved by one, to what came after.",
                earlier - 1: "The pointer is moved by one the wrong way.",
            }.get(at, default)  # fmt: skip
            raise Wrong(f"At {place} layer 1 looks at {at} ({second[q, at]:.2f}), expected {earlier + 1}. {hint}")
        got = int(guess[q].argmax())
        raise Wrong(f"At {place} layer 1 looks at the right key, but the largest output is that of {got}, "
                    f"expected {b}: OV_1 must copy the token into the output block, the last one.")  # fmt: skip


def _known(tokens: list[int], once: bool) -> dict[int, int]:
    """Positions at which the next token can be known, and what it is; `once`: of exactly one earlier occurrence."""
    known = {}
    for q in range(1, len(tokens)):
        after = [tokens[j + 1] for j in range(1, q) if tokens[j] == tokens[q]]
        if len(after) == 1 or (after and not once and len(set(after)) == 1):
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


def _shares(terms, N, off=0, mean="allowed", divide=True, ratios=False, first=None, last=None):
    first, last = first or N + 1, last or 2 * N
    advantages = []
    for q in range(first, last + 1):
        row = terms[:, :, q]
        keys = {"allowed": row[..., : q + 1], "all": row, "before": row[..., :q], "none": torch.zeros_like(row)}[mean]
        # At the last query "one further" would be a key not allowed in some rows: stay inside.
        advantages.append(row[..., min(q - N + 1 + off, terms.shape[-1] - 1)] - keys.mean(-1))
    table = torch.stack(advantages)
    if ratios:
        return (table / table.sum(dim=(1, 2), keepdim=True)).mean(0)
    table = table.mean(0)
    return table / table.sum() if divide else table


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


def _planted(N: int, key, weight: float) -> torch.Tensor:
    """A pattern with `weight` at one key of each query and the rest spread over the first copy, evenly."""
    P = 2 * N + 1
    pattern = torch.zeros(P, P)
    for q in range(P):
        allowed = min(q + 1, P)
        pattern[q, :allowed] = (1 - weight) / allowed
        pattern[q, key(q, N)] += weight
    return pattern


def _permutation(n: int, seed: int) -> list[int]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
