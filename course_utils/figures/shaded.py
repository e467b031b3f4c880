"""Texts whose tokens are shaded by a value, as HTML: they need no script, and fold one under the other (chapter 8)."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypedDict

from IPython.display import HTML

from course_utils.checked import FILLED, checked, numbers, within
from course_utils.errors import CourseError
from course_utils.figures.host import Texts, visible

STYLE = Path(__file__).with_name("shaded.css")


class Panel(TypedDict):
    tokens: Texts
    values: numbers("_")
    query: int
    looks: Mapping[int, float]
    says: str  # fmt: skip


@checked
def shaded_texts(
    panels: Annotated[Mapping[str, Panel], FILLED, "see shaded_texts"],
    *,
    most: Annotated[float, within(1e-9), "give the value that has the full shade"],
) -> HTML:
    """Texts by title, the first unfolded. A token's shade is its value: above 0 as the induction heads, below 0 blue.

    tokens   the text, as it is to be shown; a ↵ ends the line
    values   one for each token; at `most` and beyond the shade is full
    query    the position that is framed, the present token
    looks    {position: weight} of those that are underlined, the thicker the more: where heads look from the query
    says     a sentence or two below the text

    Raises CourseError unless query and looks are positions of the text.
    """
    parts = [_panel(title, panel, most, number == 0) for number, (title, panel) in enumerate(panels.items())]
    style = f"<style>\n{STYLE.read_text('utf-8')}</style>"
    return HTML(f'<div class="course-shaded mathjax_ignore tex2jax_ignore">\n{style}\n{"".join(parts)}</div>')


def _panel(title: str, panel: Panel, most: float, is_open: bool) -> str:
    tokens, values, query, looks = (panel[key] for key in ("tokens", "values", "query", "looks"))
    if len(values) != len(tokens):
        raise CourseError(f"{len(values)} values for {len(tokens)} tokens", "each token has one", f"see {title!r}")
    if wrong := [place for place in (query, *looks) if place not in range(len(tokens))]:
        raise CourseError(f"position {wrong[0]}", f"{title!r} has {len(tokens)} tokens, from 0", "leave it out")
    spans = []
    for place, (token, value) in enumerate(zip(tokens, values.tolist(), strict=True)):
        kinds = ["up" if value > 0 else "down", *["query"] * (place == query), *["look"] * (place in looks)]
        style = f"--share:{min(1, abs(value) / most):.2f};--weight:{looks.get(place, 0):.2f}"
        shown = html.escape(visible(token).replace("·", " ").replace("↵", "↵\n"))
        spans.append(f'<span class="{" ".join(kinds)}" style="{style}" title="{value:+.1f}">{shown}</span>')
    text = f'<pre tabindex="0">{"".join(spans)}</pre>'
    said = f"<p>{html.escape(panel['says'])}</p>"
    return f"<details{' open' * is_open}><summary>{html.escape(title)}</summary>{text}{said}</details>\n"
