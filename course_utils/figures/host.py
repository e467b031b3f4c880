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
from typing import Annotated, Literal

import numpy as np
import torch

from course_utils import colours
from course_utils.checked import FILLED, FINITE, Made, Rule, check, checked, numbers
from course_utils.checkpoints import load_model
from course_utils.config import Model, Tokens
from course_utils.corpus import Ids, Tokenizer
from course_utils.errors import CourseError

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.M)
EXPORT = re.compile(r"^export (?=const|function|async function|class)", re.M)
COMMENT = re.compile(r"^ *(?://.*|/\*\*(?:(?!\*/)[\s\S])*\*/)\n", re.M)  # on lines of its own
STYLE_COMMENT = re.compile(r"\s*/\*.*?\*/", re.S)


Texts = Annotated[Sequence[str], FILLED, "list the tokens; tokenizer.show(id) for an id"]
Layered = Annotated[
    Model,
    Made(lambda model: load_model(model, "cpu") if isinstance(model, str) else model),
    Rule(lambda model, sizes: model.cfg.n_layers, lambda sizes: "with at least one layer, or the name of one"),
    'pass e.g. "two-layer"',
]


# The frame of a figure on a page: its title, and in one line what to do.
FRAMES = {
    "attention": ("Where every head looks", "Point at a token, or walk along with the arrow keys; pick a head."),
    "bigrams": ("What comes after a token", "Choose a token, and compare the weights with the counts."),
    "composition": ("Which heads compose", "Choose a kind, move the threshold, and pick a head or a line."),
    "eigenvalues": ("What a head does to tokens", "Pick a head, then a point: its tokens are listed."),
    "formation": ("Induction heads as they form", "Move through the training, or let it play."),
    "induction_at_work": ("An induction head at work", "Step through the text, or let it play."),
    "induction_lab": ("The induction lab", "Load a model, type a text, and switch heads off."),
    "population": ("Every seed of every kind", "Pick a headline, and see how far its seeds lie apart."),
    "public_heads": ("The heads of a public model", "Pick a head on the map: where does it look?"),
    "residual_stream": ("A logit as a sum", "Choose a position and a token; each part shows what it adds."),
    "skip_trigrams": ("What one look back can say", "Choose a source, then two pairs; the two that they force follow."),
    "term_importance": ("The loss, term by term", "Open a step, and see which heads it is made of."),
    "train_in_page": ("A model that learns here", "Press Train, and watch the heads until it turns."),
}
# What they have loaded or learnt stays; they have controls of their own for all that they show.
WITHOUT_RESET = ("induction_lab", "train_in_page")
# Whose parts a figure shows, in their style.
ALSO = {"train_in_page": ("induction_lab",), "attention": ("square",), "public_heads": ("square",)}


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
    def script(self) -> str:
        """The figure as one classic script: a page needs no policy for it beyond that for scripts as such."""
        own = re.sub(r"^export (default .*\n|(?=function))", "", self.module, flags=re.M)
        start = COMMENT.sub("", IMPORT.sub("", _file("host.js"))).replace("FIGURE", self.name)
        return f'(() => {{\n"use strict";\n{own}{{\n{start}}}\n}})();\n'

    @property
    def style(self) -> str:
        files = [f"{name}.css" for name in ("theme", *ALSO.get(self.name, ()), self.name)]
        own = STYLE_COMMENT.sub("", "".join(map(_file, files)))
        return colours.style(("blue", "orange", "red", "green", "purple")) + own

    def _json(self) -> str:
        # Only ASCII, and no "<": no text in the data can end the script that holds it.
        text = json.dumps(self.data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")

    def _frame(self) -> str:
        """Number, title, what to do, and a button that begins anew."""
        if self.name not in FRAMES:
            return ""
        title, act = FRAMES[self.name]
        reset = "" if self.name in WITHOUT_RESET else '<button type="button" hidden>Reset</button>'
        return f'<div class="ex-frame"><p><b>{title}</b> <span>{act}</span></p>{reset}</div>\n'

    def _repr_html_(self) -> str:
        data = self._json()
        name = f"explorable-{hashlib.sha256((self.name + data).encode()).hexdigest()[:12]}"
        # mathjax_ignore: a dollar in a token is no formula.
        return (
            f'<div class="course-explorable mathjax_ignore tex2jax_ignore" data-explorable="{name}" '
            f'data-figure="{self.name}">'
            f"\n<style>\n{self.style}</style>\n{self._frame()}"
            f'<script type="application/json">{data}</script>\n'
            f"<script>\n{self.script}</script>\n"
            # After the script: where scripts run, it is never seen, and nothing moves.
            f'<div class="ex-baseline">\n{self.plain}\n</div>\n</div>'
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


@checked
def packed(
    values: Annotated[numbers("..."), FILLED, FINITE],
    bits: Annotated[Literal[8, 16], "use 8 for what only gives a colour"] = 8,
) -> dict:
    """Numbers of any shape in one or two bytes each, for kit.js's `unpack`.

    They are off by half a step at most, (high − low) / 2 / (2^bits − 1).
    Raises CourseError for numbers that are not finite, and for other `bits` than 8 and 16.
    """
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1) * (2**bits - 1)).astype(f"<u{bits // 8}")
    data = base64.b64encode(steps.tobytes()).decode("ascii")
    return {"bits": bits, "low": low, "high": high, "shape": list(values.shape), "data": data}


def visible(text: str) -> str:
    """The text with what has no shape of its own (control characters, marks of direction …) as `\\n`, `\\u202e` …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def text_ids(name: str, text, model: Model, tokenizer: Tokenizer, longest: int) -> list[int]:
    """The start token and then a text, which is given as it is or by its ids: `longest` tokens in all, at most."""
    ids = tokenizer.encode(text) if isinstance(text, str) else check(name, text, Ids).tolist()
    if not 1 <= len(ids) < longest:
        rule = f"a text has 1 to {longest - 1} tokens"
        raise CourseError(f"{name} has {len(ids)} tokens", rule, "cut it: tokenizer.encode(text)[:64]")
    check(name, torch.tensor([ids]), Tokens, dict(vars(model.cfg)))
    return [tokenizer.start_id, *ids]


def code(text: str) -> str:
    """Markup of a token or another piece of code."""
    return f"<code>{html.escape(text)}</code>"


def words(text: str) -> str:
    """Markup of a text in which `backticks` mark code."""
    return "".join(code(part) if i % 2 else html.escape(part) for i, part in enumerate(text.split("`")))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Markup of a plain table; the cells are markup already, the first of a row names it."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    cells = ["".join(f"<td>{cell}</td>" for cell in rest) for _, *rest in rows]
    body = "".join(f'<tr><th scope="row">{row[0]}</th>{rest}</tr>\n' for row, rest in zip(rows, cells, strict=True))
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
