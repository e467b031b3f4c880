"""A playground: its defaults where nobody watches, controls in a running notebook."""

import ipywidgets
import nbformat
import pytest
from nbclient import NotebookClient

from course_utils import playground as module
from course_utils.errors import CourseError
from course_utils.playground import playground


@pytest.fixture
def shown(monkeypatch):
    """What is displayed."""
    things = []
    monkeypatch.setattr("IPython.display.display", things.append)
    return things


@pytest.fixture
def calls():
    return []


@pytest.fixture
def draw(calls):
    def draw(text, head, ablate):
        if text == "bad":
            raise CourseError("text 'bad'", "it must be good", "write another")
        calls.append((text, head, ablate))

    return draw


CONTROLS = {"text": "import numpy", "head": (range(12), 3), "ablate": False}


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(module, "somebody_watches", lambda: True)


def test_without_anybody_it_shows_the_defaults_and_says_how_to_run_it(shown, draw, calls):
    playground(draw, **CONTROLS)
    assert calls == [("import numpy", 3, False)]
    assert "make lab" in shown[0].data and "ablate" in shown[0].data and len(shown) == 1


def test_in_a_notebook_each_choice_draws_again(watched, shown, draw, calls):
    playground(draw, **CONTROLS)
    text, head, ablate, _ = shown[0].children
    assert [type(control) for control in (text, head, ablate)] == [
        ipywidgets.Text, ipywidgets.Dropdown, ipywidgets.Checkbox,
    ]  # fmt: skip
    assert calls == [("import numpy", 3, False)]
    head.value = 11
    ablate.value = True
    assert calls[1:] == [("import numpy", 11, False), ("import numpy", 11, True)]


def test_an_error_of_the_course_is_a_sentence(watched, shown, draw, calls, capsys):
    playground(draw, **CONTROLS)
    shown[0].children[0].value = "bad"
    assert len(calls) == 1 and "it must be good" in capsys.readouterr().out


CELL = """
from course_utils.playground import playground
playground(lambda word, times: print("so: " + word * times), word="na", times=[2, 3])
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_a_notebook_that_is_run_without_anybody_has_no_controls():
    """A program that runs notebooks, `jupyter execute` for one, may stall at them: it says so by asking nobody."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    said, printed = notebook.cells[0].outputs
    assert printed.text == "so: nana\n" and "make lab" in said.data["text/html"]
    assert "widgets" not in notebook.metadata, "no state of widgets: none was made"


def test_a_notebook_with_a_reader_has_controls(in_a_kernel):
    shown = [each["data"] for each in in_a_kernel(CELL, reader=True)["display_data"]]
    assert len(shown) == 1 and WIDGET in shown[0], shown


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({}, "[]"),
        ({"text": "a"}, "['text']"),
        (CONTROLS | {"more": True}, "more"),
        (CONTROLS | {"head": 3}, "head=3"),
        (CONTROLS | {"head": (range(12), 12)}, "12)"),
        (CONTROLS | {"head": []}, "head=[]"),
    ],
)
def test_mistakes_are_named(draw, controls, words):
    with pytest.raises(CourseError) as caught:
        playground(draw, **controls)
    assert words in str(caught.value)
