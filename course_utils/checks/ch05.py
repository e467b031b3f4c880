"""Exercises of chapter 5, "Eigenvalue analysis".

Each checker makes small matrices (in 64-bit numbers), works out the answer by another route, and compares. What is to
be found in a trained model is looked for in the shipped one and in one in disguise.
"""

import torch
from torch.overrides import TorchFunctionMode

from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    disguised,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    numbers,
    one_number,
    require,
    require_close,
    require_given,
    require_parts,
    second_half,
    small_model,
    whole_number,
)
from course_utils.circuits import random_heads
from course_utils.config import ModelConfig
from course_utils.corpus import common_tokens, load_tokenizer
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=23, n_ctx=9)
FEW = ModelConfig(n_layers=1, n_heads=5, d_model=12, d_head=5, d_vocab=12, n_ctx=9)


@exercise("Exercise 5.1")
def predicted(answer, turner) -> str:
    identity = torch.eye(4, dtype=torch.float64)
    maps = {
        "copy": 2 * identity,
        "suppress": -identity,
        "next": identity.roll(1, dims=1) * torch.tensor([-1, 1, 1, 1]),  # column 0 is raised by the last token alone
        "swap": 3 * identity[[1, 0, 3, 2]],
    }
    hints = {
        "copy": "Every mix of tokens is stretched by the same number.",
        "suppress": "Every mix of tokens is turned to its opposite.",
        "next": "Four steps lead back to where one began, with the sign turned: each eigenvalue to the fourth is −1.",
        "swap": "Two tokens that raise each other: their sum is raised, their difference lowered.",
    }
    got = answer()
    require(isinstance(got, dict), f"Your function returns {type(got).__name__}, expected a dict of four lists.")
    require(set(got) == set(maps), f"The names are {sorted(map(str, got))}, expected {sorted(maps)}.")
    for name, M in maps.items():
        values = _complex(got[name], f"The list of {name!r}").flatten()
        require(len(values) == 4, f"{name!r} has {len(values)} eigenvalues, expected 4: count each one as often as it "
                "occurs.")  # fmt: skip
        total, trace = values.sum(), M.trace()
        told = f"The eigenvalues of {name!r} sum to {_show(total)}, but its diagonal sums to {trace:g}."
        require(abs(total - trace) < 1e-6, f"{told} {hints[name]}")
        apart = _apart(values, torch.linalg.eigvals(M))
        require(apart < 1e-6, f"The eigenvalues of {name!r} are others. {hints[name]}")
    said = "All sixteen, without a computer."
    one, two = (load_model(name, "cpu").double().requires_grad_(False) for name in ("one-layer", "two-layer"))
    # In the last two a louder head turns less, and so does one of which a single large pair turns.
    small = [(small_model(SMALL, seed), seed % 2, "a small model") for seed in (14, 15, 19, 113, 1370)]
    for model, layer, which in (
        *small,
        (one, 0, "the trained model of one layer"),
        (disguised(one, 17)[0], 0, "a model of ours"),
        (disguised(two, 16)[0], 1, "a model of ours"),
    ):
        _require_turner(second_half(turner, "turner", said, model, layer), model, layer, which)
    most, chance = _turns(one, 0).max(dim=0), _turns(random_heads(one), 0)
    return (
        f"{said} In the trained model head {most.indices} turns most, by {most.values:.2f}; the random head that turns "
        f"least, by {chance.min():.2f}."
    )


def _turns(
    model: AttentionOnlyTransformer, layer: int, centred: bool = True, part=torch.imag, powers=(1, 1)
) -> torch.Tensor:
    """Of each head of a layer: the sizes of its eigenvalues' imaginary parts (or of others) over those of the whole."""
    W_C = model.W_U - model.W_U.mean(dim=1, keepdim=True) * centred
    values = torch.linalg.eigvals(model.W_O[layer] @ (W_C @ model.W_E) @ model.W_V[layer])
    above, below = (x.abs().pow(power).sum(-1) for x, power in zip((part(values), values), powers, strict=True))
    return above / below


