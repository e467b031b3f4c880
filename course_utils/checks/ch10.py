"""Exercises of chapter 10, "How induction heads form".

Logs are made up, so that what happened in them is known, and shipped ones, with heads in another order and at other
times; a head is tried on repeated random tokens, keys are smeared in the trained model and in one in disguise.
"""

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checkpoints import load_log, load_model
from course_utils.checks.base import (
    Wrong,
    disguised,
    drawn_tokens,
    exercise,
    later_keys,
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
    whole_number,
)
from course_utils.config import ModelConfig
from course_utils.model import AttentionOnlyTransformer
from course_utils.scores import successors

EXACT = 1e-5  # answers may be in 32-bit numbers
LOOKS_BACK = 0.3


@exercise("Exercise 10.1")
def nobody_reads(answer) -> str:
    _judge_runs(answer, _made_up_runs(), "made-up")
    shipped = {name: load_log(name) for name in ("one-layer", "two-layer", *(f"small-two-layer-{i}" for i in range(3)))}
    rng = np.random.default_rng(0)
    hidden = {}
    for letter, name in zip("pqrst", rng.permutation(list(shipped)), strict=True):
        scores = shipped[name]["previous_token"]
        shown = scores[:, :, rng.permutation(scores.shape[2])]  # other heads in the same layers
        hidden[f"run {letter}"] = dict(shipped[name], previous_token=shown)
    _judge_runs(answer, hidden, "shipped")
    return "Of the runs with two layers on this page, that is how many set out where nobody reads."


def _judge_runs(answer, logs: dict, kind: str) -> None:
    got = answer({name: dict(log) for name, log in logs.items()})
    require_given(got)
    require(not isinstance(got, str | dict), "Return a list of names of runs.")
    try:
        got = [str(name) for name in got]
    except TypeError as error:
        raise Wrong(f"Return a list of names of runs, not {type(got).__name__}.") from error
    unknown = sorted(set(got) - set(logs))
    require(not unknown, f"{unknown} are no names of runs: {sorted(logs)}.")
    best = {name: log["previous_token"].max(axis=2) for name, log in logs.items()}

    def where(first, fits=lambda layer, layers: layer == layers - 1 > 0) -> set[str]:
        return {name for name, score in best.items() if fits(first(score), score.shape[1])}

    def first(score) -> int:
        over = (score > LOOKS_BACK).any(axis=1)
        return int(score[over.argmax()].argmax()) if over.any() else -1

    want = where(first)
    mistakes = {
        "A run of one layer is among them: its only layer is the last, but there is no other that could read": where(
            first, lambda layer, layers: layer == layers - 1
        ),
        "You judge by the end of the runs: ask for the first measurement at which a head is above the line": where(
            lambda score: int(score[-1].argmax()) if (score > LOOKS_BACK).any() else -1
        ),
        "You judge by the highest score of the whole run: ask for the first that is above the line": where(
            lambda score: int(score.max(axis=0).argmax()) if (score > LOOKS_BACK).any() else -1
        ),
        "A run in which no head gets there is among them: argmax of nothing but False is 0": where(
            lambda score: first(score) if (score > LOOKS_BACK).any() else score.shape[1] - 1
        ),
        "You count each layer but the first: a head of a middle layer has readers above it": where(
            first, lambda layer, layers: layer > 0
        ),
        "These are the runs that set out where somebody reads": set(logs) - want,
    }
    for told, wrong in mistakes.items():
        require(wrong == want or set(got) != wrong, f"In the {kind} logs: {told}.")
    require(sorted(got) == sorted(want), f"In the {kind} logs you name {sorted(got)}; expected {sorted(want)}.")


def _made_up_runs() -> dict:
    """By a name that says what happens: previous_token scores [measured, layers, heads]."""

    def log(heads: dict, layers: int = 2, n_heads: int = 3) -> dict:
        scores = np.full((9, layers, n_heads), 0.05)
        for (layer, head), values in heads.items():
            scores[:, layer, head] = values
        return {"previous_token": scores, "eval_step": 50 * np.arange(9), "tokens_per_step": 1000}

    def rises(start: int, end: float) -> np.ndarray:
        return np.where(np.arange(9) >= start, end, 0.1)

    return {
        "a": log({(0, 1): rises(3, 0.9), (1, 2): rises(5, 0.6)}),
        "b": log({(0, 0): rises(6, 0.9), (1, 1): rises(2, 0.45)}),  # the last layer first, the other higher
        "c": log({(0, 2): rises(4, 0.8)}, layers=1),
        "d": log({(1, 0): rises(4, 0.3), (0, 1): rises(6, 0.29)}),  # none is above the line
        "e": log({(1, 1): rises(2, 0.7), (2, 0): rises(4, 0.9)}, layers=3),  # a middle layer first
        "f": log({(2, 1): rises(3, 0.31), (0, 0): rises(5, 0.9)}, layers=3),
        "g": log({(1, 0): rises(2, 0.9) * (np.arange(9) < 6), (0, 0): rises(4, 0.5)}),  # its first head fades again
        "h": log({(0, 0): rises(2, 0.4), (1, 0): rises(2, 0.2)}),
    }


