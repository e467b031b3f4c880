"""A playground: its defaults while the site is built, controls in a running notebook."""

import ipywidgets
import pytest

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


def test_on_the_site_it_shows_the_defaults_and_says_how_to_run_it(monkeypatch, shown, draw, calls):
    monkeypatch.setenv(module.STATIC, "1")
    playground(draw, **CONTROLS)
    assert calls == [("import numpy", 3, False)]
    assert "make lab" in shown[0].data and "ablate" in shown[0].data and len(shown) == 1


def test_in_a_notebook_each_choice_draws_again(monkeypatch, shown, draw, calls):
    monkeypatch.delenv(module.STATIC, raising=False)
    playground(draw, **CONTROLS)
    text, head, ablate, _ = shown[0].children
    assert [type(control) for control in (text, head, ablate)] == [
        ipywidgets.Text, ipywidgets.Dropdown, ipywidgets.Checkbox,
    ]  # fmt: skip
    assert calls == [("import numpy", 3, False)]
    head.value = 11
    ablate.value = True
    assert calls[1:] == [("import numpy", 11, False), ("import numpy", 11, True)]


def test_an_error_of_the_course_is_a_sentence(monkeypatch, shown, draw, calls, capsys):
    monkeypatch.delenv(module.STATIC, raising=False)
    playground(draw, **CONTROLS)
    shown[0].children[0].value = "bad"
    assert len(calls) == 1 and "it must be good" in capsys.readouterr().out


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