def _require_turner(got, model: AttentionOnlyTransformer, layer: int, which: str) -> None:
    require_parts(got, 2, f"turner returns {got!r}, expected a head and its share.")
    head, share = whole_number(got[0], "The head"), one_number(got[1], "The share")
    want, told = _turns(model, layer), f"On {which}, layer {layer}, you find head {head}, with a share of {share:.4f}"
    require(0 <= head < len(want), f"{told}, expected one of 0 to {len(want) - 1}.")
    best = int(want.argmax())
    if head == best and abs(share - want[best]) < 1e-4:
        return
    least, straight = int(want.argmin()), _turns(model, layer, part=torch.real)
    uncentred = _turns(model, layer, centred=False)
    squares, loud = (int(_turns(model, layer, powers=powers).argmax()) for powers in ((2, 2), (1, 0)))
    slips = {
        "That is the loudest in Σ|Im λ|: divide by Σ|λ| before you compare heads.": (loud, want[loud]),
        "By squares one large pair counts for all: sum the sizes, |Im λ| and |λ|.": (squares, want[squares]),
        "That is the head that turns least: asked is the one that turns most.": (least, want[least]),
        "Those are the real parts: what turns is in the imaginary ones.": (int(straight.argmax()), straight.max()),
        "Those are the real parts, of the right head: what turns is in the imaginary ones.": (best, straight[best]),
        "W_U is not centred: take `centred=True`.": (int(uncentred.argmax()), uncentred.max()),
        "Divide by the sizes of the whole numbers, not of their real parts.": (best, want[best] / straight[best]),
        "The sum of the imaginary parts is 0, they come in pairs: take the size of each first.": (head, 0),
    }
    name_mistake((head, share), slips, f"{told}. {{}}", 1e-4)
    require(head == best, f"{told}; head {best} turns more, {want[best]:.4f}.")
    raise Wrong(f"{told}: the right head. Its share is {want[best]:.4f}: Σ|Im λ| over Σ|λ|.")


@exercise("Exercise 5.2")
def my_positivity(answer) -> str:
    for seed, layer in ((0, 0), (1, 1)):
        model = small_model(SMALL, seed)
        with _NoTable(SMALL.d_vocab):
            got = answer(model, layer)
        _require_positivities(got, model, layer)
    trained = load_model("two-layer", "cpu").double().requires_grad_(False)
    other, order = disguised(trained, 5)
    want = [_positivities(trained, layer) for layer in range(2)]
    for layer, right in enumerate(want):
        for model, each, which in ((trained, right, "the trained model"), (other, right[order[layer]], "one of ours")):
            got = numbers(answer(model, layer), f"Your answer for {which}")
            require_close(got, each, f"On {which}, the positivity of the heads of layer {layer}", 1e-4)
    return (
        f"The least of the trained model's two layers is {torch.stack(want).min():.2f}: exercise 3 asks where it looks."
    )


