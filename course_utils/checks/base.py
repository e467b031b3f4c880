"""What all exercise checkers share.

A checker is a function decorated with `exercise`, called with the reader's answer. It says "not attempted" for a stub,
and otherwise which property failed, with the values. It never stops a notebook: Run All goes on.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode

from course_utils.checks import kept
from course_utils.errors import check_finite

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


def exercise(name: str) -> Callable:
    """Turn a function of the reader's answer, which raises Wrong or returns praise, into a checker."""

    def decorate(judge: Callable[..., str | None]) -> Callable[..., Outcome]:
        @functools.wraps(judge)
        def checker(*answers) -> Outcome:
            try:
                with _FiniteEigenvalues():
                    praise = judge(*answers) or ""
            except NotImplementedError:
                return Outcome(name, "not attempted")
            except Wrong as wrong:
                return Outcome(name, "failed", str(wrong))
            except Exception as error:  # the reader's code may raise anything
                return Outcome(name, "failed", f"Your code raised {type(error).__name__}: {error}")
            kept.note(name, answers)
            return Outcome(name, "passed", praise)

        return checker

    return decorate


class _FiniteEigenvalues(TorchFunctionMode):
    """Raises an error before a number that is not finite ends Python (PyTorch 2.13): the reader's code may make one."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.linalg.eigvals:
            check_finite("the argument of eigvals", torch.as_tensor((*args, *(kwargs or {}).values())[0]))
        return func(*args, **(kwargs or {}))


def require(condition: bool, message: str) -> None:
    """Raise Wrong with this message unless the condition holds."""
    if not condition:
        raise Wrong(message)


def require_close(got, want, what: str, tolerance: float = 1e-4, hint: str = "") -> None:
    """Raise Wrong unless `got` has the shape and the values of `want`; `what` names the thing in the message."""
    if got is None:
        raise Wrong(f"{what} is None: does your function return something?")
    try:
        # A list of Python's numbers keeps its 64 bits.
        tensors = (x if torch.is_tensor(x) else torch.as_tensor(x, dtype=torch.float64) for x in (got, want))
        got, want = (tensor.detach().double().cpu() for tensor in tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(f"{what} should be numbers or a tensor, not {type(got).__name__}") from error
    require(got.shape == want.shape, f"{what} has shape {list(got.shape)}, expected {list(want.shape)}. {hint}".strip())
    far = (got - want).abs()
    if not bool((far <= tolerance).all()):
        where = tuple(torch.unravel_index(far.nan_to_num(torch.inf).argmax(), far.shape)) if far.ndim else ()
        place = f" at {[int(i) for i in where]}" if where else ""
        raise Wrong(f"{what} is {got[where]:.4g}{place}, expected {want[where]:.4g}. {hint}".strip())


def require_shape(got, want: tuple, what: str, hint: str) -> None:
    """Raise Wrong unless `got` is a tensor, or what becomes one, of this shape."""
    require(got is not None, f"{what} is None: does your function return something?")
    shape = tuple(torch.as_tensor(got).shape)
    require(shape == want, f"{what} has shape {list(shape)}, expected {list(want)}. {hint}")


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Numbers that every run draws alike, in 64 bits."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
