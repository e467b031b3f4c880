"""Every exercise of every chapter: its stub is "not attempted", its own solution passes. Mistakes: test_checks_chNN."""

import ast

import nbformat
import pytest

from course_utils.checks.base import Outcome
from tools.notebooks import chapters


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def exercises(path):
    """(stub, check, solution) of each exercise of a chapter."""
    code = code_cells(path)
    places = [place for place, cell in enumerate(code) if "exercise" in cell.metadata.get("tags", [])]
    return [code[place : place + 3] for place in places]


CHAPTERS = [path for path in chapters() if exercises(path)]
EXERCISES = [
    pytest.param(path, number, *cells, id=f"{path.stem}-{number}")
    for path in CHAPTERS
    for number, cells in enumerate(exercises(path), 1)
]


def run(path, source: str) -> Outcome:
    """Execute a cell after the chapter's imports and return the value of its last line."""
    parsed = (ast.parse(cell.source) for cell in code_cells(path))
    imports = [node for tree in parsed for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value)
    names = {}
    exec(compile(ast.Module(imports + tree.body, []), "cell", "exec"), names)
    return eval(compile(last, "cell", "eval"), names)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_four_exercises_or_more(path):
    assert len(exercises(path)) >= 4


@pytest.mark.parametrize("path, number, stub, check, solution", EXERCISES)
def test_a_stub_is_not_attempted(path, number, stub, check, solution):
    outcome = run(path, stub.source + "\n\n\n" + check.source)
    assert outcome.status == "not attempted"
    assert check.outputs[0].data["text/plain"] == repr(outcome)


@pytest.mark.parametrize("path, number, stub, check, solution", EXERCISES)
def test_the_chapters_solution_passes(path, number, stub, check, solution):
    outcome = run(path, solution.source)
    assert (outcome.status, outcome.exercise) == ("passed", f"Exercise {int(path.stem[:2])}.{number}")