def _require_positivities(got, model: AttentionOnlyTransformer, layer: int) -> None:
    """Raise Wrong, and name the likely slip, unless these are the positivities of the heads of a layer."""
    n, want = SMALL.n_heads, _positivities(model, layer)
    require_given(got, "Your answer")
    got = torch.stack([torch.as_tensor(x) for x in got]) if isinstance(got, list | tuple) else torch.as_tensor(got)
    require(not got.is_complex(), "Your numbers are complex: Σλ is real, so take .real.")
    got = numbers(got, "Your answer")
    if got.ndim == 0:
        raise Wrong(f"You return one number, {_show(got)}, expected {n}: sum over the eigenvalues of one head, dim=-1.")
    told = f"Your answer has shape {list(got.shape)}, expected [{n}]."
    require(list(got.shape) == [n], f"{told} One number for each head of the layer.")
    W_V, W_O, W_C = model.W_V[layer], model.W_O[layer], model.W_U - model.W_U.mean(dim=1, keepdim=True)
    small = W_O @ (W_C @ model.W_E) @ W_V
    values = torch.linalg.eigvals(small)
    total, real = values.sum(-1).real, values.real
    keys = model.W_E - model.W_E.mean(dim=0)
    mistakes = {
        "They are those of W_U as it is: centre it over the vocabulary first.": _measure(
            W_O @ (model.W_U @ model.W_E) @ W_V),
        "W_U is centred along the wrong axis: take off each row's mean over the tokens, dim=1.": _measure(
            W_O @ ((model.W_U - model.W_U.mean(dim=0)) @ model.W_E) @ W_V),
        "They are those of W_V W_O alone, a map of the stream: begin and end at tokens.": _measure(W_O @ W_V),
        "They are those of the QK circuit.": _measure(
            model.W_K[layer].mT @ (keys.T @ model.W_E) @ model.W_Q[layer]),
        f"They are those of layer {1 - layer}, asked was {layer}.": _positivities(model, 1 - layer),
        "This is the share of eigenvalues with a positive real part: weigh each by its size.": (
            (real > 0).double().mean(-1)),
        "You divide by the sizes of the real parts: |λ| of a complex number is its distance from 0.": (
            total / real.abs().sum(-1)),
        "The sign is lost: take the real part of the sum, not its size.": want.abs(),
        "You divide by |Σλ|, the size of the sum: divide by Σ|λ|, the sum of the sizes.": want.sign(),
        "All are 1, sizes over themselves. Above stand eigenvalues with their signs (singular values have none).": (
            torch.ones(n)),
        "You divide by the sum of singular values: divide by the sizes of the eigenvalues.": (
            total / torch.linalg.svdvals(model.W_E @ W_V @ W_O @ W_C).sum(-1)),
        "You divide by the sum of singular values of the small matrix: eigenvalues have sizes of their own.": (
            total / torch.linalg.svdvals(small).sum(-1)),
        "You divide by how many there are: divide by Σ|λ|.": total / SMALL.d_head,
        "This is the sum alone: divide by Σ|λ|.": total,
        "This is upside down.": 1 / want,
        "You divide by one sum over all heads: each head has its own.": total / values.abs().sum(),
    }  # fmt: skip
    if not close(got, want):
        name_mistake(got, mistakes, f"Head 0 has {got[0]:.4g}, expected {want[0]:.4g}. {{}}")
    require_close(got, want, "The positivity of the heads", hint="The sum of all, over the sum of their sizes.")


@exercise("Exercise 5.3")
def kind(answer, suppressor) -> str:
    chance = torch.tensor([-0.2, 0.31, 0.05, -0.28, 0.1, 0.0], dtype=torch.float64)
    heads = _planted()
    for name, (ov, want, hint) in heads.items():
        A, B = ov.A.clone(), ov.B.clone()
        got = answer(FactoredMatrix(A, B), chance.clone())
        require_given(got, "Your answer")
        said = f"You call {name} {got!r}, expected {want!r}."
        require(got in ("copying", "anti-copying", "neither"), f"You return {got!r}, expected one of the three words.")
        require(got == want, f"{said} {hint}")
    said = f"{len(heads)} heads, each called by its name."
    trained = load_model("two-layer", "cpu").double().requires_grad_(False)
    tokens = drawn_tokens(trained.cfg.d_vocab, (3, 20), 7)
    tokens[:, 0] = load_tokenizer().start_id
    other, _ = disguised(trained, 6)
    planted = _with_suppressor()
    few = drawn_tokens(planted.cfg.d_vocab, (2, 6), 8)
    for model, text, which in (
        (planted, few, "a small model"),
        (trained, tokens, "the trained model"),
        (other, tokens, "a model of ours"),
    ):
        _require_suppressor(suppressor, model, text, which, said)
    head, attention = _suppressor(trained, tokens)
    return f"{said} {head[0]}.{head[1]} would suppress, and gives the start token {attention:.3f} of its attention."


def _suppressor(model: AttentionOnlyTransformer, tokens: torch.Tensor) -> tuple[tuple[int, int], float]:
    table = torch.stack([_positivities(model, layer) for layer in range(model.cfg.n_layers)])
    layer, head = divmod(int(table.argmin()), model.cfg.n_heads)
    return (layer, head), model.run_with_cache(tokens)[1].pattern[layer, :, head, 1:, 0].mean().item()


