"""The teacher's pages: one for each chapter, all of one frame; plans that add up; names that are the chapters' own."""

import re

import pytest

from tools import notebooks, progress

FOLDER = notebooks.ROOT / "book/workshop"
PAGES = sorted(FOLDER.glob("*.md"))
CLASS = [path for path in PAGES if re.match(r"\d\d$|find_it_yourself$", path.stem)]
PARTS = [
    "The one idea",
    "Ask before you show",
    "Mistakes, and the question that undoes each",
    "To discuss",
    "Checkpoint",
    "Likely questions",
]


@pytest.fixture(scope="module")
def chapters():
    return {re.sub(r"^(\d\d)_.*", r"\1", chapter.path.stem): chapter for chapter in progress.chapters()}


def test_each_chapter_has_a_page_and_each_page_is_in_the_contents(chapters):
    assert [path.stem for path in CLASS] == sorted(chapters)
    assert {path for path in PAGES if path.stem != "slides"} <= set(notebooks.pages())


@pytest.mark.parametrize("path", CLASS, ids=lambda path: path.stem)
def test_a_page_has_its_parts(path, chapters):
    text = path.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.M) == PARTS
    name = f"Chapter {int(path.stem)}" if path.stem.isdigit() else chapters[path.stem].title
    assert text.startswith(f"# {name} in class: ")
    assert f"[The chapter](../{chapters[path.stem].path.name})" in text
    parts = dict(zip(PARTS, re.split(r"^## .+$", text, flags=re.M)[1:], strict=True))
    assert len(re.findall(r"^\* ", parts["Ask before you show"], re.M)) >= 3
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", parts["Mistakes, and the question that undoes each"], re.M)
    assert rows[0] == ("you hear", "ask") and len(rows) >= 6
    assert [row for row in rows[1:] if "?" not in row[1]] == []
    assert len(re.findall(r"^\*\*.+?\?\*\*", parts["Likely questions"], re.M)) >= 4


def test_exercises_that_are_named_are_those_of_the_chapters(chapters):
    titles = {exercise.name: exercise.title for chapter in chapters.values() for exercise in chapter.exercises}
    text = " ".join(path.read_text("utf-8") for path in PAGES)
    named = re.findall(r"(Exercise\s\w+\.\d+) \(\*(.+?)\*\)", text)
    assert len(named) >= 6 and len(named) == len(re.findall(r"Exercise\s\w+\.\d+", text))
    assert [name for name in named if titles.get(name[0], "").lower() != name[1].lower()] == []


def test_plans_add_up():
    text = (FOLDER / "index.md").read_text("utf-8")
    minutes = [tuple(map(int, pair)) for pair in re.findall(r"^\| (\d+)–(\d+) \|", text, re.M)]
    assert [end for _, end in minutes[:-1]] == [begin for begin, _ in minutes[1:]]
    assert (minutes[0][0], minutes[-1][1]) == (0, 90)
    times = [int(hours) * 60 + int(rest) for hours, rest in re.findall(r"^\| (\d):(\d\d) \|", text, re.M)]
    assert times == sorted(set(times)) and times[-1] < 240
    slides = (FOLDER / "slides.md").read_text("utf-8")
    told = re.search(r"Notes: Times: (.+)\.\n", slides)[1]
    assert [int(h) * 60 + int(m) for h, m in re.findall(r"(\d):(\d\d)", told)] == times
