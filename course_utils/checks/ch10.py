"""Exercises of chapter 10, "How induction heads form".

Curves are made up, so that their order, their score or their bump is known; a head is tried on repeated random tokens.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checks.base import (
    Wrong,
    close,
    exercise,
    normal,
    require,
    require_close,
    require_given,
    require_shape,
)
from course_utils.config import ModelConfig
from course_utils.model import AttentionOnlyTransformer
from course_utils.scores import successors

EXACT = 1e-5  # answers may be in 32-bit numbers


@exercise("Exercise 10.1")
def order_of_events(answer) -> str:
    # Some rise and some fall, none starts at zero, each has its own times; the middle is reached at `middle`.
    middle = {"a": 2.0, "d falls": 3.5, "c small": 4.5, "b": 6.0}
    first_and_last = {"a": (0.2, 0.9), "b": (-3.0, 5.0), "c small": (0.050, 0.058), "d falls": (0.1, -0.3)}
    curves = {}
    for name, measurements in {"a": 161, "b": 41, "c small": 81, "d falls": 141}.items():
        tokens = np.linspace(0, 10, measurements)
        way = _sigmoid((tokens - middle[name]) / 0.4)
        low, high = first_and_last[name]
        curves[name] = (tokens, low + (high - low) * way)
    got = answer({name: (tokens.copy(), values.copy()) for name, (tokens, values) in curves.items()})
    require_given(got)
    require(not isinstance(got, str | dict), "Return a list of names, the earliest first.")
    try:
        got = [str(name) for name in got]
    except TypeError as error:
        raise Wrong(f"Return a list of names, the earliest first, not {type(got).__name__}.") from error
    require(sorted(got) == sorted(curves), f"The names are {got}; expected each of {sorted(curves)} once.")
    want = sorted(middle, key=middle.get)

    def by(when) -> list[str]:
        return sorted(curves, key=lambda name: when(*curves[name]))

    mistakes = {
        "The list begins with the latest": want[::-1],
        "That is the order by the number of the measurement: each curve has its own times": by(
            lambda t, v: np.argmax((v - v[0]) / (v[-1] - v[0]) >= 0.5)
        ),
        "That is the order in which they pass half of the last value: the curves don't start at zero": by(
            lambda t, v: t[np.argmax(v / v[-1] >= 0.5)]
        ),
        "For a curve that falls, the middle is passed from above": by(
            lambda t, v: t[np.argmax(v >= (v[0] + v[-1]) / 2)]
        ),
        "That is the order in which they pass 0.5: ask each one for the middle of its own way": by(
            lambda t, v: t[np.argmax(v >= 0.5)]
        ),
    }
    for told, wrong in mistakes.items():
        require(wrong == want or got != wrong, f"{told}. Expected {', '.join(want)}.")
    require(got == want, f"The order is {', '.join(got)}; expected {', '.join(want)}.")
    return "Four curves, each on its own scale, in their order."


@exercise("Exercise 10.2")
def in_context(answer) -> str:
    losses = 5 - 0.01 * torch.arange(255.0, dtype=torch.float64) + 0.3 * normal((6, 255), 1)
    losses[:, ::16] += 2  # the ends of the stretches matter
    losses[:, [31, 64, 191, 254]] += torch.tensor([3.0, 5.0, 7.0, 11.0])
    got = answer(losses.clone())
    late, early = losses[:, 192:255].mean(), losses[:, 32:64].mean()
    want = late - early
    if got is not None and np.ndim(got) == 0:
        mistakes = {
            "The sign is turned round: late less early, so that below zero means that context helps": early - late,
            "Position 254 is included: a slice leaves its end out": losses[:, 192:254].mean() - early,
            "Position 63 is included: a slice leaves its end out": late - losses[:, 32:63].mean(),
            "Positions 63 and 254 are included: a slice leaves its end out": losses[:, 192:254].mean()
            - losses[:, 32:63].mean(),
            "Column p is position p: don't shift": losses[:, 191:254].mean() - losses[:, 31:63].mean(),
            "These are the losses of two single positions: take the means of two stretches": losses[:, 254].mean()
            - losses[:, 63].mean(),
            "This is the late loss alone: take the early one off": late,
            "These are sums: take means": losses[:, 192:255].sum() - losses[:, 32:64].sum(),
        }
        for told, wrong in mistakes.items():
            require(
                abs(float(got) - float(wrong)) > EXACT, f"{told}. Got {float(got):.4g}, expected {float(want):.4g}."
            )
    require_close(got, want, "The score", EXACT, "One number, the mean over all windows.")
    return f"The score is {float(want):.2f}."


@exercise("Exercise 10.3")
def smear(answer) -> str:
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
    for told, wrong in mistakes.items():
        require(not close(got, wrong), f"{told}.")
    require_close(got, want, "A smeared key", EXACT, "σ(α) of the key itself, 1 − σ(α) of the one before.")
    return "Every key carries the token before it."


@exercise("Exercise 10.4")
def windows_of_step(answer) -> str:
    n_windows, batch = 1000, 16

    def draw(seed: int, step: int) -> tuple[int, ...]:
        got = answer(seed, step, n_windows, batch)
        require_given(got)
        got = torch.as_tensor(got)
        require(got.shape == (batch,), f"A step has windows of shape {list(got.shape)}, expected [{batch}].")
        require(
            not got.is_floating_point(), f"The numbers are of type {got.dtype}: windows are counted in whole numbers."
        )
        got = got.tolist()
        require(0 <= min(got) and max(got) < n_windows, f"Window {max(got)} or {min(got)} is not among {n_windows}.")
        return tuple(got)

    torch.manual_seed(0)
    untouched = torch.rand(3)
    torch.manual_seed(0)
    one_by_one = {(seed, step): draw(seed, step) for seed in range(3) for step in range(40)}
    same = torch.equal(untouched, torch.rand(3))
    torch.manual_seed(12345)
    resumed = {key: draw(*key) for key in sorted(one_by_one, reverse=True)}
    changed = next((key for key in one_by_one if one_by_one[key] != resumed[key]), None)
    if changed is not None:
        raise Wrong(f"Seed {changed[0]}, step {changed[1]} gives other windows when it is asked for again: "
                    "they depend on what happened before. Seed a generator of your own.")  # fmt: skip
    require(same, "PyTorch's own random numbers have moved: use a torch.Generator in place of torch.manual_seed.")
    require(one_by_one[0, 0] != one_by_one[0, 1], "Steps 0 and 1 of seed 0 get the same windows: the step must matter.")
    require(one_by_one[0, 0] != one_by_one[1, 0], "Seeds 0 and 1 get the same windows at step 0: the seed must matter.")
    met = {}
    for key, drawn in one_by_one.items():
        if drawn in met:
            raise Wrong(f"Seed {key[0]}, step {key[1]} gets the windows of seed {met[drawn][0]}, step {met[drawn][1]}: "
                        "two pairs must not be mapped to one number, as seed + step and seed · step do.")  # fmt: skip
        met[drawn] = key
    twice = next((drawn for drawn in met if len(set(drawn)) < batch), None)
    require(twice is None, f"One step has the same window twice: {twice}. torch.randperm draws without repeats.")
    everything = torch.tensor(list(met)).flatten()
    seen = len(everything.unique())
    # 1 920 numbers drawn evenly from 1 000 leave about 147 out.
    require(
        seen > 780, f"In {len(met)} steps only {seen} of {n_windows} windows come up: draw evenly from all of them."
    )
    in_order = sum(list(drawn) == sorted(drawn) for drawn in met)
    require(in_order < len(met) / 2, "The windows of a step follow one another in order: draw them at random.")
    return "Interrupted anywhere, it goes on the same."


@exercise("Exercise 10.5")
def bump(answer) -> str:
    tokens = np.geomspace(1e5, 2e7, 240)
    logarithm = np.log(tokens)
    for middle, drop in ((1.5e6, 0.5), (4e6, 0.35), (8e6, 0.6)):
        loss = _early(logarithm) + _fall(logarithm, middle, 0.15, drop)
        got = answer(tokens.copy(), loss.copy())
        require(got is not None, f"There is a bump at {middle:.3g} tokens, but you return None.")
        require(np.ndim(got) == 0, f"Return one number of tokens, not an array of shape {list(np.shape(got))}.")
        got, rate = float(got), -np.gradient(loss, logarithm)
        want = _second_peak(tokens, rate)
        told = f"Got {got:.4g}, expected {want:.4g} tokens."
        place = int(np.argmin(np.abs(tokens - want)))
        per_token = -np.gradient(loss, tokens)
        lowest = _first_minimum(rate)
        mistakes = {
            "That is the number of the measurement: return tokens": place,
            "That is the logarithm of the tokens": math.log(want),
            "That is the steep fall at the very beginning: look only after the first minimum": tokens[np.argmax(rate)],
            "That is where s is smallest: the bump lies where it is largest again": tokens[lowest],
            "That is the height of s at the bump: return the tokens there": rate[place],
            "That is the derivative by tokens, which makes all that is early look steep: take that by ln(tokens)":
            _second_peak(tokens, per_token) or -1.0,
        }  # fmt: skip
        for what, wrong in mistakes.items():
            require(abs(wrong / want - 1) < 0.05 or abs(got / wrong - 1) > 1e-6, f"{what}. {told}")
        require(abs(got / want - 1) < 0.05, f"{told} The bump was put at {middle:.4g}; s is steepest near it.")
    got = answer(tokens.copy(), _early(logarithm))
    require(got is None, f"This loss falls ever more slowly and has no bump, but you return {got}: expected None.")
    return "Three bumps found, and none where there is none."


@exercise("Exercise 10.6")
def smeared_induction(answer) -> str:
    d_vocab, N = 40, 25
    got = answer(d_vocab)
    require(isinstance(got, tuple | list) and len(got) == 3, "Return three things: W_Q, W_K and alpha.")
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


def _early(logarithm):
    """The fall that every loss has: steep at first, then slower and slower."""
    return 2.5 + 60 * np.exp(-0.4 * (logarithm - 4)) + 1.2 * np.exp(-1.5 * (logarithm - logarithm[0]))


def _fall(logarithm, middle: float, width: float, drop: float):
    return -drop * _sigmoid((logarithm - np.log(middle)) / width)


def _first_minimum(s) -> int | None:
    inner = (s[1:-1] < s[:-2]) & (s[1:-1] <= s[2:])
    return int(np.argmax(inner)) + 1 if inner.any() else None


def _second_peak(tokens, s) -> float | None:
    start = _first_minimum(s)
    return None if start is None else float(tokens[start + np.argmax(s[start:])])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
