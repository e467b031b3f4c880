"""Submitted notebooks graded: `python -m course_utils grade FOLDER --csv`, one row for each learner and exercise.

A notebook is never run. Its definitions go to a process without network and with limits of time and memory, which
answers what a checker in another process asks; the verdict is that process's, and the table is written here, when all
others have ended. A submission that ends Python, never ends or wants all memory costs its own row.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import nbformat

from course_utils.checked import Made, checked, within
from course_utils.errors import CourseError
from course_utils.grading import confine
from course_utils.grading.judge import ROOT, STARTS, checkers

LARGEST = 50 << 20  # bytes of a notebook
CHECKS = Path(__file__).resolve().parent.parent / "checks"
CHAPTER = re.compile(r"from course_utils\.checks import (\w+) as check\b")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins to compute


class Row(NamedTuple):
    learner: str
    notebook: str
    exercise: str
    verdict: str  # passed, failed, not attempted, missing, stopped, by hand, unreadable
    message: str


@checked
def grade(
    folder: Annotated[Path, Made(Path), "pass the folder of the submissions"],
    seconds: Annotated[float, within(0)] = 60,
    memory: Annotated[float, within(0)] = 4,
    jobs: Annotated[int, within(1)] = 2,
    trust: bool = False,
) -> list[Row]:
    """One row for each exercise of each notebook below `folder`: FOLDER/LEARNER/….ipynb, or FOLDER/LEARNER.ipynb.

    seconds, memory (in GB): what an answer may take. jobs: how many are judged at a time. trust: also where the network
    and the files cannot be taken from what learners wrote.

    Raises CourseError if the folder is not there or holds no notebook, and without `trust` where they cannot.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder}", "there is no such folder", "name the folder that holds the submissions")
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        raise CourseError(f"{folder}", "no notebook is in it", "name the folder that holds the submissions")
    if not trust and not can_confine():
        rule = "nothing here takes network and files from the answers: that needs Linux and user namespaces"
        raise CourseError("what learners wrote would run", rule, "grade on Linux, or add --trust if you know them all")
    settings = {"seconds": seconds, "memory": int(memory * 2**30), "trust": trust}
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [task for path in paths for task in _tasks(folder, path)]
        return list(pool.map(partial(_row, settings), tasks))


def can_confine() -> bool:
    """Whether this machine lets its users confine a process."""
    with tempfile.TemporaryDirectory() as scratch:
        return confine.works(scratch)


def as_csv(rows: list[Row]) -> str:
    """The table for a spreadsheet, in which no cell becomes a formula."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Row._fields)
    table.writerows([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in row] for row in rows)
    return text.getvalue()


def as_text(rows: list[Row]) -> str:
    """The table to read."""
    lines = [f"{row.learner:24}{row.exercise:16}{row.verdict:16}{row.message}".rstrip() for row in rows]
    passed = sum(row.verdict == "passed" for row in rows)
    return "\n".join([*lines, "", f"{passed} of {len(rows)} passed."])


def _tasks(folder: Path, path: Path) -> Iterator[Row | tuple[Row, dict]]:
    """What is to be judged in a notebook; for one that can't be read, its row."""
    place = path.relative_to(folder)
    learner = place.parts[0] if len(place.parts) > 1 else path.stem
    row = Row(learner, place.as_posix(), "", "unreadable", "")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MB")
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        cells = [str(cell.source) for cell in cells if "solution" not in cell.metadata.get("tags", [])]
    except Exception as error:  # a stranger's file may hold anything
        yield row._replace(message=_one_line(f"{type(error).__name__}: {error}"))
        return
    parts = list(_parts(cells))
    if not parts:
        yield row._replace(message="no chapter: it does not import its checkers")
    for chapter, its_cells in parts:
        for exercise, checker in checkers(chapter).items():
            if len(parts) == 1 or _has(its_cells, checker):
                yield row._replace(exercise=exercise), {"chapter": chapter, "exercise": exercise, "cells": its_cells}


def _parts(cells: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The chapters whose checkers are imported, several in a class notebook, each with all down to its last check."""
    starts: dict[str, int] = {}
    for place, source in enumerate(cells):
        for chapter in CHAPTER.findall(source):
            if (CHECKS / f"{chapter}.py").exists():
                starts.setdefault(chapter, place)
    for chapter, end in zip(starts, [*starts.values(), None][1:], strict=True):
        its_cells = cells[:end]
        while end is not None and its_cells and "check." not in its_cells[-1]:
            its_cells.pop()  # what the next chapter's exercises need
        yield chapter, its_cells


def _has(cells: list[str], checker: Callable) -> bool:
    """Whether a notebook of several chapters asks for this exercise or answers it; it has only some of each."""
    text = "\n".join(cells)
    return f"check.{checker.__name__}(" in text or any(f"def {name}(" in text for name in checker.answers)


def _row(settings: dict, task: Row | tuple[Row, dict]) -> Row:
    if isinstance(task, Row):
        return task
    row, wanted = task
    judge = [sys.executable, "-m", "course_utils.grading.judge"]
    environment = os.environ | {"COURSE_PROGRESS": "", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            judge, input=json.dumps(wanted | settings), capture_output=True, text=True, encoding="utf-8",
            env=environment, timeout=settings["seconds"] + 2 * STARTS,
        )  # fmt: skip
        verdict, message = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        verdict, message = "stopped", "the checker came to no end"
    return row._replace(verdict=verdict, message=_one_line(message))


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
