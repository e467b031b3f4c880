"""Exercises of chapter 5, "Eigenvalue analysis".

Each checker makes small matrices (in 64-bit numbers), works out the answer by another route, and compares.
"""

import torch
from torch.overrides import TorchFunctionMode

from course_utils.checks.base import (
    Wrong,
    close,
    exercise,
    normal,
    require,
    require_close,
    require_given,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.factored import FactoredMatrix

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=23, n_ctx=9)
EXACT = 1e-7  # eigenvalues in 64-bit numbers, relative to the largest


@exercise("Exercise 5.1")
def predicted(answer) -> str:
    identity = torch.eye(4, dtype=torch.float64)
    maps = {
        "copy": 2 * identity,
        "suppress": -identity,
        "next": identity.roll(1, dims=1),
        "swap": 3 * identity[[1, 0, 3, 2]],
    }
    hints = {
        "copy": "Every mix of tokens is stretched by the same number.",
        "suppress": "Every mix of tokens is turned to its opposite.",
        "next": "Four steps lead back to where one began, so each eigenvalue to the fourth power is 1.",
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
    return "All sixteen, without a computer."


@exercise("Exercise 5.2")
def my_positivity(answer) -> str:
    for seed in range(3):
        # Eigenvalues of any kind: real ones of both signs, and complex pairs; the sum is once below zero.
        M = normal((9, 9), 20 + seed)
        M = M - (M.trace() + 5 * (seed - 1)) / 9 * torch.eye(9, dtype=M.dtype)
        values = torch.linalg.eigvals(M)
        got = _complex(answer(values.clone()), "Your measure")
        require(got.ndim == 0 or got.numel() == 1, f"Your measure has shape {list(got.shape)}, expected one number.")
        got = got.reshape(())
        require(abs(got.imag) < 1e-9, f"Your measure is {_show(got)}: it should be real.")
        want = M.trace() / (values.real.square() + values.imag.square()).sqrt().sum()
        parts = values.real
        mistakes = {
            "This is the share of eigenvalues with a positive real part: weigh each by its size.": (parts > 0)
            .double()
            .mean(),
            "You divide by the sizes of the real parts: |λ| of a complex number is its distance from 0.": parts.sum()
            / parts.abs().sum(),
            "The sign is lost: take the real part of the sum, not its size.": want.abs(),
            "You divide by how many there are: divide by Σ|λ|.": parts.mean(),
            "This is the sum alone: divide by Σ|λ|.": parts.sum(),
            "This is upside down.": 1 / want if want else torch.inf,
        }
        if not abs(got.real - want) < 1e-6:
            for told, wrong in mistakes.items():
                require(
                    not abs(got.real - wrong) < 1e-6, f"Your measure is {got.real:.4g}, expected {want:.4g}. {told}"
                )
        require_close(got.real, want, "Your measure", 1e-6, "The sum of all, over the sum of their sizes.")
    return "From −1 to 1, and the sign is kept."


@exercise("Exercise 5.3")
def head_eigenvalues(answer) -> str:
    for seed, layer, head in ((0, 0, 1), (1, 1, 2)):
        model = small_model(SMALL, seed)
        with _NoTable(SMALL.d_vocab):
            got = answer(model, layer, head)
        got = _complex(got, "Your answer").flatten()
        W_V, W_O, W_U = model.W_V[layer, head], model.W_O[layer, head], model.W_U
        W_C = W_U - W_U.mean(dim=1, keepdim=True)
        table = model.W_E @ W_V @ W_O @ W_C
        want = torch.linalg.eigvals(table)
        want = want[want.abs().argsort(descending=True)[: SMALL.d_head]]
        n = SMALL.d_vocab
        told = f"You return {len(got)} numbers, expected {SMALL.d_head}."
        require(len(got) != SMALL.d_model, f"{told} {SMALL.d_model} is d_model: those of a d_model × d_model matrix.")
        require(len(got) != n, f"{told} Those are of the table of tokens × tokens: the small product has them all.")
        require(len(got) == SMALL.d_head, told)
        mistakes = {
            "They are those of W_U as it is: centre it over the vocabulary first.": W_O @ W_U @ model.W_E @ W_V,
            "W_U is centred along the wrong axis: take off each row's mean over the tokens, dim=1.": W_O
            @ (W_U - W_U.mean(dim=0))
            @ model.W_E
            @ W_V,
            "They are those of W_V W_O alone, a map of the stream: begin and end at tokens.": W_O @ W_V,
            "They are those of the QK circuit.": model.W_K[layer, head].T
            @ (model.W_E.T @ model.W_E)
            @ model.W_Q[layer, head],
            "They are those of the QK circuit, keys centred.": model.W_K[layer, head].T
            @ (model.W_E - model.W_E.mean(dim=0)).T
            @ model.W_E
            @ model.W_Q[layer, head],
        }
        for other_layer in range(SMALL.n_layers):
            for other in range(SMALL.n_heads):
                if (other_layer, other) != (layer, head):
                    other_head = model.W_O[other_layer, other] @ W_C @ model.W_E @ model.W_V[other_layer, other]
                    mistakes[f"They are those of head {other_layer}.{other}, asked was {layer}.{head}."] = other_head
        scale = want.abs().max()
        if _apart(got, want) > EXACT * scale:
            for message, wrong in mistakes.items():
                wrong = torch.linalg.eigvals(wrong)
                require(_apart(got, wrong) > EXACT * wrong.abs().max(), f"The eigenvalues are others. {message}")
            real = bool((want.imag.abs() > 1e-9).any()) and not bool((got.imag.abs() > 1e-9).any())
            require(not real, "All yours are real, but this matrix is not symmetric: use eigvals, not eigvalsh.")
            largest = got[got.abs().nan_to_num(0).argmax()]
            raise Wrong(f"The largest eigenvalue is {_show(largest)}, expected {_show(want[0])}. Multiply the thin "
                        "factors the other way round: W_O W_U times W_E W_V.")  # fmt: skip
    return f"{SMALL.d_head} numbers, and no table of tokens × tokens."


@exercise("Exercise 5.4")
def chance_level(answer) -> str:
    n, d_vocab, d_model, d_head = 7, 19, 8, 3
    W_E = normal((d_vocab, d_model), 1) + 2 * normal((1, d_model), 3)
    W_Q, W_K = normal((n, d_model, d_head), 4), normal((n, d_model, d_head), 5)
    keys = W_E - W_E.mean(dim=0)
    want = _by_tables(W_E, W_Q, W_K, keys)
    got = answer(W_E, W_Q, W_K)
    require_given(got, "Your answer")
    got = _complex(torch.stack([torch.as_tensor(x) for x in got]) if isinstance(got, list | tuple) else got, "It")
    got = got.squeeze(-1) if got.ndim == 2 else got
    values = torch.linalg.eigvals(W_K.mT @ keys.T @ W_E @ W_Q)
    if got.ndim == 0:
        raise Wrong(f"You return one number, {_show(got)}, expected {n}: sum over the eigenvalues of one head, dim=-1.")
    require(list(got.shape) == [n], f"Your answer has shape {list(got.shape)}, expected [{n}].")
    require(bool((got.imag.abs() < 1e-9).all()), "Your numbers are complex: Σλ is real, so take .real.")
    mistakes = {
        "That is without centring: take the mean over the tokens off W_E on the keys' side.": _by_tables(
            W_E, W_Q, W_K, W_E
        ),
        "W_E is centred along the wrong axis: its columns run over the vocabulary, so dim=0.": _by_tables(
            W_E, W_Q, W_K, W_E - W_E.mean(dim=1, keepdim=True)
        ),
        "Those are the measures of W_Q W_Kᵀ alone: W_E belongs to the circuit, on both sides.": _measure(W_K.mT @ W_Q),
        "The sign is lost: take the real part of the sum, not its size.": want.abs(),
        "You divide by the sizes of the real parts: |λ| is the distance from 0.": values.real.sum(-1)
        / values.real.abs().sum(-1),
        "You divide by one sum over all heads: each head has its own.": values.real.sum(-1) / values.abs().sum(),
    }
    if not close(got.real, want):
        for told, wrong in mistakes.items():
            require(not close(got.real, wrong), f"Head 0 has {got.real[0]:.4g}, expected {want[0]:.4g}. {told}")
    require_close(got.real, want, "The positivity of the heads", 1e-6, "Compare with the whole table.")
    return f"{n} random heads, between {want.min():.2f} and {want.max():.2f}."


@exercise("Exercise 5.5")
def kind(answer) -> str:
    chance = torch.tensor([-0.2, 0.31, 0.05, -0.28, 0.1, 0.0], dtype=torch.float64)
    heads = _planted()
    for name, (ov, want, hint) in heads.items():
        A, B = ov.A.clone(), ov.B.clone()
        got = answer(FactoredMatrix(A, B), chance.clone())
        require_given(got, "Your answer")
        said = f"You call {name} {got!r}, expected {want!r}."
        require(got in ("copying", "anti-copying", "neither"), f"You return {got!r}, expected one of the three words.")
        require(got == want, f"{said} {hint}")
    return f"{len(heads)} heads, each called by its name."


@exercise("Exercise 5.6")
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
    row = f"Token {least} raises itself by {M[least, least]:.4g} and no other by more than {others[least].max():.4g}"
    require(bool(behind[least] > 1e-9 * scale), f"{row}: it copies itself. In every row another token must come first.")

    centred = M - M.mean(dim=1, keepdim=True)
    values = torch.linalg.eigvals(centred)
    before = _measure(M)
    if not values.abs().max() > 1e-9 * scale:
        hint = "Before centring there are some: they belong to a constant added to a row." * bool(before.abs() > 0.1)
        raise Wrong(f"After centring, no eigenvalue differs from 0. {hint}".strip())
    values = values[values.abs() > 1e-3 * values.abs().max()]  # the others may be zeros that were rounded
    measure = values.sum().real / values.abs().sum()
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


def _by_tables(W_E, W_Q, W_K, keys) -> torch.Tensor:
    """Positivity from the whole QK tables: small here. `keys`: the embedding on the keys' side."""
    return torch.stack([_measure(W_E @ q @ k.T @ keys.T) for q, k in zip(W_Q, W_K, strict=True)])


def _measure(M: torch.Tensor) -> torch.Tensor:
    values = torch.linalg.eigvals(M)
    return M.diagonal(dim1=-2, dim2=-1).sum(-1) / values.abs().sum(-1).clamp(min=1e-300)


def _show(value) -> str:
    value = complex(value)
    return f"{value.real:.4g}" if abs(value.imag) < 1e-9 else f"{value.real:.4g}{value.imag:+.4g}i"