def _require_suppressor(answer, model: AttentionOnlyTransformer, tokens, which: str, said: str) -> None:
    try:
        got = answer(model, tokens)
    except NotImplementedError:
        raise Wrong(f"{said} That half is right. Now `suppressor`, on trained models.") from None
    require_given(got, "What suppressor returns")
    require(isinstance(got, tuple | list) and len(got) == 2 and isinstance(got[0], tuple | list) and len(got[0]) == 2,
            f"suppressor returns {got!r}, expected (layer, head) and a number.")  # fmt: skip
    (head, attention), found = _suppressor(model, tokens), tuple(whole_number(x, "A layer or a head") for x in got[0])
    if found != head:
        hint = ""
        if found[::-1] == head:
            hint = "The layer comes first."
        elif found[0] != head[0]:
            hint = f"Look through all {model.cfg.n_layers} layers."
        told = f"On {which} you find head {found[0]}.{found[1]}; {head[0]}.{head[1]} has less positivity."
        raise Wrong(f"{told} {hint}".strip())
    every = model.run_with_cache(tokens)[1].pattern
    value, pattern = one_number(got[1], "The attention"), every[head[0], :, head[1]]
    mistakes = {
        "That is of the last query only: take all after the first.": pattern[:, -1, 0].mean(),
        "That is the mean over all heads of the layer.": every[head[0], :, :, 1:, 0].mean(),
        "The first query can look at nothing else: leave it out.": pattern[:, :, 0].mean(),
        "That is attention by the start token, not to it.": pattern[:, 0].mean(),
        "That is one text only.": pattern[0, 1:, 0].mean(),
        "That is of the head of that number in another layer.": every[1 - head[0], :, head[1], 1:, 0].mean(),
    }
    if abs(value - attention) > 1e-4:
        name_mistake(value, mistakes, f"On {which} the attention is {value:.4g}. {{}}")
    require_close(value, attention, f"On {which}, the attention to the start token", 1e-4)


def _with_suppressor() -> AttentionOnlyTransformer:
    """A small model in which one head of layer 0 lowers every mix that it knows."""
    model = small_model(SMALL, 11)
    bracket = (model.W_U - model.W_U.mean(dim=1, keepdim=True)) @ model.W_E @ model.W_V[0, 2]
    model.W_O[0, 2] = -torch.linalg.pinv(bracket) / 1000  # quiet: by the sum alone it is not the least
    return model


@exercise("Exercise 5.4")
def false_friend(answer) -> str:
    trained = load_model("two-layer", "cpu").requires_grad_(False)
    tokens = common_tokens()[::8]
    small = _with_false_friend()
    for model, layer, some, which in (
        (small, 0, torch.arange(FEW.d_vocab), "a small model"),
        (small, 0, torch.tensor([0, 2, 3, 5, 6, 8, 11]), "a small model"),
        (trained, 1, tokens, "the trained model"),
        (disguised(trained, 8)[0], 1, tokens, "a model of ours"),
    ):
        _require_friend(answer(model, layer, some), model, layer, some, which)
    got = answer(small_model(FEW, 5), 0, torch.arange(FEW.d_vocab))
    require(got is None, f"In a model of random heads you find {got!r}, expected None: no head is above one half.")
    head, share = _least(_own_shares(model=trained, layer=1, tokens=tokens))
    return f"Head 1.{head}: by its eigenvalues a copier, and {share:.1%} of these tokens raise themselves most."


def _own_shares(model: AttentionOnlyTransformer, layer: int, tokens: torch.Tensor, measures=None, own=None) -> dict:
    """Of each head of positivity above one half: the share of tokens that raise themselves most. And of slips."""
    measures = _positivities(model, layer) if measures is None else measures
    own = torch.arange(len(tokens)) if own is None else own
    heads = (measures > 0.5).nonzero().flatten().tolist()
    return {h: (_rises(model, layer, h, tokens).argmax(dim=1) == own).double().mean().item() for h in heads}


