"""The exercises of the book, and which of them a reader has passed: `python -m course_utils progress`."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from course_utils.checks import kept
from tools import notebooks

HEAD = re.compile(r"### Exercise (\d+): (.+)\n+\*Difficulty: (easy|medium|hard) · (\d+) minutes\.\*(?:\n|$)")
TIME = re.compile(r"\*\*Time\.\*\* (\d+) minutes")


@dataclass(frozen=True)
class Exercise:
    name: str  # as its checker says it: "Exercise 7.2"
    title: str
    difficulty: str
    minutes: int


@dataclass(frozen=True)
class Chapter:
    path: Path
    number: str  # by which its exercises are numbered: "7", or "F"
    title: str
    minutes: int  # to read and run
    exercises: tuple[Exercise, ...]


def read_chapter(path: Path) -> Chapter:
    """What a chapter says of itself: its title, how long it takes, its exercises."""
    cells = nbformat.read(path, as_version=4).cells if path.suffix == ".ipynb" else [None]
    sources = [cell.source for cell in cells if cell.cell_type == "markdown"] if cells[0] else [path.read_text("utf-8")]
    text, number = "\n\n".join(sources), notebooks.label(path)
    time = TIME.search(text)
    return Chapter(
        path,
        number,
        re.match(r"# (.+)", text)[1],
        int(time[1]) if time else 0,
        tuple(Exercise(f"Exercise {number}.{n}", title, hard, int(m)) for n, title, hard, m in HEAD.findall(text)),
    )


def chapters(root: Path = notebooks.ROOT) -> list[Chapter]:
    """The pages with a number, in reading order: the chapters, and *Find it yourself*."""
    return [read_chapter(path) for path in notebooks.pages(root) if notebooks.label(path)]


def table(chapters: list[Chapter], passed: dict[str, str]) -> str:
    """A line for each exercise, with the day on which it was first passed, and sums for each chapter."""
    lines, done, total = [], 0, 0
    for chapter in (chapter for chapter in chapters if chapter.exercises):
        here = [exercise.name in passed for exercise in chapter.exercises]
        done, total = done + sum(here), total + len(here)
        lines.append(f"{chapter.number:>2}  {chapter.title}: {sum(here)} of {len(here)}")
        for exercise in chapter.exercises:
            day = passed.get(exercise.name, "")
            mark = f"✓ {day}" if day else "○"
            effort = f"{exercise.difficulty}, {exercise.minutes} min"
            name = f"{exercise.name.removeprefix('Exercise ')}  {exercise.title}"
            lines.append(f"      {name:48}{effort:18}{mark}")
    return "\n".join([*lines, "", f"{done} of {total} exercises passed."])


def report(keep: bool = False, forget: bool = False) -> None:
    """Print the table, or say how to begin; `keep` begins, `forget` deletes the file."""
    path = kept.path()
    if forget:
        kept.forget()
        print("Nothing is kept any more.")
        return
    if keep:
        print(f"From now on the exercises that you pass are noted in {kept.begin()}. The file stays on this machine.")
        return
    if path is None or not os.path.exists(path):
        print("No progress is kept. To begin: python -m course_utils progress --keep")
        return
    print(table(chapters(), kept.passed()))
    print(f"Kept in {path}. To delete it: python -m course_utils progress --forget")
