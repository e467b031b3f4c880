"""The one file of colours, from which matplotlib's style and the site's style sheets are made.

Okabe and Ito's hues, which readers with any colour vision can tell apart: 3 : 1 and more on a light and on a dark page.
"""

import re
from collections.abc import Iterable

# Name: on a light page, on a dark one. Pictures are drawn in the former; on the site a variable stands in its place.
COLOURS = {
    "ground": ("#ffffff", "#101416"),
    "ink": ("#222222", "#dbe3e6"),
    "blue": ("#0072b2", "#56b4e9"),
    "orange": ("#d55e00", "#f08a3c"),
    "red": ("#c22f3d", "#f07178"),
    "green": ("#008a64", "#2fc79b"),
    "purple": ("#b4588d", "#dd93bb"),
    "amber": ("#c48500", "#e6b04a"),
    "sky": ("#56b4e9", "#2f7fad"),
    "yellow": ("#f0e442", "#6b6410"),
}
# What means the same has one colour, in still figures, in figures that answer and in the text.
ROLES = {"induction": "orange", "previous": "green", "": "blue", "Q": "blue", "K": "orange", "V": "green"}
ROLES |= {"trained": "blue", "untrained": "ink", "zero-layer": "amber", "one-layer": "green", "two-layer": "blue"}


def light(name: str) -> str:
    """A colour by its name, or by the role that has it."""
    return COLOURS[ROLES.get(name, name)][0]


def style(names: Iterable[str] = COLOURS) -> str:
    """Colours, and those of heads by role, as variables, by the theme that the reader has on the site or in Jupyter."""
    light, dark = ("".join(f"--ex-{name}: {COLOURS[name][i]};" for name in names) for i in (0, 1))
    roles = "".join(f"--ex-{role}: var(--ex-{ROLES[role]});" for role in ("induction", "previous"))
    return (
        f":root {{{light}}}\n"
        f'html[data-theme="dark"], body[data-jp-theme-light="false"] {{{dark}}}\n'
        f":root, .course-explorable {{{roles}}}\n"  # again where forced colours give a figure others
    )


def variable(colour: str) -> str | None:
    """What stands for a colour of a picture on the site: a variable, or, for a grey, ink on the ground; else None."""
    for name, (drawn, _) in COLOURS.items():
        if colour.lower() == drawn:
            return f"var(--ex-{name})"
    if not re.fullmatch(r"#(..)\1\1", colour):
        return None
    ink = round(100 * (255 - int(colour[1:3], 16)) / (255 - int(light("ink")[1:3], 16)))
    return "var(--ex-ink)" if ink >= 100 else f"color-mix(in srgb,var(--ex-ink) {ink}%,var(--ex-ground))"
