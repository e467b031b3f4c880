"""Figures, widgets and playgrounds in a running JupyterLab, and in a notebook that is opened again."""

import contextlib
import os
import re
import subprocess
import sys

import nbformat
import pytest
from visits import Visit

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
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=0",
        "--IdentityProvider.token=",
    ]
    config = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    server = subprocess.Popen(command, cwd=tmp_path, env=os.environ | config, stderr=subprocess.PIPE, text=True)
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

    page.keyboard.press("Control+S")
    page.wait_for_timeout(1500)
    again = open_notebook(visit(lab, width=1280))
    figure = again.locator(".jp-OutputArea .course-explorable[data-figure=quiz]")
    figure.locator(".ex-question").first.wait_for()
    assert figure.locator(".ex-figure, .ex-baseline").first.is_visible()


def right_answers(figure):
    """Give every answer of the first question: each gets its verdict."""
    buttons = figure.locator(".ex-answers").first.locator("button")
    verdicts = []
    for button in buttons.all():
        button.click()
        verdicts.append(button.locator(".ex-verdict").inner_text())
    assert sorted(verdicts) == ["✓"] + ["✗"] * (len(verdicts) - 1)