@exercise("Exercise 10.2")
def parted(answer) -> str:
    tokens = np.array([1.5, 2.5, 3.5, 5.5, 8.5, 13, 21, 34])
    flat = np.full(8, 3.0)
    leads = {
        "the other one ahead": [0, 0, -0.2, -0.3, -0.3, -0.3, -0.3, -0.3],
        "a lead that stays": [0, 0, 0, 0, 0.3, 0.2, 0.3, 0.4],
        "a lead that is lost, and one that stays": [0.4, 0, -0.1, 0.02, 0.02, 0.06, 0.3, 0.3],
        "a lead that is lost": [0, 0, 0.3, 0.3, 0.3, 0.2, 0.1, 0.04],
        "a lead from the first measurement on": [0.2, 0.2, 0.3, 0.2, 0.3, 0.2, 0.1, 0.2],
        "a lead too small": [0, 0, 0.02, 0.03, 0.04, 0.04, 0.04, 0.04],
        "a lead at the last measurement": [0, 0, 0, 0, 0, 0, 0, 0.2],
    }
    for told, lead in leads.items():
        _judge_parting(answer, tokens, flat - np.array(lead), flat, 0.05, told)
    _judge_parting(answer, tokens, flat - np.array(leads["a lead that stays"]), flat, 0.25, "a wider gap to wait for")
    _judge_parting(answer, tokens, flat - 0.25, flat, 0.25, "a lead of `ahead` and no more")
    for seed in range(3):  # shipped runs, their tokens counted in another unit
        two, one, other = (
            load_log(f"small-{name}") for name in (f"two-layer-{seed}", "one-layer", f"two-layer-{(seed + 2) % 3}")
        )
        unit = two["eval_step"][1:] * (1.7 + seed)
        loss, plain, twin = (log["validation_loss"][1:] for log in (two, one, other))
        _judge_parting(answer, unit, loss, plain, 0.1, f"seed {seed} and one layer")
        _judge_parting(answer, unit, loss, twin, 0.1, "the control, two seeds of two layers")
    return "And two seeds, which differ in nothing that matters, never part by 0.1."


def _judge_parting(answer, tokens, loss, other, ahead: float, told: str) -> None:
    def at(places) -> float | None:
        return float(tokens[places[0]]) if len(places) else None

    lead = other - loss > ahead
    stays = np.flatnonzero(np.logical_and.accumulate(lead[::-1])[::-1])
    want = at(stays)
    got = answer(tokens.copy(), loss.copy(), other.copy(), ahead)
    if got is not None:
        require(np.ndim(got) == 0, f"Return one number of tokens or None, not an array of shape {list(np.shape(got))}.")
        got = float(got)
    mistakes = {
        "That is the first time that it is ahead: does it stay ahead to the end?": at(np.flatnonzero(lead)),
        "There `other` is the lower one: it is `loss` that must be ahead": at(
            np.flatnonzero(np.logical_and.accumulate((loss - other > ahead)[::-1])[::-1])
        ),
        "That is the last measurement at which it is *not* ahead: one further": at(np.flatnonzero(~lead)[-1:]),
        "That is the number of the measurement: return tokens": float(stays[0]) if len(stays) else -1.0,
        "Any lead counts for you: it must be larger than `ahead`": at(
            np.flatnonzero(np.logical_and.accumulate((other > loss)[::-1])[::-1])
        ),
    }
    for what, wrong in mistakes.items():
        require(wrong in (None, want) or got != wrong, f"{what} ({told}).")
    expected = "None: they don't part for good" if want is None else f"{want:.4g} tokens"
    shown = "None" if got is None else f"{got:.4g}"
    require(got == want, f"With {told}: got {shown}, expected {expected}.")


