"""The chapters' form, the table of contents, and the claims that numbers in prose name."""

import json
import re
import subprocess
import sys

import nbformat
import prose
import pytest

from course_utils.errors import CourseError
from course_utils.figures.quiz import QUIZZES
from tools import notebooks

CHAPTERS = notebooks.chapters()
ALT = "Line that falls from nine nats to four nats"


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


# --- the real chapters ---


def test_form(chapter):
    assert notebooks.problems(chapter) == []


def test_contents_lists_the_notebooks_on_disk(root):
    on_disk = {path for path in (root / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert set(CHAPTERS) == on_disk and len(CHAPTERS) >= 2


def test_nbval_collects_the_notebooks_of_the_contents(root):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "book"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout
    collected = {root / line.split("::")[0] for line in listed.splitlines() if ".ipynb::" in line}
    assert collected == set(CHAPTERS)


@pytest.fixture(scope="module")
def known(root):
    return prose.load_claims(root), prose.load_sources(root)


PAGES = [*CHAPTERS, *sorted((notebooks.ROOT / "book").rglob("*.md")), *sorted(QUIZZES.glob("*.json"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_numbers_in_prose_name_their_claims(page, known):
    assert [fault for text in prose.texts(page) for fault in prose.faults(text, *known)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_papers_number_stands_with_its_place(page):
    assert [sentence for text in prose.texts(page) for sentence in prose.placeless(text)] == []


def test_a_papers_number_without_its_place_is_found():
    bare = [
        "Ours has 11<!-- 05.ov.copying --> of 12, the paper's ten<!-- 05.ov.copying.paper --> of twelve.",
        "The paper says that seven of its heads copy.",
        "{cite:t}`olsson2022` compare positions 500 and 50.",
        "Induction came at 1.74<!-- hoogland2024 --> billion tokens.",
        "Losses:\n\n| claim | 0.3<!-- 08.orders.reduction.paper[2] --> | 1 |",
    ]
    assert [len(prose.placeless(text)) for text in bare] == [1] * len(bare)
    placed = [
        "The paper says that seven of its heads copy (*Detecting Copying Behavior*).",
        "The paper prints no 0.036<!-- given -->: that baseline is ours.",
        "The loss falls as in *Term Importance Analysis*:\n\n| claim | 0.3<!-- 08.orders.reduction.paper[2] --> |",
        "The paper has columns. Of our heads three<!-- 07.prefix.count --> match.",
        "Six heads of the paper stand in its figure.",
    ]
    assert [prose.placeless(text) for text in placed] == [[]] * len(placed)


def test_each_number_bound_to_a_claim_is_caught_when_it_changes(known):
    claims, sources = known
    bound = [
        found
        for page in PAGES
        for text in prose.texts(page)
        for found in prose.stated(text)
        if found["mark"].strip() not in {"given", *sources}
    ]
    assert len(bound) > 100
    changed = [text for found in bound for text in prose.neighbours(found)]
    assert [text for text in changed if len(prose.faults(text, *known)) != 1] == []


def test_recorded_results_are_those_that_the_cells_claim(root):
    recorded = prose.load_claims(root)
    claimed = [key for path in CHAPTERS for key in prose.claimed_keys(nbformat.read(path, as_version=4))]
    assert [key for key in recorded if not any(re.fullmatch(pattern, key) for pattern in claimed)] == []
    assert [pattern for pattern in claimed if not any(re.fullmatch(pattern, key) for key in recorded)] == []


def test_a_chapter_claims_under_its_own_number(chapter):
    """An appendix page may continue a chapter, and then claims under that chapter's number."""
    if chapter.parent.name != "appendix":
        claimed = prose.claimed_keys(nbformat.read(chapter, as_version=4))
        assert [key for key in claimed if key.split(re.escape("."))[0] != re.escape(prose.chapter_of(chapter))] == []


def test_every_recorded_result_belongs_to_a_chapter(root):
    names = {prose.chapter_of(path) for path in CHAPTERS}
    for key, claim in prose.load_claims(root).items():
        assert claim["chapter"] == key.split(".")[0] and claim["chapter"] in names, key
        assert claim["says"].strip(), key


# --- the rules themselves ---


def markdown(source, **metadata):
    return nbformat.v4.new_markdown_cell(source, metadata=metadata)


def code(source, *tags, outputs=(), **metadata):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags), **metadata}, outputs=list(outputs))


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def good_cells():
    return [
        markdown("# A chapter"),
        code("plt.plot([1, 2])", mystnb={"image": {"alt": ALT}}),
        code("print(1)", "nbval-check-output", outputs=[printed("1\n")]),
        code("def double(x):\n    raise NotImplementedError", "exercise"),
        code("check_double(double)", "check"),
        code("def double(x):\n    return 2 * x", "solution", "hide-cell"),
    ]


@pytest.fixture
def write(tmp_path):
    """Write cells as a notebook in the repository's form."""

    def write(cells):
        path = tmp_path / "01_chapter.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        notebooks.normalise([path])
        return path

    return write


def test_a_good_notebook_has_no_problems(write):
    assert notebooks.problems(write(good_cells())) == []


CLAIM = 'claim(\n    "01.x",\n    x,\n    tolerance=0,\n    says="The x",\n)'

BAD = {
    "one title": lambda cells: cells.insert(0, markdown("Words before the title")),
    "found 2 titles": lambda cells: cells.append(markdown("# Another title")),
    "is empty": lambda cells: cells.append(code("")),
    "unknown tags": lambda cells: cells.append(code("1", "excercise")),
    "holds no output": lambda cells: cells.append(code("print(2)", "nbval-check-output")),
    "not tagged nbval-ignore-output": lambda cells: cells.append(
        code("from course_utils.figures import quiz\nquiz('01')")
    ),
    "by a comment": lambda cells: cells.append(code("# NBVAL_SKIP\nprint(2)")),
    "other code than claims": lambda cells: cells.append(code("x = 1", "claims", "hide-input")),
    "a cell of their own": lambda cells: cells.append(code("x = 1\n" + CLAIM)),
    "alternative text is ''": lambda cells: cells.append(code("if True:\n    fig = plots.heatmap(x)")),
    "alternative text is 'Plot'": lambda cells: cells.append(code("x", mystnb={"image": {"alt": "Plot"}})),
    "without the tag hide-cell": lambda cells: cells.__setitem__(-1, code("double = 2", "solution")),
    "must end in": lambda cells: cells.__setitem__(3, code("def double(x):\n    pass", "exercise")),
    "must be its check": lambda cells: cells.pop(),
    "calls no checker": lambda cells: cells.__setitem__(4, code("double(2)", "check")),
    "follows no check": lambda cells: cells.append(code("double = 2", "solution", "hide-cell")),
    "follows no exercise": lambda cells: cells.append(code("check_double(double)", "check")),
}


@pytest.mark.parametrize("sentence", BAD)
def test_a_bad_notebook_is_told_what_is_wrong(write, sentence):
    cells = good_cells()
    BAD[sentence](cells)
    found = notebooks.problems(write(cells))
    assert found and any(sentence in problem for problem in found), found


def test_normalising_keeps_only_what_is_compared(write, tmp_path):
    picture = nbformat.v4.new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"})
    value = nbformat.v4.new_output("execute_result", data={"text/plain": "3"}, execution_count=7)
    cells = [
        markdown("# A chapter  \n\n", collapsed=True),
        code("1", outputs=[value, picture]),
        code("2", "nbval-check-output", outputs=[printed("a"), printed("b\n"), printed("", "stderr"), picture, value]),
        code("x", "solution", "hide-cell"),
        code("1"),
    ]
    path = write(cells)
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata == notebooks.METADATA
    assert notebook.cells[0].metadata == {} and notebook.cells[0].source == "# A chapter"
    assert notebook.cells[1].outputs == []
    compared = notebook.cells[2].outputs
    assert [output.get("text") or dict(output.data) for output in compared] == [
        "ab\n",
        {"text/plain": "<Figure>"},
        {"text/plain": "3"},
    ]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, None, 2, None, None]
    assert compared[2].execution_count == 2 and "image" not in path.read_text()
    assert notebook.cells[3].metadata.jupyter.source_hidden is True
    assert len({cell.id for cell in notebook.cells}) == len(cells)
    assert notebooks.normalise([path]) == [], "a second run changes nothing"


def test_the_time_with_exercises_is_that_of_the_parts(write):
    exercise = "### Exercise {}: add\n\n*Difficulty: easy · {} minutes.*\n\nAdd."
    head = "# A chapter\n\n**Time.** 30 minutes to read and run, {} with\nthe exercises."
    path = write([markdown(head.format(99)), *(markdown(exercise.format(n, 10 * n)) for n in (1, 2))])
    assert nbformat.read(path, as_version=4).cells[0].source == head.format(60)
    path.write_text(path.read_text("utf-8").replace("run, 60 with", "run, 65 with"), "utf-8")
    assert any("repository's form" in problem for problem in notebooks.problems(path))


def test_claims_that_stand_alone_are_folded_everywhere(write):
    path = write([*good_cells(), code(CLAIM), code("x\n" + CLAIM.replace("\n    ", " ").replace("\n", ""))])
    assert notebooks.problems(path) == []
    alone, among = nbformat.read(path, as_version=4).cells[-2:]
    assert alone.metadata.tags == ["claims", "hide-input"] and alone.metadata.jupyter.source_hidden is True
    assert alone.metadata.mystnb.code_prompt_show == "Show the claims"
    assert among.metadata == {}


def test_cell_ids_stay_when_a_cell_is_inserted(write):
    before = [cell.id for cell in nbformat.read(write(good_cells()), as_version=4).cells]
    cells = good_cells()
    cells.insert(1, markdown("Inserted."))
    after = [cell.id for cell in nbformat.read(write(cells), as_version=4).cells]
    assert [name for name in after if name in before] == before


@pytest.mark.parametrize(("stored", "outcome"), [("2", 0), ("3", 1)])
def test_compared_outputs_are_compared(write, root, stored, outcome):
    """Keeps the notebooks' run honest: with the options of this project, a wrong stored output fails."""
    cell = code("print(1 + 1)", "nbval-check-output", outputs=[printed(f"{stored}\n")])
    path = write([markdown("# A chapter"), cell])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", root / "pyproject.toml", path]
    assert subprocess.run(command, cwd=path.parent, capture_output=True).returncode == outcome


@pytest.mark.release
def test_the_cells_of_a_notebook_stay_together_in_several_processes(write, root):
    cells = [code("x = 0"), *(code(f"x += 1\nassert x == {n}") for n in range(1, 6))]
    path = write([markdown("# A chapter"), *cells])
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-c", root / "pyproject.toml"]
    done = subprocess.run([*command, path], cwd=path.parent, capture_output=True, text=True)
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout


def test_stored_widget_state_and_counts_are_problems(write):
    path = write(good_cells())
    stored = json.loads(path.read_text())
    stored["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    path.write_text(json.dumps(stored))
    assert any("repository's form" in problem for problem in notebooks.problems(path))


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text("{")
    with pytest.raises(CourseError, match="broken.ipynb"):
        notebooks.problems(path)


def test_a_page_that_is_missing_is_named(tmp_path):
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    with pytest.raises(CourseError, match="book/intro"):
        notebooks.chapters(tmp_path)


# --- numbers in prose ---


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The loss is 4.26 nats.", ["4.26"]),
        ("It falls from 9.0 to 4.26.", ["9.0", "4.26"]),
        ("a tenth (0.1), −0.25, about 12.5 % and 1,234.5", ["0.1", "0.25", "12.5", "1,234.5"]),
        ("| a | 1.5 |\n|---|---|\n| b | 2.5 |", ["1.5", "2.5"]),
        ("```{note}\nA note says 1.5.\n```", ["1.5"]),
        (":::{admonition} Words\n:class: tip\nIt says 2.5.\n:::", ["2.5"]),
        ("24 % of them, and 3 per cent", ["24", "3"]),
        ("9 of 12 heads; Nine of the twelve; four\nin five; 1 in 500", ["9", "Nine", "four", "1"]),
        ("All 12<!-- 01.count --> heads, and 3 heads, and three<!-- 01.few --> more", ["12", "three"]),
        ("`x = 1.5` and ``y = 2.5`` and $z = 3.5$\n$$\nw = 4.5\n$$", []),
        ("```python\nx = 1.5\n```\n~~~\n2.5\n~~~", []),
        ("Python 3.11, torch 2.13, CC BY 4.0, {cite:p}`a.2021`, [text](page_1.5.html), https://a.example/1.5", []),
        ("### Exercise 2.1\n\nLike exercise 2.5, but see chapter 3 in ten minutes", []),
        ("In 2021, 12 heads, one of four, two of them, with 95 % intervals, version 1.2.3, 10.1.2020", []),
    ],
)
def test_numbers_that_must_name_a_claim_are_found(text, numbers):
    assert [found["number"] for found in prose.stated(text)] == numbers


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a loss of 4.26<!-- 01.loss --> and 4.3<!-- 01.loss -->", ""),
        ("4.27<!-- 01.loss -->", "is no rounding of 4.2561"),
        ("4.26", "names no claim"),
        ("4.26 <!-- 01.loss -->", "names no claim"),
        ("4.26<!-- 01.lost -->", "names no number"),
        ("4.26<!-- 01.loss[0] -->", "names no number"),
        ("4.26<!-- nobody2021 -->", "names no number"),
        ("4.26<!-- a remark -->", "names no number"),
        ("4.26<!-- somebody2021 --> and 0.5<!-- given -->", ""),
        ("−0.5<!-- 01.list[1] -->", ""),
        ("less by 0.5<!-- 01.list[1] -->", "is no rounding of -0.5"),
        ("−2.5<!-- 01.list[0] -->", "is no rounding of 2.5"),
        ("2.5<!-- 01.list[2] -->", "names no number"),
        ("2.5<!-- 01.list -->", "names no number"),
        ("12.5<!-- 01.share --> %, 12<!-- 01.share --> per cent, 0.125<!-- 01.share -->", ""),
        ("one<!-- 01.share --> in eight, and 25<!-- 01.share --> in 200", ""),
        ("12.4<!-- 01.share --> %", "is no rounding of 12.5"),
        ("Nine<!-- 01.count --> of twelve", ""),
        ("ten<!-- 01.count --> of twelve", "is no rounding of 9"),
        ("10<!-- 01.count.paper[0] --> of 12, 30.8<!-- 01.share.paper --> %, −0.4<!-- 01.loss.paper -->", ""),
        ("11<!-- 01.count.paper[0] --> of 12", "is no rounding of 10"),
        ("2.5<!-- 01.list.paper -->", "names no number"),
    ],
)  # fmt: skip
def test_numbers_are_held_against_their_claims(text, fault):
    claims = {
        "01.loss": {"value": 4.2561, "paper": -0.4},
        "01.list": {"value": [2.5, -0.5], "paper": None},
        "01.share": {"value": 0.125, "paper": "30.8 % for one head"},
        "01.count": {"value": 9, "paper": "10 of 12"},
    }
    found = prose.faults(text, claims, {"somebody2021"})
    assert len(found) == bool(fault) and fault in "".join(found)


def test_claimed_keys_are_found():
    cells = [
        markdown("# A chapter: claim('01.not.this')"),
        code("claim('01.a', 1, tolerance=0, says='a')"),
        code("_ = course_utils.claim(f'01.rank.{r}.loss', 2, tolerance=0, says='b')"),
    ]
    patterns = prose.claimed_keys(nbformat.v4.new_notebook(cells=cells))
    assert len(patterns) == 2
    assert re.fullmatch(patterns[0], "01.a") and not re.fullmatch(patterns[0], "01xa")
    assert re.fullmatch(patterns[1], "01.rank.64.loss") and not re.fullmatch(patterns[1], "01.rank.loss")
