"""What is folded on a page, and what a fold is called (loaded by `_config.yml`). A notebook is whole.

1. A folded cell that shows nothing stands in the fold of the next cell, which it prepares, before that one's own code;
   where none follows, in the fold of the cell before, which it checks.
2. A fold says what is in it: code, numbers with their code, a solution.
3. An exercise of a chapter is folded below its title, its difficulty and the beginning of its task. A link to it opens
   it, and so does paper (course.js).
"""

import re

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode

EXERCISE = re.compile(r"Exercise (\d+):")
SHOWN = 3  # title, difficulty, the first paragraph of the task
SET_UP = ("Set-up", "Set-up")
NUMBERS = ("All the numbers, and how they were computed",) * 2
SOLUTION = ("Show a solution", "Hide the solution")


def fold_of(cell) -> HideCodeCellNode | None:
    """A cell's fold, if it has one that is not for claims."""
    folded = isinstance(cell, nodes.container) and cell.children and isinstance(cell[0], HideCodeCellNode)
    return cell[0] if folded and "tag_claims" not in cell["classes"] else None


def beside(cell, step: int) -> HideCodeCellNode | None:
    """The fold of the next cell or the one before, past cells of claims; a prediction and a solution keep theirs."""
    siblings = cell.parent.children
    at = siblings.index(cell) + step
    while 0 <= at < len(siblings) and "tag_claims" in siblings[at].get("classes", ()):
        at += step
    near = siblings[at] if 0 <= at < len(siblings) else None
    into = fold_of(near)
    return into if into and "tag_solution" not in near["classes"] and "= predict(" not in into.astext() else None


def fold_cells(doctree) -> None:
    for cell in reversed(list(doctree.findall(nodes.container))):
        if (fold := fold_of(cell)) is None:
            continue
        if "tag_solution" in cell["classes"]:
            called = SOLUTION
        elif any(part.get("nb_element") == "cell_code_output" for part in cell.findall(nodes.container)):
            called = NUMBERS if cell["hide_mode"] == "all" else None
        else:
            called = SET_UP
            if into := beside(cell, 1):
                into.insert(0, fold.children)
            elif into := beside(cell, -1):
                into += fold.children
            if into:
                cell.parent.remove(cell)
        if called:
            fold["prompt_show"], fold["prompt_hide"] = called


def fold_exercises(doctree) -> None:
    for section in doctree.findall(nodes.section):
        if found := EXERCISE.match(section[0].astext()):
            section["classes"].append("course-exercise")
            summary = f'<details class="course-more"><summary>Exercise {found[1]} in full</summary>'
            section.insert(SHOWN, nodes.raw("", summary, format="html"))
            section += nodes.raw("", "</details>", format="html")


def fold(app, doctree, docname) -> None:
    if app.builder.format == "html":
        fold_cells(doctree)
        if re.match(r"book/\d\d_", docname):
            fold_exercises(doctree)


def setup(app):
    app.connect("doctree-resolved", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