def _rises(model: AttentionOnlyTransformer, layer: int, head: int, tokens: torch.Tensor) -> torch.Tensor:
    """[token, token]: what each of `tokens`, attended to, raises each of them by, centred over the vocabulary."""
    W_C = (model.W_U - model.W_U.mean(dim=1, keepdim=True))[:, tokens]
    return model.W_E[tokens] @ model.W_V[layer, head] @ (model.W_O[layer, head] @ W_C)


def _least(shares: dict[int, float]) -> tuple[int, float]:
    return min(shares.items(), key=lambda found: found[1])


def _require_friend(got, model: AttentionOnlyTransformer, layer: int, tokens: torch.Tensor, which: str) -> None:
    shares, measures = _own_shares(model, layer, tokens), _positivities(model, layer)
    told = f"On {which} you return None, but {len(shares)} heads of layer {layer} are above one half."
    require(got is not None, f"{told} Do you look at that layer, and return something?")
    require_parts(got, 2, f"You return {got!r}, expected a head and its share.")
    head, share = whole_number(got[0], "The head"), one_number(got[1], "The share")
    told, n = f"On {which} you find head {head}, with a share of {share:.4f}", len(tokens)
    require(head in range(model.cfg.n_heads), f"{told}, expected one of 0 to {model.cfg.n_heads - 1}.")
    right, least = _least(shares)
    if abs(share - least) < 0.1 / n and shares.get(head) == least:
        return
    C = model.W_U[:, tokens] - model.W_U[:, tokens].mean(dim=1, keepdim=True)
    among = _measure(model.W_O[layer] @ (C @ model.W_E[tokens]) @ model.W_V[layer])
    rise = {h: _rises(model, layer, h, tokens).diagonal().mean().item() for h in shares}
    ids = _own_shares(model, layer, tokens, own=tokens)
    poorest, slowest = min(shares, key=lambda head: measures[head]), min(rise, key=rise.get)
    slips = {  # and the answers to which they lead
        "You took the largest share: asked is the least.": [max(shares.items(), key=lambda found: found[1])],
        "The rows of `take(tokens, tokens)` are numbered from 0: compare argmax with a token's place, not its id.": [
            (h, x) for h, x in ids.items() if x == min(ids.values()) != shares[h]],
        "The positivity is that of the whole table, all tokens, not of `tokens` alone.": [
            _least(_own_shares(model, layer, tokens, among))] if (among > 0.5).any() else [],
        "That is the head of least positivity above one half: the least share is asked.": [(poorest, shares[poorest])],
        "Compare the share of tokens, not their mean rise.": [(slowest, shares[slowest]), (slowest, rise[slowest])],
    }  # fmt: skip
    for words, answers in slips.items():
        if any(head == h and abs(share - x) < 0.1 / n for h, x in answers):
            raise Wrong(f"{told}. {words}")
    require(head in shares, f"{told}: its positivity is not above one half, so by its weights it is no copier.")
    more = f"In head {head} {shares[head]:.1%} raise themselves most; in head {right} {least:.1%} do."
    require(shares[head] == least, f"{told}. {more} Take the head of the least share.")
    raise Wrong(f"{told}, expected {least:.4f}: of {n} tokens, those that are the first in their own row among "
                f"these {n}.")  # fmt: skip


def _with_false_friend() -> AttentionOnlyTransformer:
    """Head 0 copies; head 1 has the same eigenvalues, and noise where they do not look; head 2 lowers what it sees.

    Of the other copiers head 3 is the one of least positivity, and head 4 that of least rise: what a slip would name.
    """
    model = small_model(FEW, 20)
    identity = torch.eye(FEW.d_model, dtype=torch.float64)
    model.W_E.copy_(identity)
    model.W_U.copy_(identity)
    for head, noise, size, last in ((0, 0, 1, 1), (1, 4, 1, 1), (2, 0, -1, 1), (3, 0.5, 3, -0.8), (4, 0.5, 0.2, 1)):
        Q = torch.linalg.qr(normal((FEW.d_model, FEW.d_head), 21 + head)).Q
        Q = Q - Q.mean(dim=0)  # its outputs sum to 0: centred as it is
        Q = torch.linalg.qr(Q).Q
        unseen = (identity - Q @ Q.T) @ normal((FEW.d_model, FEW.d_head), 31)
        model.W_V[0, head] = size * (Q + noise * unseen)
        model.W_O[0, head] = Q.T
        model.W_O[0, head, -1] *= last
        if head == 1:  # a constant on all logits, by which this head seems to copy nothing until W_U is centred
            push = -20 * model.W_V[0, head].sum(dim=0)[0].sign() * Q[:, :1]
    model.W_U.add_(push)
    return model


