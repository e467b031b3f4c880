"""Figures, widgets and playgrounds in a running JupyterLab, and in a notebook that is opened again."""

import contextlib
import os
import re
import subprocess
import sys

import nbformat
import pytest
from visits import Visit

from tools import workshop

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELLS = [
    'from course_utils.figures import quiz\nquiz("01")',
    'live = quiz("02").widget()\nlive',
    "from course_utils.playground import playground\n"
    'playground(lambda word, times: print("so: " + word * times), word="na", times=[2, 3])',
    'print("python heard:", len(live.questions))',
]


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab over a folder that has one notebook."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "figures.ipynb")
    with jupyterlab(tmp_path, tmp_path) as address:
        yield address


@contextlib.contextmanager
def jupyterlab(folder, settings):
    """A running JupyterLab over `folder`; its address."""
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=0",
        "--IdentityProvider.token=",
        "--LanguageServerManager.autodetect=False",  # which starts node again and again, to look for what no test needs
    ]
    config = {name: str(settings / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    server = subprocess.Popen(command, cwd=folder, env=os.environ | config, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", line):
                break
        with contextlib.suppress(NameError):
            yield f"http://localhost:{found[1]}"
    finally:
        server.terminate()
        server.communicate()


def open_notebook(visited: Visit):
    page = visited.page
    page.set_viewport_size({"width": 1280, "height": 4000})  # JupyterLab holds only the cells that can be seen
    page.goto(f"{visited.home}/lab/tree/figures.ipynb?reset")
    page.locator(".jp-Notebook").wait_for()
    page.get_by_text("| Idle").wait_for()  # the kernel has started
    return page


def test_figures_and_controls_work_live_and_when_opened_again(visit, lab):
    visited = visit(lab, width=1280)
    page = open_notebook(visited)
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text(re.compile(r"^\s*python heard: \d\s*$")).wait_for()

    figure = page.locator(".jp-OutputArea .course-explorable[data-figure=quiz]")
    figure.locator(".ex-answers button").first.wait_for()
    right_answers(figure)
    # The widget, from the kernel.
    widget = page.locator(".jp-OutputArea .course-explorable[data-explorable=widget]")
    widget.locator(".ex-answers button").first.wait_for()
    right_answers(widget)
    # The playground draws again.
    output = page.locator(".jp-OutputArea", has_text="so: nana").last
    output.wait_for()
    page.locator(".widget-dropdown select").select_option("3")
    page.get_by_text("so: nanana", exact=True).last.wait_for()
    assert visited.outside == []

    with page.expect_response(lambda answer: answer.request.method == "PUT" and "figures.ipynb" in answer.url):
        page.keyboard.press("Control+S")
    again = open_notebook(visit(lab, width=1280))
    figure = again.locator(".jp-OutputArea .course-explorable[data-figure=quiz]")
    figure.locator(".ex-question").first.wait_for()
    assert figure.locator(".ex-figure, .ex-baseline").first.is_visible()


def right_answers(figure):
    """Answer the first question, and read every answer: each gets its verdict."""
    buttons = figure.locator(".ex-answers").first.locator("button")
    buttons.first.click()
    figure.get_by_role("button", name="Commit").first.click()
    verdicts = []
    for button in buttons.all():
        button.click()
        verdicts.append(button.locator(".ex-verdict").inner_text())
    assert sorted(verdicts) == ["✓"] + ["✗"] * (len(verdicts) - 1)


# What of MyST, of HTML and of mathematics a reader would see as it is written.
RAW = re.compile(r":::|```|\{[a-z:-]+\}|<!--|<details|^#+ |\]\(|\$\$|\\begin", re.M)
DRAWN = """([cells, folds]) => {
  const drawn = [...document.querySelectorAll(".jp-Notebook .jp-MarkdownOutput")];
  const folded = document.querySelectorAll(".jp-Notebook .jp-MarkdownOutput details");
  return drawn.length >= cells && drawn.every(each => each.textContent.trim()) && folded.length === folds;
}"""
SHOWN = """() => [...document.querySelectorAll(".jp-Notebook .jp-MarkdownOutput")].map(output => {
  const copy = output.cloneNode(true);
  for (const part of copy.querySelectorAll("code, pre, mjx-container")) part.remove();
  return copy.textContent;
})"""


@pytest.mark.release
@pytest.mark.timeout(1800)
def test_the_student_edition_shows_nothing_raw_in_jupyterlab(visit, tmp_path, root, record_property):
    """Every notebook of it: chapters and pages."""
    settings = tmp_path / "settings"
    whole = settings / "JUPYTER_CONFIG_DIR/lab/user-settings/@jupyterlab/notebook-extension"
    whole.mkdir(parents=True)  # else JupyterLab holds only the cells that can be seen
    (whole / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    workshop.write_editions(tmp_path / "dist", root)
    student = tmp_path / "dist/student"
    names = sorted(path.relative_to(student).as_posix() for path in student.rglob("*.ipynb"))
    assert len(names) > 25
    with jupyterlab(student, settings) as address:
        for name in names:
            cells = nbformat.read(student / name, as_version=4).cells
            texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
            page = visit(address, width=1280).page
            page.goto(f"{address}/lab/tree/{name}?reset")
            page.locator(".jp-Notebook").wait_for(timeout=120_000)
            page.wait_for_function(
                DRAWN, arg=[len(texts), sum(text.count("<details>") for text in texts)], timeout=120_000
            )
            if any(re.search(r"\$\S", text) for text in texts):
                formula = page.locator(".jp-MarkdownOutput mjx-container").first
                formula.wait_for(state="attached", timeout=120_000)  # the first may stand in a fold
            raw = [found[0] for text in page.evaluate(SHOWN) for found in RAW.finditer(text)]
            assert raw == [], name
            assert page.locator(".jp-MarkdownOutput details[open]").count() == 0, name
            page.context.close()
    record_property("measured", f"{len(names)} notebooks opened")
