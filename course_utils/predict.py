"""A prediction as an act: `predict` asks before a result, `reveal` shows the guess beside the truth.

On the site the output of the cell that calls `reveal` is veiled until the reader has guessed, or asks to be shown. In
a running notebook, where no cell can veil another's output, the guess is an object whose value may be None.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from course_utils.checked import FILLED, check, checked, numbers
from course_utils.errors import CourseError
from course_utils.figures.predict import predict_figure
from course_utils.playground import somebody_watches

MOST_POINTS = 120  # of a true curve, as it is shown
Text = Annotated[str, FILLED]
Choices = Annotated[Sequence[str], FILLED, "list the answers to choose from, as texts"]
Span = Annotated[tuple[float, float], "give the lower and the upper end: (0, 8)"]
Labels = Annotated[Sequence[str], FILLED, "list the labels of the lines and those of the columns, as texts"]


class Guess:
    """What the reader said. `value` is None until then: one of the choices, a number, [(x, y) …] or (row, column)."""

    def __init__(self, asks: dict):
        self.asks, self.widget = asks, None

    def __repr__(self) -> str:
        return f"Guess({self.asks['key']!r}, value={self.value!r})"

    @property
    def value(self):
        said = self.widget and self.widget.value
        return tuple(said) if said is not None and self.asks["kind"] == "cell" else said


@checked
def predict(
    key: Text,
    question: Text,
    *,
    choices: Choices | None = None,
    number: Span | None = None,
    unit: str = "",
    step: float | None = None,
    curve: Annotated[tuple[Text, Text], "name both axes"] | None = None,
    x: Span | None = None,
    y: Span | None = None,
    cell: Annotated[tuple[Labels, Labels], "give two lists of labels"] | None = None,
) -> Guess:
    """Ask for a guess and show the question; `reveal`, in a later cell, shows the guess beside the truth.

    `key` begins with the chapter's number and is the only one of its name in the book. One of four kinds is asked for:
    `choices`; a `number` between two ends, perhaps with a `unit`, in steps of `step`; a `curve`, by the names of its
    axes, over `x` and `y`; a `cell` of a table, by the labels of lines and columns. `backticks` in texts mark code.

    Raises CourseError unless one kind is given, with ends in order.
    """
    given = {"choices": choices, "number": number, "curve": curve, "cell": cell}
    kinds = [kind for kind, each in given.items() if each is not None]
    if len(kinds) != 1:
        raise CourseError(f"{key} asks for {kinds or 'nothing'}", f"a question is one of {list(given)}", "give one")
    spans = {"number": number} if number else {"x": x, "y": y} if curve else {}
    for name, span in spans.items():
        if span is None or span[0] >= span[1]:
            raise CourseError(f"{name} is {span}", "it must be (lower end, upper end)", f"give {key} such a {name}")
    asks = {"key": key, "question": question, "kind": kinds[0]}
    if choices:
        asks["choices"] = choices
    elif number:
        asks |= {"span": number, "unit": unit, "step": step or _step(number)}
    elif curve:
        asks |= {"names": curve, "x": x, "y": y}
    else:
        asks |= {"rows": cell[0], "columns": cell[1]}
    guess = Guess(asks)
    guess.widget = _show(predict_figure(asks))
    return guess


@checked
def reveal(guess: Guess, truth: Any) -> None:
    """Show what was guessed beside what is true: one of the choices, a number, [(x, y) …], or (row, column).

    A row and a column are given by their labels, or by their places, from 0.
    Raises CourseError if the truth is none of the answers that could have been given.
    """
    _show(predict_figure(guess.asks, _answer(guess.asks, truth), guess.value))


def _step(span: tuple[float, float]) -> float:
    """A power of ten, of which the span has fifty or more."""
    return float(f"1e{int(np.floor(np.log10((span[1] - span[0]) / 50)))}")


def _answer(asks: dict, truth):
    """The truth as a guess could have said it."""
    key, kind = asks["key"], asks["kind"]
    if kind == "choices" and truth in asks["choices"]:
        return truth
    if kind == "number":
        [value] = _inside(asks, [check("truth", truth, numbers(""))], "span")
        return value
    if kind == "curve":
        points = check("truth", truth, numbers("points 2", FILLED, "give pairs (x, y)"))
        points = points[np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))]
        return [
            list(pair) for pair in zip(*(_inside(asks, points[:, i], axis) for i, axis in enumerate("xy")), strict=True)
        ]
    if kind == "cell" and isinstance(truth, Sequence) and len(truth) == 2:
        found = [_label(place, asks[side]) for place, side in zip(truth, ("rows", "columns"), strict=True)]
        if None not in found:
            return found
    known = asks.get("choices") or (asks["rows"], asks["columns"])
    raise CourseError(
        f"truth is {truth!r}", f"{key} can be answered by {known}", "give one of them, or another question"
    )


def _inside(asks: dict, values, axis: str) -> list[float]:
    low, high = asks[axis]
    if not (np.min(values) >= low and np.max(values) <= high):
        what = f"truth goes from {np.min(values):.4g} to {np.max(values):.4g}"
        raise CourseError(what, f"{asks['key']} can be answered from {low} to {high}", "widen what is asked for")
    return [float(f"{value:.4g}") for value in values]


def _label(place, labels: list[str]) -> str | None:
    if isinstance(place, str):
        return place if place in labels else None
    return labels[place] if place in range(len(labels)) else None


def _show(figure):
    """Show a figure; in a running notebook as a widget, which is given."""
    from IPython.display import display

    widget = figure.widget() if somebody_watches() else None
    display(widget or figure)
    return widget