@exercise("Exercise 5.5")
def counterexample(answer) -> str:
    got = answer()
    require_given(got, "Your matrix")
    if torch.is_tensor(got):
        require(not got.is_complex(), "Your matrix is complex: a table of logits is real.")
    try:
        M = torch.as_tensor(got).detach().double().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(f"Your matrix should be a tensor, not {type(got).__name__}.") from error
    require(M.ndim == 2 and M.shape[0] == M.shape[1], f"Your matrix has shape {list(M.shape)}, expected it square.")
    n = len(M)
    require(3 <= n <= 50, f"Your matrix has {n} tokens, expected 3 to 50.")
    require(bool(M.isfinite().all()), "Your matrix has entries that are no finite numbers.")

    scale = M.abs().max().clamp(min=1e-300)
    others = M.clone()
    others.fill_diagonal_(-torch.inf)
    behind = others.amax(dim=1) - M.diagonal()
    least = int(behind.argmin())
    own, most = M[least, least] + 0.0, others[least].max() + 0.0
    row = f"Token {least} raises itself by {own:.4g}"
    tie = f"{row}, and token {int(others[least].argmax())} by as much: a tie. Another token alone must come first."
    require(bool(behind[least].abs() > 1e-9 * scale), tie)
    copies = (
        f"{row} and no other by more than {most:.4g}: it copies itself. In every row another token must come first."
    )
    require(bool(behind[least] > 0), copies)

    centred = M - M.mean(dim=1, keepdim=True)
    values = torch.linalg.eigvals(centred)
    before = _measure(M)
    if not values.abs().max() > 1e-9 * scale:
        hint = "Before centring there are some: they belong to a constant added to a row." * bool(before.abs() > 0.1)
        raise Wrong(f"After centring, no eigenvalue differs from 0. {hint}".strip())
    values = values[values.abs() > 1e-3 * values.abs().max()]  # the others may be zeros that were rounded
    measure = round(float(values.sum().real / values.abs().sum()), 2) + 0.0  # no −0
    worst = values[(values.real / values.abs()).argmin()]
    hint = f"Before centring it is {before:.2f}, but it is the centred one that counts." * bool(before > 0.99)
    told = f"After centring, one eigenvalue is {_show(worst)}, expected none but positive ones. The measure is"
    require(bool(worst.real > 0.999 * worst.abs()), f"{told} {measure:.2f}. {hint}".strip())
    return f"Measure {measure:.2f}, and none of the {n} tokens raises itself most."


class _NoTable(TorchFunctionMode):
    """Watches what is computed: a result of tokens × tokens entries is told."""

    def __init__(self, d_vocab: int):
        super().__init__()
        self.d_vocab = d_vocab

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if torch.is_tensor(result) and result.shape[-2:] == (self.d_vocab, self.d_vocab):
            told = f"On the way you make a table of {self.d_vocab} × {self.d_vocab}, tokens × tokens"
            raise Wrong(f"{told}: in the real model 4096 × 4096. Multiply the thin factors the other way round.")
        return result


