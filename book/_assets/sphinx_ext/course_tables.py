"""On a telephone a table that is too wide becomes cards: a line for each cell, with the name of its column.

Which one is too wide is estimated here, so that the page does not move later; course.js sees to those that are cut
nevertheless. Roles: a table that is laid out otherwise stays one for those who hear it.
"""

import re

from bs4 import BeautifulSoup
from course_maths import width

TABLE = re.compile(r'<table class="table.*?</table>', re.S)
TEX = re.compile(r"\\[(),]|\\operatorname|[{}_^]")  # what a formula has in its source alone
LETTER, CODE, EDGES = 0.55, 0.6, 1.1  # in em: a letter, one of code, the room at both sides of a column
ROOM = 21.5  # in em, on a telephone


def narrowest(cell) -> float:
    """How narrow a cell can be, in em: as its longest word, piece of code or formula."""
    formulas = [formula.extract() for formula in cell.find_all(class_="math")]
    codes = [word for code in cell.find_all("code") for word in code.extract().get_text(" ").split()]
    words = cell.get_text(" ").split()
    return max(
        [0.0, *(width(formula.get_text()) for formula in formulas)]
        + [CODE * len(code) for code in codes]
        + [LETTER * len(word) for word in words]
    )


def name_of(cell) -> str:
    """A column's name as plain text: of its formulas what can be read."""
    texts = [(text.strip(), "math" in text.parent.get("class", ())) for text in cell.find_all(string=True)]
    return " ".join(TEX.sub("", text) if is_formula else text for text, is_formula in texts if text)


def with_columns(found: re.Match) -> str:
    table = BeautifulSoup(found[0], "html.parser").table
    names = [name_of(cell) for cell in table.select("thead tr:last-child > *")]
    if not names:
        return found[0]
    table["role"] = "table"
    rows = [(row, row.find_all(["td", "th"])) for row in table.find_all("tr")]
    for row, cells in rows:
        row["role"] = "row"
        for i, (name, cell) in enumerate(zip(names, cells, strict=False)):
            text = cell.get_text(strip=True)
            if text in ("", "–") and not cell.find(True, class_=True):
                cell["data-nothing"] = ""  # a card has no line for it
            elif name and (i > 0 or len(text) < 3):  # the first cell is a card's head, and a number alone is none
                cell["data-column"] = name
            cell["role"] = (
                "cell" if cell.name == "td" else "columnheader" if row.parent.name == "thead" else "rowheader"
            )
    made = str(table)  # before its cells are taken apart
    columns = zip(*(cells for _, cells in rows if len(cells) == len(names)), strict=True)
    if sum(EDGES + max(map(narrowest, column)) for column in columns) > ROOM:
        made = made.replace('class="', 'class="course-cards ', 1)
    return made


def mark(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = TABLE.sub(with_columns, context["body"])


def setup(app):
    app.connect("html-page-context", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
