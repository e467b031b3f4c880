"""What a function takes, declared once: `checked` holds every call to the function's annotations.

A declaration is an annotation. `Annotated` adds what else must hold, what the value is made into, and the remedy:

    layer: Annotated[int, within(below="n_layers")]
    tokens: Annotated[Integer[Tensor, "batch pos"], within(below="d_vocab"), long("pos", 1, "n_ctx"), "see encode"]

An axis has one size in a whole call. Axes and limits that are named as a size of a model (`d_model`, `n_layers` …) have
that size if an argument of the call is a model. What must hold between several values is left to the function.
"""

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Real
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
from jaxtyping import Complex, Float

from course_utils.device import to_numpy
from course_utils.errors import CourseError, is_integer

MOST = sys.float_info.max  # infinity and NaN are beyond any limit
WORDS = {
    int: "an integer", float: "a finite number", bool: "True or False", str: "a string", Mapping: "a dict",
    Sequence: "a list", Iterable: "a list", Any: "numbers", object: "",
}  # fmt: skip


class Rule(NamedTuple):
    """A condition on a value and the sizes known by then, and its words."""

    holds: Callable[[Any, dict], bool]
    says: Callable[[dict], str]
    of: tuple = ()  # what it was made from: tests make bad values of it


class Made(NamedTuple):
    """The function gets what `by` makes of the value."""

    by: Callable


def within(least: float = 0, most: float = MOST, below: str = "") -> Rule:
    """A number, or each of an array, is at least `least`, at most `most`, and less than the size named `below`."""
    top = lambda sizes: sizes[below] - 1 if below in sizes else most  # noqa: E731
    return Rule(
        lambda value, sizes: all(least <= each <= top(sizes) for each in _range(value)),
        lambda sizes: (
            f"of at least {least}"
            if top(sizes) == MOST
            else f"from {least} to {top(sizes)}"
            if top(sizes) >= least
            else f"from {least}, but {below} is {sizes[below]}"
        ),
        (within, least, most, below),
    )


def long(axis: str, least: int = 1, most: float | str = MOST) -> Rule:
    """From `least` to `most` places along an axis; `most` may be the name of a size."""
    top = lambda sizes: sizes.get(most, most)  # noqa: E731
    return Rule(
        lambda value, sizes: least <= sizes[axis] <= top(sizes),
        lambda sizes: f"with {least} {'or more' if top(sizes) == MOST else f'to {top(sizes)}'} along {axis}",
        (long, axis, least, most),
    )


FILLED = Rule(lambda value, sizes: len(value) > 0, lambda sizes: "that is not empty", (len,))
FINITE = Rule(
    lambda value, sizes: all(map(math.isfinite, _range(value))), lambda sizes: "that are finite", (math.isfinite,)
)


def along(axis: str) -> Rule:
    """A list with one entry for each place along an axis."""
    return Rule(
        lambda value, sizes: sizes.setdefault(axis, len(value)) == len(value),
        lambda sizes: f"with one for each of the {sizes.get(axis, '')} {axis}",
        (along, axis),
    )


def numbers(axes: str, *more, kind: type = float):
    """The declaration of numbers [axes] that may come in lists, arrays or tensors: the function gets an array."""
    array = (Complex if kind is complex else Float)[np.ndarray, axes]
    return Annotated[array, Made(lambda values: to_numpy(values, kind)), *more]


def checked(function: Callable) -> Callable:
    """The function, which raises CourseError unless its arguments are as its annotations declare."""
    signature = inspect.signature(function)
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    hints = {name: each.annotation for name, each in signature.parameters.items() if each.kind not in several}
    hints = {name: hint for name, hint in hints.items() if name not in ("self", "cls")}

    @functools.wraps(function)
    def call(*given, **named):
        bound, sizes = signature.bind(*given, **named), {}
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name in hints:
                value = bound.arguments[name] = check(name, value, hints[name], sizes)
            sizes |= getattr(getattr(value, "cfg", value if name == "self" else None), "__dict__", {})
        return function(*bound.args, **bound.kwargs)

    call.declared = hints
    return call


def check_fields(settings) -> None:
    """Raise CourseError unless each field of a dataclass is as declared."""
    for field in fields(settings):
        check(field.name, getattr(settings, field.name), field.type)