def _planted() -> dict[str, tuple[FactoredMatrix, str, str]]:
    """Heads of 12 tokens and rank 4, what they are, and what to say to those who call them something else."""
    n, rank = 12, 4
    B = normal((rank, n), 30)
    B = B - B.mean(dim=1, keepdim=True)
    copier = torch.linalg.pinv(B)  # B @ A is the identity: every mix that B knows raises itself
    mixed = torch.diag(torch.tensor([1.0, -1.0, 0.8, -0.7], dtype=torch.float64))  # measure 0.03
    weak = torch.diag(torch.tensor([1.0, -0.6, 0.7, -0.5], dtype=torch.float64))  # 0.21: above 0, within chance
    low = torch.diag(torch.tensor([-1.0, 0.6, -0.7, 0.32], dtype=torch.float64))  # −0.30, just below chance
    rotation = torch.tensor([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]], dtype=torch.float64)
    constant = 5 * torch.ones(n, dtype=torch.float64)

    def shifted(A, sign):  # a constant, different for each source token, on all logits of a row
        push = copier[:, 0] * 0 + 1.0 / n
        return FactoredMatrix(torch.cat([A, push[:, None]], dim=1), torch.cat([B, sign * constant[None]]))

    not_centred = "It adds a constant to all logits, which changes nothing: centre first, over the output tokens."
    within = "Its measure is not 0, but random heads reach it too: compare with all of `chance`."
    return {
        "a head whose mixes all raise themselves": (
            FactoredMatrix(3 * copier, B), "copying", "Its eigenvalues are all positive."),
        "a head whose mixes all lower themselves": (
            FactoredMatrix(-3 * copier, B), "anti-copying", "Its eigenvalues are all negative: mind the sign."),
        "a head with as much of the one as of the other": (
            FactoredMatrix(copier @ mixed, B), "neither", within),
        "a head with a few more positive eigenvalues than negative": (
            FactoredMatrix(copier @ weak, B), "neither", within),
        "a head with a few more negative eigenvalues than positive": (
            FactoredMatrix(-copier @ weak, B), "neither", within),
        "a head with more negative eigenvalues than any random head": (
            FactoredMatrix(copier @ low, B), "anti-copying", "It is below the least of `chance`: that will do."),
        "a head of rotations": (
            FactoredMatrix(2 * copier @ rotation, B), "neither", "Complex eigenvalues, and their sum is 0."),
        "a head that mostly adds a constant to all logits": (
            shifted(0.5 * copier @ mixed, 1), "neither", not_centred),
        "a head that copies, and adds a negative constant to all logits": (
            shifted(0.5 * copier, -1), "copying", not_centred),
        "a head that lowers what it sees, and adds a constant to all logits": (
            shifted(-0.5 * copier, 1), "anti-copying", not_centred),
    }  # fmt: skip


def _complex(got, what: str) -> torch.Tensor:
    """The answer as a complex tensor: from a tensor, a list of numbers or a number."""
    if got is None:
        raise Wrong(f"{what} is None: does your function return something?")
    try:
        got = torch.as_tensor(got).detach().cpu().to(torch.complex128)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(f"{what} should be numbers or a tensor, not {type(got).__name__}") from error
    require(bool(torch.isfinite(torch.view_as_real(got)).all()), f"{what} has entries that are no finite numbers.")
    return got


def _apart(got: torch.Tensor, want: torch.Tensor) -> float:
    """How far two lists of as many complex numbers are apart, in whatever order: each is used once."""
    if len(got) != len(want):
        return torch.inf
    left, apart = want.tolist(), 0.0
    for value in sorted(got.tolist(), key=abs, reverse=True):
        nearest = min(range(len(left)), key=lambda i: abs(left[i] - value))
        apart = max(apart, abs(left.pop(nearest) - value))
    return apart


def _positivities(model: AttentionOnlyTransformer, layer: int) -> torch.Tensor:
    """Of each head of a layer, from the small matrices; W_U centred over the vocabulary."""
    W_C = model.W_U - model.W_U.mean(dim=1, keepdim=True)
    return _measure((model.W_O[layer] @ (W_C @ model.W_E) @ model.W_V[layer]).double())


def _measure(M: torch.Tensor) -> torch.Tensor:
    values = torch.linalg.eigvals(M)
    return M.diagonal(dim1=-2, dim2=-1).sum(-1) / values.abs().sum(-1).clamp(min=1e-300)


def _show(value) -> str:
    value = complex(value) + 0  # no −0
    return f"{value.real:.4g}" if abs(value.imag) < 1e-9 else f"{value.real:.4g}{value.imag:+.4g}i"
