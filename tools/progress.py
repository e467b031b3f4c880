"""The exercises of the book, read from its chapters."""

import re
from pathlib import Path

import nbformat

from course_utils.checks.exercises import Chapter, Exercise
from tools import notebooks

HEAD = re.compile(r"### Exercise (\d+): (.+)\n+\*Difficulty: (easy|medium|hard) · (\d+) minutes\.\*(?:\n|$)")
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
        tuple(Exercise(f"Exercise {number}.{n}", title, hard, int(m)) for n, title, hard, m in HEAD.findall(text)),
    )


def chapters(root: Path = notebooks.ROOT) -> list[Chapter]:
    """The pages with a number, in reading order: the chapters, and *Find it yourself*."""
    return [read_chapter(path) for path in notebooks.pages(root) if notebooks.label(path)]
