"""An induction head at work, step by step (chapter 7)."""

import html
import math
from collections.abc import Sequence
from numbers import Integral, Real

from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, code, texts, visible


def induction_at_work_figure(tokens: list[str], steps: list[dict]) -> Explorable:
    """An animation of an induction head, paused and stepped at will: one picture a step, with its caption.

    `tokens`: the text, as it is to be shown (`tokenizer.show(id)` makes spaces visible). A step is a dict of

        at       position of the present token
        look     [[key, weight], …]: where the induction head looks from there, at least the larger weights
        carried  [[position, from, weight], …]: the previous-token head has put the token at `from` into the key
                 at `position`, with that attention
        copied   the token whose logit the head raised most
        right    whether that is the next token
        caption  a sentence or two
    """
    tokens = texts(tokens, "tokens")
    if not isinstance(steps, Sequence) or not steps:
        raise CourseError(f"steps is {steps!r}", "there must be at least one step", "pass a list of dicts")
    checked = [_step(step, number, tokens) for number, step in enumerate(steps)]
    tokens = [visible(token) for token in tokens]
    data = {"tokens": tokens, "steps": checked, "step": 0}
    return Explorable("induction_at_work", data, _plain(tokens, checked))


WANTED = {"at", "look", "carried", "copied", "right", "caption"}


def _step(step: dict, number: int, tokens: list[str]) -> dict:
    here = f"steps[{number}]"
    if not isinstance(step, dict) or set(step) != WANTED:
        keys = sorted(map(str, step)) if isinstance(step, dict) else type(step).__name__
        raise CourseError(f"{here} has {keys}", f"a step has the keys {sorted(WANTED)}", "give each of them")
    at = _position(step["at"], len(tokens) - 1, f"{here}['at']")
    look = [
        [_position(key, at, f"{here}['look'], key"), _weight(weight, f"{here}['look'], weight")]
        for key, weight in _tuples(step["look"], 2, f"{here}['look']")
    ]
    if len({key for key, _ in look}) < len(look):
        raise CourseError(f"{here}['look'] is {step['look']!r}", "each key stands there once", "add its weights up")
    carried = []
    for position, source, weight in _tuples(step["carried"], 3, f"{here}['carried']"):
        position = _position(position, at, f"{here}['carried'], position")
        source = _position(source, position, f"{here}['carried'], from")
        carried.append([position, source, _weight(weight, f"{here}['carried'], weight")])
    [copied, caption] = texts([step["copied"], step["caption"]], f"{here}['copied'] and ['caption']")
    if not isinstance(step["right"], bool):
        raise CourseError(f"{here}['right'] is {step['right']!r}", "it must be True or False", "use bool(...)")
    same = [i for i in range(at) if tokens[i] == tokens[at]]
    words = {"copied": visible(copied), "right": step["right"], "caption": visible(caption)}
    return {"at": at, "look": look, "carried": carried, "same": same} | words


def _tuples(values, length: int, what: str) -> list:
    values = list(values) if isinstance(values, Sequence) else [values]
    for value in values:
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != length:
            raise CourseError(f"{what} has {value!r}", f"each entry holds {length} numbers", "see induction_at_work")
    return values


def _position(value, last: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value <= last:
        rule = f"it must be an integer from 0 to {last}, for a head sees no later token"
        raise CourseError(f"{what} is {value!r}", rule, "count positions from 0, the start token's")
    return int(value)


def _weight(value, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not (math.isfinite(value) and 0 <= value <= 1):
        raise CourseError(f"{what} is {value!r}", "it must be a number from 0 to 1", "give attention after the softmax")
    return round(float(value), 3)


def _plain(tokens: list[str], steps: list[dict]) -> str:
    """The tokens, and each step in words."""
    name = lambda i: f"{i} {code(tokens[i])}"  # noqa: E731
    boxes = [f'<span>{code(token)} <sub class="ex-index">{i}</sub></span>' for i, token in enumerate(tokens)]
    items = []
    for number, step in enumerate(steps, 1):
        looks = ", ".join(f"{name(key)} ({weight:.0%})" for key, weight in step["look"])
        carried = "; ".join(
            f"the key at {name(position)} carries {name(source)} ({weight:.0%})"
            for position, source, weight in step["carried"]
        )
        verdict = "✓ right" if step["right"] else "✗ not what comes next"
        words = f"The induction head looks at {looks or 'nothing in particular'}." + (
            f" Put there by the previous-token head: {carried}." if carried else ""
        )
        items.append(
            f'<div><p class="ex-step">Step {number} of {len(steps)}. At {name(step["at"])} the logit of '
            f"{code(step['copied'])} rises most: {verdict}.</p>\n"
            f'<p class="ex-caption">{html.escape(step["caption"])}</p>\n<p class="ex-words">{words}</p></div>'
        )
    return "\n".join(['<p class="ex-tokens">', *boxes, '</p>\n<div class="ex-steps">', *items, "</div>"])
