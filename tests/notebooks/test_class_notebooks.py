"""The notebooks of the short plans: what an exercise needs stands above it, and they run by themselves."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tools import class_notebook, notebooks, plain, plans, workshop

PLANS = {key: plan for key, plan in plans.read().items() if plan.notebook}


@pytest.fixture(scope="module", params=PLANS)
def made(request):
    return PLANS[request.param], class_notebook.notebook(PLANS[request.param], plain.Book(notebooks.ROOT))


def code(*sources):
    return [nbformat.v4.new_code_cell(source) for source in sources]


@pytest.mark.parametrize(
    "cells, chosen",
    [
        (("import a", "b = 1", "a.f()"), {0, 2}),
        (("b = 1", "b = 2", "print(b)"), {1, 2}),
        (("b = 1", "b += 1", "print(b)"), {0, 1, 2}),
        (("b = {}", "b[0] = 1", "print(b)"), {0, 1, 2}),
        (("n = 3", "def f(n):\n    return n", "f(1)"), {1, 2}),
        (("n = 3", "def f():\n    return n", "f()"), {0, 1, 2}),
        (("n = 3", "[n for n in 'ab']"), {1}),
        (("n = 3", "for n in 'ab':\n    print(n)"), {1}),
        (("n = 3", "m = [n for m in 'ab']"), {0, 1}),
    ],
)
def test_a_cell_needs_those_that_make_or_change_what_it_uses(cells, chosen):
    assert class_notebook.needed(code(*cells), {len(cells) - 1}) == chosen


def test_it_has_the_exercises_and_predictions_of_its_plan_in_their_order(made):
    plan, notebook = made
    text = "\n".join(cell.source for cell in notebook.cells)
    named = [name for part in plan.parts for name in (*part.shows, *(f": {each.title}" for each in part.exercises))]
    places = [text.find(name) for name in named if not name.startswith("fig-")]
    assert len(places) >= 4 and -1 not in places
    for tag in notebooks.EXERCISE:
        found = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
        assert len(found) == sum(len(part.exercises) for part in plan.parts)


def test_it_leaves_out_what_nobody_needs(made):
    plan, notebook = made
    pages = {page.stem[:2]: page for page in notebooks.chapters()}
    numbers = {number for part in plan.parts for number in part.chapters if number in pages}
    whole = sum(len(nbformat.read(pages[number], as_version=4).cells) for number in numbers)
    assert len(notebook.cells) < whole / 4


@pytest.mark.parametrize("made", ["half_day", pytest.param("90_minutes", marks=pytest.mark.release)], indirect=True)
def test_it_runs_from_the_top(made, tmp_path):
    """With the solutions, every check passes; every number is the book's."""
    plan, notebook = made
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}, kernel_name="python3"
    )
    client.execute(env=os.environ | {"COURSE_CLAIMS": "strict", "COURSE_PROGRESS": ""})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    said = [output.data.get("text/plain", "") for output in outputs]
    said = [line.partition(": ") for line in said if line.startswith(("○", "✓", "✗"))]
    exercises = [each.name for part in plan.parts for each in part.exercises]
    words = [(head, rest.split(".")[0]) for head, _, rest in said]
    assert words == [pair for name in exercises for pair in ((f"○ {name}", "not attempted"), (f"✓ {name}", "passed"))]


def test_students_have_it_without_solutions(made):
    handed = workshop.without_solutions(made[1])
    assert not any("solution_" in cell.source for cell in handed.cells)
