"""An induction head at work, step by step (chapter 7)."""

import html
from collections.abc import Sequence
from typing import Annotated, TypedDict

from course_utils.checked import FILLED, check, checked, within
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, Texts, code, visible

Weight = Annotated[float, within(0, 1), "give attention after the softmax"]


class Step(TypedDict):
    at: int
    look: Sequence[tuple[int, Weight]]
    carried: Sequence[tuple[int, int, Weight]]
    copied: str
    right: bool
    caption: str  # fmt: skip


@checked
def induction_at_work_figure(
    tokens: Texts, steps: Annotated[Sequence[Step], FILLED, "see induction_at_work_figure"], start: int = 0
) -> Explorable:
    """An animation of an induction head, paused and stepped at will: one picture a step, with its caption.

    `tokens`: the text, as it is to be shown (`tokenizer.show(id)` makes spaces visible). A step is a dict of

        at       position of the present token
        look     [[key, weight], …]: where the induction head looks from there, at least the larger weights
        carried  [[position, from, weight], …]: the previous-token head has put the token at `from` into the key
                 at `position`, with that attention
        copied   the token whose logit the head raised most
        right    whether that is the next token
        caption  a sentence or two

    It opens on step `start`, from 0: on one that succeeds, say.
    """
    check("start", start, Annotated[int, within(0, len(steps) - 1), "count steps from 0"])
    told = [_step(step, number, tokens) for number, step in enumerate(steps)]
    tokens = [visible(token) for token in tokens]
    data = {"tokens": tokens, "steps": told, "step": start}
    return Explorable("induction_at_work", data, _plain(tokens, told))


def _step(step: Step, number: int, tokens: list[str]) -> dict:
    here = f"steps[{number}]"
    at = _position(step["at"], len(tokens) - 1, f"{here}['at']")
    look = [[_position(key, at, f"{here}['look'], key"), round(float(weight), 3)] for key, weight in step["look"]]
    if len({key for key, _ in look}) < len(look):
        raise CourseError(f"{here}['look'] is {step['look']!r}", "each key stands there once", "add its weights up")
    carried = []
    for position, source, weight in step["carried"]:
        position = _position(position, at, f"{here}['carried'], position")
        carried.append([position, _position(source, position, f"{here}['carried'], from"), round(float(weight), 3)])
    same = [i for i in range(at) if tokens[i] == tokens[at]]
    words = {"copied": visible(step["copied"]), "right": step["right"], "caption": visible(step["caption"])}
    return {"at": at, "look": look, "carried": carried, "same": same} | words


def _position(value: int, last: int, what: str) -> int:
    remedy = "count positions from 0, the start token's; a head sees no later token"
    return int(check(what, value, Annotated[int, within(0, last), remedy]))


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
