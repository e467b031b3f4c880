"""The host of the figures that answer: each is one JavaScript module, its data, and a plain version in HTML.

They need no kernel, no widget manager and no other host, on the site as in JupyterLab and in exported HTML.
"""

import base64
import hashlib
import html
import json
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils.errors import CourseError

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.M)
EXPORT = re.compile(r"^export (?=const|function|async function|class)", re.M)
COMMENT = re.compile(r"^ *(?://.*|/\*\*(?:(?!\*/)[\s\S])*\*/)\n", re.M)  # on lines of its own


class Explorable:
    """A figure in a notebook or on a page.

    `name`: its module in this folder, which exports anywidget's `render({ model, el })`, and its style beside it.
    `data`: what `model.get` gives. `plain`: HTML that says the same without JavaScript; it escapes its own texts.
    """

    def __init__(self, name: str, data: dict, plain: str):
        self.name, self.data, self.plain = name, data, plain

    def __repr__(self) -> str:
        return f"Explorable({self.name!r}, {len(self._json())} bytes of data)"

    @property
    def module(self) -> str:
        """The figure's ES module, with what it imports."""
        return joined(f"{self.name}.js")

    @property
    def style(self) -> str:
        return _file("theme.css") + _file(f"{self.name}.css")

    def _json(self) -> str:
        # Only ASCII, and no "<": no text in the data can end the script that holds it.
        text = json.dumps(self.data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")

    def _repr_html_(self) -> str:
        data = self._json()
        name = f"explorable-{hashlib.sha256((self.name + data).encode()).hexdigest()[:12]}"
        # mathjax_ignore: a dollar in a token is no formula.
        return (
            f'<div class="course-explorable mathjax_ignore tex2jax_ignore" data-explorable="{name}" '
            f'data-figure="{self.name}">'
            f"\n<style>\n{self.style}</style>\n"
            f'<div class="ex-baseline">\n{self.plain}\n</div>\n'
            f'<script type="application/json">{data}</script>\n'
            f'<script type="text/plain">\n{self.module}</script>\n'
            f"<script>\n{_file('host.js').replace('EXPLORABLE', name)}</script>\n</div>"
        )

    def widget(self):
        """The same figure as an anywidget.AnyWidget: each datum is a trait, and Python hears when the reader sets it.

        For a running kernel: `figure = quiz("01").widget()`, then `figure.observe(function, "NAME")`.
        """
        import anywidget
        import traitlets

        traits = {key: traitlets.Any(value).tag(sync=True) for key, value in self.data.items()}
        says = {"__repr__": lambda _: f"{self!r}.widget()"}
        return type("Live", (anywidget.AnyWidget,), {"_esm": self.module, "_css": self.style, **traits, **says})()


def joined(name: str, known: set[str] | None = None) -> str:
    """A module of this folder with all that it imports, each once and before it is used, as one text; no comments."""
    own, before, known = _file(name), "", set() if known is None else known
    for found in IMPORT.finditer(own):
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
        if other not in known:
            known.add(other)
            before += EXPORT.sub("", joined(other, known))
    return before + COMMENT.sub("", IMPORT.sub("", own)).lstrip()


def _file(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def packed(values, bits: int = 8) -> dict:
    """Numbers of any shape in one or two bytes each, for kit.js's `unpack`.

    They are off by half a step at most, (high − low) / 2 / (2^bits − 1).
    Raises CourseError for numbers that are not finite, and for other `bits` than 8 and 16.
    """
    if bits not in (8, 16):
        raise CourseError(f"bits is {bits!r}", "a number takes 8 or 16", "use 8 for what only gives a colour")
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        raise CourseError(f"values of shape {list(values.shape)}", "all must be finite, and some", "mask what is not")
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1) * (2**bits - 1)).astype(f"<u{bits // 8}")
    data = base64.b64encode(steps.tobytes()).decode("ascii")
    return {"bits": bits, "low": low, "high": high, "shape": list(values.shape), "data": data}


def visible(text: str) -> str:
    """The text with what has no shape of its own (control characters, marks of direction …) as `\\n`, `\\u202e` …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def texts(values, what: str) -> list[str]:
    """`values` as a list; raises CourseError, which calls them `what`, unless they are strings, and some."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise CourseError(f"{what} is {values!r}", "it must be a list of strings, not empty", "list the tokens")
    for value in values:
        if not isinstance(value, str):
            raise CourseError(f"{what} has {value!r}", "each must be a string", "use tokenizer.show(id) for an id")
    return list(values)


def code(text: str) -> str:
    """Markup of a token or another piece of code."""
    return f"<code>{html.escape(text)}</code>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Markup of a plain table; the cells are markup already, the first of a row names it."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    cells = ["".join(f"<td>{cell}</td>" for cell in rest) for _, *rest in rows]
    body = "".join(f'<tr><th scope="row">{row[0]}</th>{rest}</tr>\n' for row, rest in zip(rows, cells, strict=True))
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
