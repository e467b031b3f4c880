"""What all exercise checkers share.

A checker is a function decorated with `exercise`, called with the reader's answer. It says "not attempted" for a stub,
and otherwise which property failed, with the values. It never stops a notebook, Run All goes on; unless it is asked to:
`check.through_others(through_others, strict=True)` raises NotPassed, as a grader's tests have to.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from course_utils.checks import kept
from course_utils.config import ModelConfig
from course_utils.errors import check_finite
from course_utils.model import AttentionOnlyTransformer

STATUSES = {"passed": "✓", "failed": "✗", "not attempted": "○"}


@dataclass(frozen=True)
class Outcome:
    """What a checker found; shown as one line under the cell."""

    exercise: str
    status: str  # one of STATUSES
    message: str = ""

    def __repr__(self) -> str:
        return f"{STATUSES[self.status]} {self.exercise}: {self.status}" + (f". {self.message}" if self.message else "")


class Wrong(Exception):
    """The answer lacks a property; the message names it and the values."""


class NotPassed(AssertionError):
    """What a strict checker raises; the message is the line that it would have shown."""


def exercise(name: str, answer: str | None = None) -> Callable:
    """Turn a function of the reader's answer, which raises Wrong or returns praise, into a checker.

    answer: what the chapter calls the reader's function, where it is not the checker's own name. Further functions are
    called as the checker's further parameters.
    """

    def decorate(judge: Callable[..., str | None]) -> Callable[..., Outcome]:
        @functools.wraps(judge)
        def checker(*answers, strict: bool = False) -> Outcome:
            outcome = look(answers)
            if strict and outcome.status != "passed":
                raise NotPassed(repr(outcome))
            return outcome

        def look(answers: tuple) -> Outcome:
            try:
                with FiniteEigenvalues():
                    praise = judge(*answers) or ""
            except NotImplementedError:
                return Outcome(name, "not attempted")
            except Wrong as wrong:
                return Outcome(name, "failed", str(wrong))
            except Exception as error:  # the reader's code may raise anything
                return Outcome(name, "failed", f"Your code raised {type(error).__name__}: {error}")
            kept.note(name, answers)
            return Outcome(name, "passed", praise)

        others = list(inspect.signature(judge).parameters)[1:]
        checker.exercise, checker.answers = name, [answer or judge.__name__, *others]
        return checker

    return decorate


class FiniteEigenvalues(TorchFunctionMode):
    """Raises an error before a number that is not finite ends Python (PyTorch 2.13): the reader's code may make one.

    All that PyTorch does while a checker runs goes through this, so it does next to nothing by itself.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None, eigvals=torch.linalg.eigvals):
        if func is eigvals:
            check_finite("the argument of eigvals", torch.as_tensor((*args, *(kwargs or {}).values())[0]))
        return func(*args, **kwargs) if kwargs else func(*args)


def require(condition: bool, message: str) -> None:
    """Raise Wrong with this message unless the condition holds."""
    if not condition:
        raise Wrong(message)


def require_given(got, what: str = "The answer") -> None:
    """Raise Wrong if a function returned nothing."""
    require(got is not None, f"{what} is None: does your function return something?")


def require_parts(got, count: int, message: str) -> None:
    """Raise Wrong with this message unless so many things were returned, in a tuple or a list."""
    require(isinstance(got, tuple | list) and len(got) == count, message)


def numbers(got, what: str) -> Tensor:
    """What was returned as 64-bit numbers, from a tensor, a list or a number; otherwise raise Wrong."""
    require_given(got, what)
    if isinstance(got, list | tuple):
        got = [x.item() if torch.is_tensor(x) and x.ndim == 0 else x for x in got]
    try:
        # A list of Python's numbers keeps its 64 bits.
        got = got if torch.is_tensor(got) else torch.as_tensor(got, dtype=torch.float64)
        real = got.real if got.is_complex() and not bool(got.imag.any()) else got
        require(not real.is_complex(), f"{what} is complex, expected real numbers.")
        return real.detach().double().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(f"{what} should be numbers or a tensor, not {type(got).__name__}") from error


def whole_number(got, what: str) -> int:
    """An index that was returned, from a number or a tensor of one; otherwise raise Wrong."""
    value = numbers(got, what)
    told = f"{what} is {got!r}, expected a whole number, counted from 0."
    require(value.ndim == 0 and bool(value == value.round()), told)
    return int(value)


def one_number(got, what: str) -> float:
    """A number that was returned, from a number or a tensor of one; otherwise raise Wrong."""
    value = numbers(got, what)
    require(value.ndim == 0, f"{what} has shape {list(value.shape)}, expected one number.")
    return value.item()


