"""The notebook of a plan: its predictions and exercises, each below the cells of its chapter that it needs.

Which cells these are is computed: from an exercise back to the cells that define the names that it uses, and so on.
"""

import ast
import re
import symtable
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import notebooks, plain, plans, progress

INTRODUCTION = """# {day}: {title}

What this class does by itself, in the order of the day: predictions, and exercises. Above each stand the cells of its
chapter that it needs, and no others; the chapters lie beside this notebook. Run it from the top.
"""
TRY = re.compile(r"\b[Tt]ry\s[^`.]*`([^`]+)`")


def notebook(plan: plans.Plan, book: plain.Book) -> NotebookNode:
    """The class notebook of this plan; it runs from the top by itself."""
    pages = {page.stem[:2]: page for page in notebooks.chapters(book.root)}
    cells = [nbformat.v4.new_markdown_cell(INTRODUCTION.format(day=plan.day, title=plan.title))]
    for part in plan.parts:
        for page in (pages[number] for number in part.chapters if number in pages):
            if chosen := exercises(page, part.exercises, book, part.shows):
                head = (
                    f"## {book.titles[page]}\n\n[The chapter]({page.name}), {plans.clock(part.starts)} into the class."
                )
                cells += [nbformat.v4.new_markdown_cell(head), *chosen]
    for place, cell in enumerate(cells):
        cell.id = f"{plan.key}-{place}"
    return nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(notebooks.METADATA))


def exercises(page: Path, asked: Sequence[progress.Exercise], book: plain.Book, shows: Sequence[str] = ()):
    """These exercises of a chapter, and these predictions and figures, each below the cells that it needs."""
    cells = nbformat.read(page, as_version=4).cells
    tasks = [place for place, cell in enumerate(cells) if any(asks(cell, page, each.name) for each in asked)]
    shown = [place for name in shows for place in _places(cells, name)]
    if not shown + tasks:
        return []
    roots = set(shown) | {place + more for place in tasks for more in (1, 2, 3)}  # the answer, its check, a solution
    roots.add(next(place for place, cell in enumerate(cells) if cell.cell_type == "code"))  # imports, models
    tried = {name for place in tasks for code in TRY.findall(cells[place].source) for name in _names(code)[1]}
    chosen = sorted(needed(cells, roots, tried) | set(tasks))
    for place in tasks:
        task = cells[place].source
        cells[place].source = plain.plain(task[task.index("### Exercise ") :], page, book)
    return [cells[place] for place in chosen]


def asks(cell: NotebookNode, page: Path, exercise: str) -> bool:
    """Whether a cell of this chapter gives the task of "Exercise 7.2"."""
    number, task = exercise.removeprefix("Exercise ").split(".")
    return notebooks.label(page) == number and f"### Exercise {task}:" in cell.source


def _places(cells: list[NotebookNode], name: str) -> list[int]:
    """The cells of a prediction, to the one that reveals the truth, or of a figure, if this chapter has them."""
    found = [place for place, cell in enumerate(cells) if name == _figure(cell) or f'"{name}"' in cell.source]
    for place in list(found):
        for guess in re.findall(r"^(\w+) = predict\(", cells[place].source, re.M):
            found += [at for at, cell in enumerate(cells) if re.search(rf"\breveal\({guess}\b", cell.source)]
    return found


def _figure(cell: NotebookNode) -> str | None:
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("name")


def needed(cells: list[NotebookNode], roots: set[int], names: set[str] = frozenset()) -> set[int]:
    """`roots`, and the code cells above them that define or change what they use, and what these use."""
    names_of = {place: _names(cell.source) for place, cell in enumerate(cells) if cell.cell_type == "code"}
    waiting = [(max(roots), name) for name in names]
    waiting += [(place, name) for place in roots for name in names_of[place][1]]
    chosen, seen = set(roots), set(waiting)
    while waiting:
        below, name = waiting.pop()
        for place in range(below - 1, -1, -1):
            makes, uses, changes = names_of.get(place, (set(), set(), set()))
            if name in makes | changes:
                chosen.add(place)
                fresh = {(place, each) for each in uses} - seen
                seen |= fresh
                waiting += fresh
                if name in makes:
                    break
    return chosen


def _names(source: str) -> tuple[set[str], set[str], set[str]]:
    """The names that a cell makes, those that it uses from above, and those whose values it changes in place."""
    makes, uses, changes = set(), set(), set()
    for statement in ast.parse(source).body:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        made = {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}
        used = {each.get_name() for each in table.get_symbols() if each.is_referenced()} | _from_outside(table)
        if isinstance(statement, ast.For | ast.With):  # these make names before their bodies use them
            first = statement.iter if isinstance(statement, ast.For) else statement.items[0].context_expr
            used -= made - {node.id for node in ast.walk(first) if isinstance(node, ast.Name)}
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            used.add(statement.target.id)
        uses |= used - makes
        makes |= made
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                changes |= {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
    return makes, uses, changes - makes


def _from_outside(table: symtable.SymbolTable) -> set[str]:
    """What functions, classes and comprehensions take from the cell or from above it."""
    inner = table.get_children()
    own = {each.get_name() for child in inner for each in child.get_symbols() if each.is_global()}
    return own.union(*map(_from_outside, inner))
