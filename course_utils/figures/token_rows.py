"""Tables of tokens as HTML: they can be read in every width, and need no script (chapters 4, 5 and 8)."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from IPython.display import HTML

from course_utils.checked import FILLED, along, check, checked, numbers
from course_utils.figures.host import Texts

STYLE = Path(__file__).with_suffix(".css")


@checked
def token_rows(
    rows: Annotated[Texts, FILLED, along("rows")],
    groups: Annotated[
        Mapping[Any, tuple[Annotated[Sequence[Texts], along("rows")], numbers("rows _", FILLED)]],
        FILLED,
        "pass e.g. {'raises most': (tokens, values)}",
    ],
    *,
    label: str,
) -> HTML:
    """One row for each name in `rows`, a column for each group: (tokens [row][column], values of the same shape).

    A token's shade is its value, from 0 to the largest of the group. What stands in a row's name after `: ` is a token
    too, and framed where it comes again in the row, with or without a space before it.
    """
    for title, (tokens, values) in groups.items():
        check(f"groups[{title!r}]", tokens, Sequence[Annotated[Texts, along("columns")]], {"columns": values.shape[1]})
    heads = "".join(f'<th role="columnheader" scope="col">{html.escape(each)}</th>' for each in (label, *groups))
    body = "".join(_row(name, {title: (group[0][i], group[1][i] / max(group[1].max(), 1e-12))
                               for title, group in groups.items()}) for i, name in enumerate(rows))  # fmt: skip
    table = f'<table role="table"><thead><tr role="row">{heads}</tr></thead><tbody>{body}</tbody></table>'
    style = f"<style>\n{STYLE.read_text('utf-8')}</style>"
    return HTML(f'<div class="course-tokens mathjax_ignore tex2jax_ignore">\n{style}\n{table}</div>')


def _row(name: str, cells: Mapping) -> str:
    said, _, token = name.rpartition(": ")
    parts = [f'<th role="rowheader" scope="row">{html.escape(said)} <span>{html.escape(token)}</span></th>']
    for title, (tokens, shares) in cells.items():
        spans = []
        for each, share in zip(tokens, shares.tolist(), strict=True):
            again = ' class="marked"' * (each.strip("·").lower() == token.strip("·").lower())
            spans.append(f'<span{again} style="--share:{max(0, share):.2f}">{html.escape(each)}</span>')
        parts.append(f'<td role="cell" data-column="{html.escape(title)}">{" ".join(spans)}</td>')
    return f'<tr role="row">{"".join(parts)}</tr>\n'