def close(got, want, tolerance: float = 1e-5) -> bool:
    """Equal, up to the rounding of 32-bit numbers unless told otherwise; a different shape is not close."""
    got, want = numbers(got, "One of the two"), numbers(want, "One of the two")
    return got.shape == want.shape and torch.allclose(got, want, atol=tolerance, rtol=0)


def name_mistake(got, mistakes: Mapping, says: str = "{}", tolerance: float = 1e-5, want=None) -> None:
    """Raise Wrong if `got` is the answer of a known mistake: `says`, with its words in the braces.

    mistakes: by the words, what each leads to. want: the right answer, if a mistake may come to it by chance.
    """
    for words, wrong in mistakes.items():
        if close(got, wrong, tolerance) and (want is None or not close(wrong, want, tolerance)):
            raise Wrong(says.format(words))


def require_close(got, want, what: str, tolerance: float = 1e-4, hint: str = "") -> None:
    """Raise Wrong unless `got` has the shape and the values of `want`; `what` names the thing in the message."""
    got, want = numbers(got, what), numbers(want, what)
    require(got.shape == want.shape, f"{what} has shape {list(got.shape)}, expected {list(want.shape)}. {hint}".strip())
    far = (got - want).abs()
    if not bool((far <= tolerance).all()):
        where = tuple(torch.unravel_index(far.nan_to_num(torch.inf).argmax(), far.shape)) if far.ndim else ()
        place = f" at {[int(i) for i in where]}" if where else ""
        raise Wrong(f"{what} is {got[where]:.4g}{place}, expected {want[where]:.4g}. {hint}".strip())


def require_shape(got, want: tuple, what: str, hint: str) -> None:
    """Raise Wrong unless `got` is a tensor, or what becomes one, of this shape."""
    require_given(got, what)
    shape = tuple(torch.as_tensor(got).shape)
    require(shape == want, f"{what} has shape {list(shape)}, expected {list(want)}. {hint}")


def second_half(answer: Callable, name: str, said: str, *given):
    """What the second function of an exercise returns; the first is right by now, and `said` says so."""
    try:
        got = answer(*given)
    except NotImplementedError:
        raise Wrong(f"{said} That half is right. Now `{name}`, on trained models.") from None
    require_given(got, f"What {name} returns")
    return got


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers that every run draws alike, in 64 bits."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def small_model(cfg: ModelConfig, seed: int, **louder: float) -> AttentionOnlyTransformer:
    """Random weights in 64 bits, some of them so many times as large: `W_O=5`."""
    model = AttentionOnlyTransformer.init(cfg, seed).double().requires_grad_(False)
    for name, times in louder.items():
        getattr(model, name).mul_(times)
    return model


def disguised(model: AttentionOnlyTransformer, seed: int) -> tuple[AttentionOnlyTransformer, list[list[int]]]:
    """A model that computes the same and shows nothing of it by its numbers; and each layer's order of heads.

    Head `new` of a layer is what was head `order[layer][new]`. The stream is rotated, and in each head the dimensions
    in which queries meet keys, and those that values pass through.
    """
    draw = torch.Generator().manual_seed(seed)

    def rotation(*shape: int) -> Tensor:
        return torch.linalg.qr(torch.randn(*shape, dtype=torch.float64, generator=draw)).Q.to(model.W_E)

    model, cfg = copy.deepcopy(model).requires_grad_(False), model.cfg
    order = [torch.randperm(cfg.n_heads, generator=draw).tolist() for _ in range(cfg.n_layers)]
    for layer, heads in enumerate(order):
        for name in ("W_Q", "W_K", "W_V", "W_O", *("smear",) * cfg.smeared_keys):
            weight = getattr(model, name)
            weight[layer] = weight[layer, heads]
    stream = rotation(cfg.d_model, cfg.d_model)
    meet, carry = (rotation(cfg.n_layers, cfg.n_heads, cfg.d_head, cfg.d_head) for _ in range(2))
    for weight in (model.W_E, model.W_pos):
        weight.copy_(weight @ stream)
    for weight, inner in ((model.W_Q, meet), (model.W_K, meet), (model.W_V, carry)):
        weight.copy_(stream.T @ weight @ inner)
    model.W_O.copy_(carry.mT @ model.W_O @ stream)
    model.W_U.copy_(stream.T @ model.W_U)
    return model, order


def drawn_tokens(d_vocab: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Tokens that every run draws alike, no start token among them."""
    return torch.randint(1, d_vocab, shape, generator=torch.Generator().manual_seed(seed))


def later_keys(pos: int) -> Tensor:
    """[query, key]: where a key comes after the query."""
    return torch.ones(pos, pos, dtype=torch.bool).triu(1)
