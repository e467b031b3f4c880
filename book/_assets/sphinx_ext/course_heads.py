"""Names of heads in the text, `1.10`, carry their role's colour, and course.js lights them in the nearest picture.

What has a role follows from the card of the two-layer model, of which these chapters speak (loaded by `_config.yml`).
"""

import re

from docutils import nodes

PAGES = re.compile(r"book/(01|0[6-9]|10)_")  # where such a name is a head of the two-layer model
NAME = re.compile(r"(\d)\.(\d+)")


def name_heads(app, doctree, docname) -> None:
    if app.builder.format != "html" or not PAGES.match(docname):
        return
    for name in list(doctree.findall(nodes.literal)):
        if isinstance(name.parent, nodes.paragraph) and (markup := button(name.astext())):
            name.replace_self(nodes.raw("", markup, format="html"))


def button(name: str) -> str:
    """The markup of a head's name, if it is one and has a role."""
    if not (found := NAME.fullmatch(name)):
        return ""
    from course_utils.roles import role_of

    role = role_of("two-layer", int(found[1]), int(found[2]))
    attributes = f'type="button" class="course-head" data-head="{name}" data-role="{role}"'
    return f"<button {attributes}><code>{name}</code></button>" if role else ""


def setup(app):
    app.connect("doctree-resolved", name_heads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
