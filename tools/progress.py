"""The exercises of the book, read from its chapters."""

import re
from pathlib import Path

import nbformat

from course_utils.checks.exercises import Chapter, Exercise
from course_utils.errors import CourseError
from tools import notebooks

TIME = re.compile(r"\*\*Time\.\*\* (\d+) minutes")


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
        tuple(
            Exercise(f"Exercise {number}.{n}", title, hard, int(m))
            for n, title, hard, m in notebooks.EXERCISE_HEAD.findall(text)
        ),
    )


def chapters(root: Path = notebooks.ROOT) -> list[Chapter]:
    """The pages with a number, in reading order: the chapters, and *Find it yourself*."""
    return [read_chapter(path) for path in notebooks.pages(root) if notebooks.label(path)]


def route(hours: int, stops: list[str], root: Path = notebooks.ROOT) -> str:
    """The table of a way through the book: each stop a page of book/ and its exercises to do, "03_one_layer: 3.2".

    Raises CourseError if a stop is not there, or if all of it takes longer than `hours`, or a quarter of an hour less.
    """
    known = {chapter.path.stem: chapter for chapter in chapters(root)}
    rows, total = ["| chapter | exercises | minutes |", "|---|---|--:|"], 0
    for stop in stops:
        page, _, names = stop.partition(":")
        here = {each.name.split()[-1]: each for each in known[page].exercises} if page in known else {}
        if page not in known or not set(names.split()) <= set(here):
            raise CourseError(f"the stop {stop!r}", "no chapter has it", "name a page of book/ and exercises of it")
        chapter, todo = known[page], [here[name] for name in names.split()]
        minutes = chapter.minutes + sum(each.minutes for each in todo)
        total += minutes
        said = "<br>".join(f"{each.name.split()[-1]} ({each.title})" for each in todo) or "—"
        rows.append(f"| [{chapter.number} · {chapter.title}]({chapter.path.name}) | {said} | {minutes} |")
    if not 60 * hours - 15 <= total <= 60 * hours:
        raise CourseError(f"{total} minutes", f"the way is said to take {hours} hours", "choose other stops")
    return "\n".join([*rows, f"| **together** | | **{total}** |"])
