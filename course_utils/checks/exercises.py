"""The exercises of the book, and which of them a reader has passed: `python -m course_utils progress`.

In a checkout they are read from the chapters. A wheel has no chapters: it brings their list, `data/exercises.json`.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from course_utils.checks import kept

LIST = Path(__file__).resolve().parent.parent / "data/exercises.json"


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


def write_list(chapters: list[Chapter], path: Path) -> None:
    """The list that a wheel brings."""
    told = [asdict(chapter) | {"path": chapter.path.name} for chapter in chapters]
    path.write_text(json.dumps(told, ensure_ascii=False), "utf-8")


def read_list() -> list[Chapter]:
    """The chapters of the wheel's list."""
    told = json.loads(LIST.read_text("utf-8"))
    lists = (tuple(Exercise(**each) for each in chapter["exercises"]) for chapter in told)
    return [
        Chapter(**chapter | {"path": Path(chapter["path"]), "exercises": exercises})
        for chapter, exercises in zip(told, lists, strict=True)
    ]


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


def report(chapters: list[Chapter], keep: bool = False, forget: bool = False) -> None:
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
    print(table(chapters, kept.passed()))
    print(f"Kept in {path}. To delete it: python -m course_utils progress --forget")