@exercise("Exercise 10.3")
def smear(answer, where_it_looks) -> str:
    keys, alpha = normal((3, 5, 4), 2), torch.tensor([-1.0, 0.4, 2.0], dtype=torch.float64)
    given = keys.clone(), alpha.clone()
    got = answer(*given)
    require(
        torch.equal(given[0], keys) and torch.equal(given[1], alpha), "You changed what you were given: make new keys."
    )
    own = alpha.sigmoid()[:, None, None]
    before = torch.cat([keys[:, :1], keys[:, :-1]], dim=1)
    want = own * keys + (1 - own) * before
    require_shape(got, tuple(want.shape), "The tensor of smeared keys", "One for each key.")
    after = torch.cat([keys[:, 1:], keys[:, -1:]], dim=1)
    nothing = torch.cat([torch.zeros_like(keys[:, :1]), keys[:, :-1]], dim=1)
    raw = alpha[:, None, None]
    mistakes = {
        "The shares are swapped: σ(α) belongs to the key itself": (1 - own) * keys + own * before,
        "The sigmoid is missing: α may be any number, the share σ(α) lies between 0 and 1": raw * keys
        + (1 - raw) * before,
        "Each key is mixed with the one after it: a model must not look ahead": own * keys + (1 - own) * after,
        "The first key is mixed with the last: torch.roll goes round": own * keys + (1 - own) * keys.roll(1, dims=1),
        "The first key is mixed with zeros: let it stay as it is": own * keys + (1 - own) * nothing,
        "Each key is mixed with that of the head before it: the positions are the middle axis": own * keys
        + (1 - own) * torch.cat([keys[:1], keys[:-1]]),
        "Only the key before is left: mix it with the key itself": before,
        "The keys are as they were": keys,
    }
    name_mistake(got, mistakes, "{}.")
    require_close(got, want, "A smeared key", EXACT, "σ(α) of the key itself, 1 − σ(α) of the one before.")
    said = "Every key carries the token before it."
    trained = load_model("two-layer", "cpu").requires_grad_(False)
    hidden, order = disguised(trained, 41)
    few = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=5, d_vocab=17, n_ctx=14)
    for seed in (1, 2, 4, 5):
        small = small_model(few, seed, W_Q=5, W_O=3)
        _judge_look(where_it_looks, said, small, _twice(few, 5, seed), normal((3,), seed), "a small model")
    text = _twice(trained.cfg, 30, 3)
    best = order[1].index(int(_looks(trained, text, torch.full((12,), 10.0)).max(dim=1).values.argmax()))
    all_but_one = torch.full((12,), -10.0)
    all_but_one[best] = 10  # in the disguised model the best head keeps its keys
    for model, alpha, which in (
        (trained, torch.full((12,), 10.0), "the trained model, nothing smeared,"),
        (trained, torch.full((12,), -10.0), "the trained model, all smeared,"),
        (hidden, -all_but_one, "a model of ours"),
        (hidden, all_but_one, "a model of ours"),
    ):
        _judge_look(where_it_looks, said, model, text, alpha, which)
    table = _looks(trained, text, torch.full((12,), -10.0))
    head, places = divmod(int(table.argmax()), 4)
    return (
        f"{said} With all keys smeared, head 1.{head} of the trained model looks {places} places on, "
        f"{table[head, places]:.2f}: its keys had carried that token before, by composition."
    )


def _twice(cfg: ModelConfig, N: int, seed: int) -> torch.Tensor:
    """The start token, N random ones, the same again."""
    once = drawn_tokens(cfg.d_vocab, (1, N), seed)
    return F.pad(torch.cat([once, once], dim=1), (1, 0))


def _looks(model, tokens, alpha, placed: bool = True, root: float = 0.5, layer: int = 1, off=(0, 0)) -> torch.Tensor:
    """[head, places] attention of the second copy's queries so many places after their token's earlier occurrence."""
    N = tokens.shape[1] // 2
    x = model.run_with_cache(tokens)[1].resid[layer][0] + model.W_pos[: 2 * N + 1] * placed
    own = alpha.to(x).sigmoid()[:, None, None]
    k = x @ model.W_K[layer]
    k = own * k + (1 - own) * torch.cat([k[:, :1], k[:, :-1]], dim=1)
    scores = torch.einsum("hqd,hkd->hqk", x @ model.W_Q[layer], k) / model.cfg.d_head**root
    pattern = scores.masked_fill(later_keys(2 * N + 1), -torch.inf).softmax(dim=-1)
    queries = torch.arange(N + 1 + off[0], 2 * N + 1 + off[1])
    return torch.stack([pattern[:, queries, queries - N + places].mean(dim=1) for places in range(4)], dim=1)


