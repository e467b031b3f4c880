"""Every exercise of every chapter: its stub is "not attempted", its own solution passes. Mistakes: test_checks_chNN."""

import pytest

from tools.mutants import exercises, run
from tools.notebooks import chapters, label

CHAPTERS = [path for path in chapters() if exercises(path)]
EXERCISES = [
    pytest.param(path, number, *cells, id=f"{path.stem}-{number}")
    for path in CHAPTERS
    for number, cells in enumerate(exercises(path), 1)
]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_four_exercises_or_more(path):
    assert len(exercises(path)) >= 4


@pytest.mark.parametrize("path, number, stub, check, solution", EXERCISES)
def test_a_stub_is_not_attempted(path, number, stub, check, solution):
    outcome = run(path, stub.source + "\n\n\n" + check.source)
    assert outcome.status == "not attempted"
    assert check.outputs[0].data["text/plain"] == repr(outcome)


TRIED_WITH_MISTAKES = "find_it_yourself"  # its solutions take long, and test_checks_find_it_yourself begins with them


@pytest.mark.parametrize(
    "path, number, stub, check, solution", [each for each in EXERCISES if TRIED_WITH_MISTAKES not in each.id]
)
def test_the_chapters_solution_passes(path, number, stub, check, solution):
    outcome = run(path, solution.source)
    assert (outcome.status, outcome.exercise) == ("passed", f"Exercise {label(path)}.{number}")