def check(name: str, value, hint, sizes: dict | None = None, remedy: str = ""):
    """The value, or what is made of it. Raises CourseError, which calls it `name`, unless it is as `hint` declares."""
    if NoneType in get_args(hint):
        if value is None:
            return None
        hint = get_args(hint)[0]
    sizes = {} if sizes is None else sizes
    before = dict(sizes)
    hint, extras = (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
    remedy = next((each for each in reversed(extras) if isinstance(each, str)), remedy or f"change {name}")
    rules = [each for each in extras if isinstance(each, Rule)]
    try:
        for each in extras:
            value = each.by(value) if isinstance(each, Made) else value
        made = _parts(name, value, hint, sizes, remedy)
        if all(rule.holds(made, sizes) for rule in rules):
            return made
    except CourseError:
        raise
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError):
        pass  # said below
    words = f"{_words(hint, before)} {', '.join(rule.says(sizes) for rule in rules)}".strip()
    raise CourseError(_what(name, value), f"it must be {words}", remedy)


def _parts(name: str, value, hint, sizes: dict, remedy: str):
    """The value, its parts checked. Raises TypeError or the like unless it has such parts or is of this kind."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    part = lambda key, each, hint: check(f"{name}[{key!r}]", each, hint, sizes, remedy)  # noqa: E731
    if is_typeddict(hint):
        return {key: part(key, value[key], each) for key, each in get_type_hints(hint, include_extras=True).items()}
    if inner and kind is Mapping:
        return {check(f"a name in {name}", key, inner[0]): part(key, each, inner[1]) for key, each in value.items()}
    if kind is tuple and inner:
        return tuple(part(i, *each) for i, each in enumerate(zip(value, inner, strict=True)))
    if inner and kind in (Sequence, Iterable) and not isinstance(value, str | Mapping):
        return [part(i, each, *inner) for i, each in enumerate(value)]
    if not _is(value, hint, kind, sizes):
        raise TypeError
    return value


def _is(value, hint, kind, sizes: dict) -> bool:
    """Whether the value is of a kind without parts."""
    if kind is Literal:
        return isinstance(value, str | int) and value in get_args(hint)
    if kind in (int, float):
        number = kind is float and isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        return number or is_integer(value)
    if hasattr(hint, "dim_str"):
        alike = isinstance(value, hint.array_type) and str(value.dtype).removeprefix("torch.") in hint.dtypes
        return alike and _fits(list(value.shape), hint.dim_str.split(), sizes)
    text = kind in (Sequence, Iterable) and isinstance(value, str | Mapping)  # they are such, and not meant
    return hint is Any or isinstance(value, kind) and not text


def _fits(shape: list[int], axes: list[str], sizes: dict) -> bool:
    """Whether the axes have these sizes, which are noted; a first axis with a star or dots stands for any number."""
    if axes and axes[0][0] in "*.":
        axes, shape = axes[1:], shape[max(0, len(shape) - len(axes) + 1) :]
    known = lambda axis, size: int(axis) if axis.isdigit() else size if axis == "_" else sizes.setdefault(axis, size)  # noqa: E731
    return len(axes) == len(shape) and all(map(lambda axis, size: known(axis, size) == size, axes, shape))


def _range(value) -> tuple:
    """The least and the largest of an array, nothing of an empty one; a number is both."""
    if isinstance(value, Real):
        return (value,)
    array = to_numpy(value, None)
    return (array.min(), array.max()) if array.size else ()


def _words(hint, sizes: dict) -> str:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if hasattr(hint, "dim_str"):
        axes = [f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in hint.dim_str.split()]
        kind = f"a {hint.array_type.__name__} of " if hint.array_type is not np.ndarray else ""
        numbers = hint.dtype.__name__.lower().replace("inexact", "real or complex")
        return f"{kind}{numbers} numbers [{', '.join(axes)}]"
    if is_typeddict(hint) or kind is Literal:
        return f"a dict with {sorted(hint.__annotations__)}" if kind is not Literal else f"one of {list(inner)}"
    return WORDS.get(kind, f"a {getattr(kind, '__name__', kind)}") + f" of {len(inner)}" * (kind is tuple)


def _what(name: str, value) -> str:
    """The value in words: an array by its shape and range, anything else as it is if that is short."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        span = _range(value) if hasattr(value, "__array__") and to_numpy(value, None).dtype.kind in "iuf" else ()
        return f"{name} of shape {list(value.shape)}, {value.dtype}" + (
            f", from {span[0]} to {span[1]}" if span else ""
        )
    shown = repr(value)
    if len(shown) <= 60 and "\n" not in shown:
        return f"{name} is {shown}"
    return f"{name} has {list(value)}"[:200] if isinstance(value, Mapping) else f"{name} of type {type(value).__name__}"
