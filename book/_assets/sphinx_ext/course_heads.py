"""Names of heads in the text carry their role's colour, and course.js lights them in the nearest picture.

What has a role follows from the card of the two-layer model, of which these chapters speak (loaded by `_config.yml`).
"""

import re

from docutils import nodes

PAGES = re.compile(r"book/(01|0[6-9]|10)_")  # where a name such as 1.10 is a head of the two-layer model
NAMES = re.compile(r"\b([Hh]eads? )(\d\.\d+(?:(?:, |,? and |,? or )\d\.\d+)*)\b(?!\.\d)")

NAME = re.compile(r"\d\.\d+")


def name_heads(app, doctree, docname) -> None:
    if app.builder.format != "html" or not PAGES.match(docname):
        return
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, nodes.paragraph) and (parts := marked(text.astext())):
            text.parent.replace(text, parts)


def marked(text: str) -> list[nodes.Node]:
    """The text, with a button in place of each head that has a role; none if there is no such head."""
    if not (found := list(NAMES.finditer(text))):
        return []
    from course_utils.roles import role_of

    parts, done = [], 0
    for name in (name for each in found for name in NAME.finditer(text, *each.span(2))):
        if role := role_of("two-layer", *map(int, name[0].split("."))):
            attributes = f'type="button" class="course-head" data-head="{name[0]}" data-role="{role}"'
            button = nodes.raw("", f"<button {attributes}>{name[0]}</button>", format="html")
            parts += [nodes.Text(text[done : name.start()]), button]
            done = name.end()
    return [*parts, nodes.Text(text[done:])] if parts else []


def setup(app):
    app.connect("doctree-resolved", name_heads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