def _judge_look(answer, said: str, model, tokens, alpha, which: str) -> None:
    got = second_half(answer, "where_it_looks", said, model, tokens.clone(), alpha.clone())
    require_parts(got, 3, f"where_it_looks returns {got!r}, expected a head, a number of places and a mean.")
    head, places = (whole_number(x, f"The {what}") for x, what in zip(got, ("head", "number of places"), strict=False))
    mean, table = one_number(got[2], "The mean"), _looks(model, tokens, alpha)
    want = divmod(int(table.argmax()), 4)
    told = f"On {which} you find head {head}, {places} places on, {mean:.4f}"
    if (head, places) == want and abs(mean - table.max()) < 1e-4:
        return

    def says(table) -> tuple:
        return *divmod(int(table.argmax()), 4), float(table.max())

    slips = {
        "Nothing is smeared here: use `alpha`.": says(_looks(model, tokens, torch.full_like(alpha, 40))),
        "Queries and keys read positions, too: the stream plus W_pos.": says(
            _looks(model, tokens, alpha, placed=False)
        ),
        "The scores are not divided by √d_head.": says(_looks(model, tokens, alpha, root=0)),
        "That is layer 0: the heads asked for are those of layer 1.": says(_looks(model, tokens, alpha, layer=0)),
        "Query N is the first copy's last: the second copy begins at N + 1, after the start token.": says(
            _looks(model, tokens, alpha, off=(-1, 0))
        ),
        "Your queries are N to 2N − 1: the start token moves them on, N + 1 to 2N.": says(
            _looks(model, tokens, alpha, off=(-1, -1))
        ),
        "The last query is left out: the second copy ends at 2N.": says(_looks(model, tokens, alpha, off=(0, -1))),
        "Count from the earlier occurrence itself: its successor is 1 place on.": (want[0], want[1] - 1, table.max()),
    }
    name_mistake((head, places, mean), slips, f"{told}. {{}}", 1e-4)
    right = f"it is head {want[0]}, {want[1]} places on, {table.max():.4f}"
    raise Wrong(f"{told}; {right}: a mean over the queries of the second copy.")


@exercise("Exercise 10.4")
def smeared_induction(answer) -> str:
    d_vocab, N = 40, 25
    got = answer(d_vocab)
    require_parts(got, 3, "Return three things: W_Q, W_K and alpha.")
    W_Q, W_K, alpha = (torch.as_tensor(x).double() for x in got)
    for name, W in (("W_Q", W_Q), ("W_K", W_K)):
        require(W.shape == (d_vocab, d_vocab), f"{name} has shape {list(W.shape)}, expected [{d_vocab}, {d_vocab}].")
    require(alpha.numel() == 1, f"alpha has shape {list(alpha.shape)}, expected one number.")
    own = alpha.sigmoid().item()
    cfg = ModelConfig(
        n_layers=1, n_heads=1, d_model=d_vocab, d_head=d_vocab, d_vocab=d_vocab, n_ctx=64, smeared_keys=True
    )
    model = AttentionOnlyTransformer(cfg).double().requires_grad_(False)
    model.W_E.copy_(torch.eye(d_vocab))
    model.W_Q[0, 0], model.W_K[0, 0], model.smear[0, 0] = W_Q, W_K, alpha.reshape(())
    worst, to_itself, backwards = 1.0, 0.0, 0.0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        once = 1 + torch.randint(d_vocab - 1, (N,), generator=generator)
        tokens = torch.cat([torch.zeros(1, dtype=torch.long), once, once])[None]
        pattern = model.run_with_cache(tokens)[1].pattern[0, 0, 0]
        require(bool(pattern.isfinite().all()), "The pattern holds nan: the scores are too large to be computed.")
        second = slice(N + 1, 2 * N + 1)
        worst = min(worst, (pattern * successors(tokens)[0])[second].sum(dim=1).mean().item())
        same = (tokens[0][:, None] == tokens[0]) & ~successors(tokens)[0]
        to_itself = max(to_itself, (pattern * same)[second].sum(dim=1).mean().item())
        before = F.pad(tokens[0][:, None] == tokens[0], (0, 1))[:, 1:]  # key j where token j + 1 is mine
        backwards = max(backwards, (pattern * (before & ~successors(tokens)[0]))[second].sum(dim=1).mean().item())
    told = f"Prefix matching is {worst:.2f}, expected over 0.9."
    if worst <= 0.9:
        if own > 0.3 and to_itself > 0.3:
            share = f"σ(alpha) = {own:.2f} is the key's own share, and must be close to 0"
            raise Wrong(f"{told} The head looks at its own token, too ({to_itself:.2f}): {share}.")
        require(backwards < 0.5, f"{told} It looks at the token before the earlier occurrence, not after it.")
        flat = (model.attention_scores(model.W_E[tokens], 0)[0, 0].tril().abs().max()).item()
        if own < 0.3:
            model.W_Q.mul_(50)
            pattern = model.run_with_cache(tokens)[1].pattern[0, 0, 0]
            if (pattern * successors(tokens)[0])[second].sum(dim=1).mean() > 0.9:
                why = f"its scores are {flat:.2g} at most, after the division by √d_head. Make W_Q or W_K larger"
                raise Wrong(f"{told} It looks at the right places, but too softly: {why}.")
        raise Wrong(
            f"{told} The score of query and key should be high where the query's token equals the token before the key."
        )
    return f"Prefix matching {worst:.2f}, with one layer and no previous-token head."
