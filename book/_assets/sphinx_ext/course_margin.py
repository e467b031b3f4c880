"""What stands in a chapter's margin: a small circuit that follows the text, and definitions of its terms.

The circuit is the paper's first figure, as much of it as the chapter has reached; `circuit.yml` says which parts of it
each section is about, and what the lab opens with. margin.js lights them, and shows a term's definition beside it.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import yaml
from docutils import nodes

CIRCUIT = Path(__file__).parents[1] / "circuit.yml"
GLOSSARY = "book/appendix/glossary"
TERM = re.compile(r'href="[^"]*glossary\.html#(term-[^"]+)"')
STREAM, BOX, END = 26, (60, 172), 176  # where the stream runs, a head's sides, and the drawing's right edge
HEAD = 38  # how high a head's box is
LINKS = {"cut": "Cut it in the lab", "off": "Take it out in the lab"}
PARTS = {"q": 78, "k": 116, "v": 154}  # what a head reads by, and where
MIDDLE = sum(BOX) // 2  # where heads and MLPs write, and MLPs read


@cache
def chapters() -> dict[str, dict]:
    """By page: what it draws, what the lab opens with, its sections."""
    return yaml.safe_load(CIRCUIT.read_text("utf-8"))


def circuit(layers: int, names: list[str] = (), mlp: bool = False, norm: bool = False) -> str:
    """The model from the token, below, to the logits: parts carry their names, for margin.js to light."""
    drawn, y = [], 0  # y: how far up; it is turned round at the end

    def add(part: str, shape: str, role: str = "") -> None:
        named = f' data-role="{role}"' if role else ""
        drawn.append(f'<g data-part="{part}"{named}>{shape}</g>')

    def box(y: int, label: str, height: int = 20, left: int = BOX[0], right: int = BOX[1]) -> str:
        frame = f'<rect x="{left}" y="{-y - height}" width="{right - left}" height="{height}" rx="4"/>'
        return frame + f'<text x="{(left + right) / 2}" y="{15 - y - height}">{label}</text>'

    def end(part: str, letter: str, words: str) -> None:
        label = f"<tspan>W</tspan><tspan class='low' dy='3'>{letter}</tspan>"
        add(part, box(y, label, left=6, right=46) + f'<text class="said" x="54" y="{-y - 6}">{words}</text>')

    def stretch(part: str, length: int) -> None:
        nonlocal y
        add(part, f'<path class="stream" d="M{STREAM} {-y}v{-length}"/>')
        y += length

    end("embed", "E", "the token")
    y += 20
    stretch("stream bottom", 8)
    for layer in range(layers):
        place = "bottom" if layer == 0 else "middle"
        if norm:
            add("norm", f'<circle cx="{STREAM}" cy="{-y - 4}" r="4"/>')
        for i, (side, x) in enumerate(reversed(PARTS.items())):
            add(f"{side}{layer}", f'<path d="M{STREAM} {-y - 5 * i}H{x}V{-y - 26}"/>')
        if layer:  # over the keys' line
            add("cut", f'<path d="M48 {-y - 12}l14 14m0 -14l-14 14"/>')
        stretch(f"stream {place}", 26)
        letters = (f'<text class="{side}" x="{x}" y="{-y - 5}">{side.upper()}</text>' for side, x in PARTS.items())
        name = names[layer] if names else f"heads, layer {layer}" if layers > 1 else "heads"
        frame = box(y, name, HEAD) + "".join(letters)
        add(f"head{layer}", frame, _role(name))
        stretch("stream", HEAD + 8)
        add(f"write{layer}", f'<path d="M{MIDDLE} {8 - y}V{-y}H{STREAM}"/><circle cx="{STREAM}" cy="{-y}" r="4"/>')
        if mlp:
            stretch("stream", 10)
            reads, writes = f"M{STREAM} {-y}H{MIDDLE}v-6", f"M{MIDDLE} {-y - 26}v-6H{STREAM}"
            dot = f'<circle cx="{STREAM}" cy="{-y - 32}" r="4"/>'
            add(f"mlp{layer}", f'<path d="{reads}{writes}"/>{dot}' + box(y + 6, "MLP"))
            stretch("stream", 32)
        stretch("stream middle" if layer < layers - 1 else "stream top", 12)
    if not layers:
        stretch("stream", 40)
    end("unembed", "U", "logits")
    return f'<svg viewBox="0 {-y - 21} {END} {y + 22}" aria-hidden="true">{"".join(drawn)}</svg>'


def _role(name: str) -> str:
    """Of "head 1.1", the role that the two-layer model's card gives it."""
    from course_utils.roles import role_of

    found = re.fullmatch(r"head (\d)\.(\d+)", name)
    return role_of("two-layer", int(found[1]), int(found[2])) if found else ""


def figure(page: str, lab: str) -> str:
    """The margin's circuit for a chapter, all that it says in one list of which margin.js shows one; "" for others."""
    chapter = chapters().get(page.removeprefix("book/"))
    if not chapter:
        return ""
    said = []
    for section, state in chapter["sections"].items():
        asked = chapter["lab"] | {key: state[key] for key in ("off", "cut") if key in state}
        words = (
            "Cut it in the lab" if "cut" in state else "Switch it off in the lab" if "off" in state else "In the lab"
        )
        link = f'<a href="{lab}#{html.escape(urlencode(asked))}">{words}</a>'
        said.append(f'<li data-section="{section}" data-lit="{state["lit"]}">{html.escape(state["says"])} {link}</li>')
    return (
        '<div class="course-circuit" role="group" aria-label="Where in the model this section is">'
        f"{circuit(**chapter['draws'])}<ul>{''.join(said)}</ul></div>"
    )


def definitions(app, body: str) -> str:
    """The glossary's words on the terms that a page links to, out of sight: margin.js shows them."""
    terms = dict.fromkeys(TERM.findall(body))
    known = _glossary(app) if terms else {}
    said = "".join(f'<div data-term="{term}">{known[term]}</div>' for term in terms if term in known)
    return f'<template class="course-definitions">{said}</template>' if said else ""


def _glossary(app) -> dict[str, str]:
    """What the glossary says, by the term's anchor, as markup without links (they would start from another page)."""
    if not hasattr(app, "course_glossary"):
        app.course_glossary = {}
        for item in app.env.get_and_resolve_doctree(GLOSSARY, app.builder).findall(nodes.definition_list_item):
            definition = next(item.findall(nodes.definition)).deepcopy()
            for link in list(definition.findall(nodes.reference)):
                link.replace_self(link.children)
            said = "".join(app.builder.render_partial(child)["fragment"] for child in definition.children)
            said = re.sub(r' id="[^"]*"', "", said)  # a citation's: it stands on the glossary's page
            for term in item.findall(nodes.term):
                app.course_glossary |= {anchor: said for anchor in term["ids"]}
    return app.course_glossary


def fill_margin(app, pagename, templatename, context, doctree) -> None:
    if "body" in context:
        context["course_circuit"] = figure(pagename, context["pathto"]("book/induction_lab"))
        context["body"] += definitions(app, context["body"])


def setup(app):
    app.connect("html-page-context", fill_margin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
