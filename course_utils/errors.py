"""The one kind of error that the course raises on purpose."""

import operator
import sys
from collections.abc import Mapping
from numbers import Real


class CourseError(ValueError):
    """A mistake that the reader can mend: it names the value, the rule and the remedy.

    >>> raise CourseError("d_model is -3", "it must be a positive integer", "pass e.g. d_model=384")
    Traceback (most recent call last):
    course_utils.errors.CourseError: d_model is -3: it must be a positive integer. Remedy: pass e.g. d_model=384.
    """

    def __init__(self, what: str, rule: str, remedy: str):
        super().__init__(f"{what}: {rule}. Remedy: {remedy}.")
        self.what, self.rule, self.remedy = what, rule, remedy


def is_integer(value) -> bool:
    """Whether `value` is an integer of Python, NumPy or PyTorch; truth values are none."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def check_integer(name: str, value, least: int = 0, most: int | None = None) -> None:
    """Raise CourseError unless `value` is an integer from `least` to `most`."""
    if not is_integer(value) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise CourseError(f"{name} is {value!r}", f"it must be an integer {bounds}", f"change {name}")


def check_number(name: str, value, least: float = 0.0, most: float = sys.float_info.max) -> None:
    """Raise CourseError unless `value` is a finite number from `least` to `most`."""
    right_kind = isinstance(value, Real) and not isinstance(value, bool)
    if not right_kind or not least <= value <= most:
        bounds = f"at least {least}" + (f" and at most {most}" if most != sys.float_info.max else "")
        raise CourseError(f"{name} is {value!r}", f"it must be a finite number, {bounds}", f"change {name}")


def check_finite(name: str, value) -> None:
    """Raise CourseError if a tensor has entries that are not finite: `torch.linalg.eigvals` of a nan ends Python."""
    wrong = value.numel() - int(value.isfinite().sum())
    if wrong:
        rule = f"{wrong} of its {value.numel()} entries are not finite numbers"
        raise CourseError(name, rule, "look where it was made for a division by zero or for a number too large")


def check_type(name: str, value, kind: type | tuple[type, ...], remedy: str) -> None:
    """Raise CourseError unless `value` is of this kind."""
    if not isinstance(value, kind):
        names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise CourseError(f"{name} of type {type(value).__name__}", f"it must be a {names}", remedy)


def check_titled(name: str, value) -> None:
    """Raise CourseError unless `value` is a dict with something in it."""
    if not isinstance(value, Mapping) or not value:
        rule = "it must be a dict of title and values, not empty"
        raise CourseError(f"{name} is {value!r:.40}", rule, "pass e.g. {'head 1.6': values}")
