"""An exercise of a chapter is folded on its page, below its title, its difficulty and the beginning of its task.

A notebook has no such fold. A link to an exercise opens it, and so does paper (course.js, loaded by `_config.yml`).
"""

import re

from docutils import nodes

TITLE = re.compile(r"Exercise (\d+):")
SHOWN = 3  # title, difficulty, the first paragraph of the task


def fold_exercises(app, doctree, docname) -> None:
    if app.builder.format != "html" or not re.match(r"book/\d\d_", docname):
        return
    for section in doctree.findall(nodes.section):
        if found := TITLE.match(section[0].astext()):
            section["classes"].append("course-exercise")
            summary = f'<details class="course-more"><summary>Exercise {found[1]} in full</summary>'
            section.insert(SHOWN, nodes.raw("", summary, format="html"))
            section += nodes.raw("", "</details>", format="html")


def setup(app):
    app.connect("doctree-resolved", fold_exercises)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
