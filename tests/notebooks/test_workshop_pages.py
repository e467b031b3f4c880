"""The teacher's pages: one for each chapter, all of one frame; plans that add up; names that are the chapters' own."""

import re

import pytest

from course_utils.errors import CourseError
from tools import notebooks, plans, progress

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
    assert len(named) >= 4 and len(named) == len(re.findall(r"Exercise\s\w+\.\d+", text))
    assert [name for name in named if titles.get(name[0], "").lower() != name[1].lower()] == []


def test_the_closing_session_takes_ninety_minutes_and_its_exercises_fit(chapters):
    takes = {exercise.name: exercise.minutes for exercise in chapters["find_it_yourself"].exercises}
    text = (FOLDER / "find_it_yourself.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M)
    assert sum(int(minutes) for minutes, _ in rows) == 90
    asked = [re.findall(r"Exercise F\.\d", what) for _, what in rows]
    assert sum(asked, []) == [f"Exercise F.{number}" for number in (1, 2, 3, 4, 6)]
    for (minutes, _), names in zip(rows, asked, strict=True):
        assert int(minutes) >= sum(takes[name] for name in names), names
    page = (notebooks.ROOT / "book/find_it_yourself.ipynb").read_text("utf-8")
    told = re.search(r"(\d+) minutes to read and run, (\d+) with the exercises; (\d+)", page)
    read, whole, shorter = map(int, told.groups())
    assert (whole, shorter) == (read + sum(takes.values()), whole - takes["Exercise F.5"])


def test_plans_fit_their_sittings_breaks_included():
    made = plans.read()
    lengths = {key: [sitting.minutes for sitting in plan.sittings] for key, plan in made.items()}
    assert lengths == {"90_minutes": [90], "half_day": [240], "two_days": [120] * 6}
    for plan in made.values():
        for sitting in plan.sittings:
            assert any(part.cut for part in sitting.parts), f"{plan.key}, {sitting.name}: what goes if it is late?"
            if sitting.minutes > 90:  # nobody sits longer than 80 minutes
                breaks = [part.starts for part in sitting.parts if part.is_break]
                ends = [part.starts + part.minutes for part in sitting.parts if part.is_break]
                stretches = zip([0, *ends], [*breaks, sitting.minutes], strict=True)
                assert max(end - begin for begin, end in stretches) <= 80, sitting.name
    risk = next(part for part in made["half_day"].parts if part.chapters == ("03", "04"))
    assert risk.cut


def test_a_plan_that_does_not_add_up_is_refused(tmp_path, root):
    for name in ("_toc.yml", "book"):
        (tmp_path / name).symlink_to(root / name) if name == "_toc.yml" else (tmp_path / "book/workshop").mkdir(
            parents=True
        )
    for path in (root / "book").glob("*.*"):
        (tmp_path / "book" / path.name).symlink_to(path)
    (tmp_path / "book/appendix").symlink_to(root / "book/appendix")
    for path in FOLDER.glob("*.md"):
        (tmp_path / "book/workshop" / path.name).symlink_to(path)
    text = (FOLDER / "plans.yml").read_text("utf-8")
    for wrong, says in (
        (text.replace("talk: 10", "talk: 11", 1), "91 minutes"),
        (text.replace('"7.3"', '"7.9"'), "7.9"),
    ):
        (tmp_path / "book/workshop/plans.yml").write_text(wrong, "utf-8")
        with pytest.raises(CourseError, match=says):
            plans.read(tmp_path)


def test_the_table_has_clock_times_breaks_and_the_total():
    table = plans.table(plans.read()["half_day"])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    times = [int(row[0][0]) * 60 + int(row[0][2:]) for row in rows[:-1]]
    lengths = [int(row[1]) for row in rows[:-1]]
    assert times == [sum(lengths[:place]) for place in range(len(lengths))]
    assert rows[-1][1] == "**240**" and "breaks" in rows[-1][2]
