"""A guess before a result, and beside it: what may be asked, what may be true, and what a running notebook hears."""

import json

import pytest
from bs4 import BeautifulSoup
from hostile import HOSTILE

from course_utils import predict as module
from course_utils.errors import CourseError
from course_utils.figures import predict_figure
from course_utils.predict import Guess, predict, reveal

ASKED = {
    "choices": {"choices": ["`0.2`", "`0.8`"]},
    "number": {"number": (0, 8), "unit": "nats"},
    "curve": {"curve": ("step", "loss"), "x": (0, 3000), "y": (0, 9)},
    "cell": {"cell": (["a", "b"], ["c", "d"])},
}
TRUE = {
    "choices": ("`0.8`", "`0.8`", "0.8"),
    "number": (3.06789, 3.068, "3.068 nats"),
    "curve": ([(0, 8.4), (3000, 1.23456)], [[0, 8.4], [3000, 1.235]], "at 3000 it is 1.24"),
    "cell": ((1, "c"), ["b", "c"], "b, c"),
}


@pytest.fixture
def shown(monkeypatch):
    """What is displayed."""
    things = []
    monkeypatch.setattr("IPython.display.display", things.append)
    return things


@pytest.mark.parametrize("kind", ASKED)
def test_unanswered_everything_is_shown(kind, shown):
    truth, given, words = TRUE[kind]
    guess = predict("02.guess", "What will it be?", **ASKED[kind])
    assert guess.value is None and "02.guess" in repr(guess)
    reveal(guess, truth)
    asks, answer = shown
    assert asks.data["asks"]["kind"] == kind and "truth" not in asks.data and answer.data["truth"] == given
    assert words in BeautifulSoup(answer.plain, "html.parser").get_text()
    assert "What will it be?" in asks.plain and words not in BeautifulSoup(asks.plain, "html.parser").p.get_text()
    for figure in shown:
        assert figure._repr_html_() == type(figure)(figure.name, figure.data, figure.plain)._repr_html_()
        json.dumps(figure.data, allow_nan=False)


def test_without_javascript_the_choices_stand_there(shown):
    predict("02.guess", "Which?", choices=["`0.2`", "none"])
    soup = BeautifulSoup(shown[0].plain, "html.parser")
    assert [item.get_text() for item in soup.select("li")] == ["0.2", "none"] and soup.li.code


@pytest.mark.parametrize("hostile", [text for text in HOSTILE if text.strip("`").strip()], ids=ascii)
def test_texts_are_text(hostile, shown):
    guess = predict("02.guess", hostile, choices=[hostile])
    reveal(guess, hostile)
    for figure in shown:
        tags = {tag.name for tag in BeautifulSoup(figure.plain, "html.parser").find_all()}
        assert tags <= {"p", "ul", "li", "code", "b"}
        assert "<" not in figure._json()


def test_a_slider_has_steps_that_suit_its_ends(shown):
    steps = [predict("02.guess", "?", number=span).asks["step"] for span in ((0, 8), (0, 1), (0, 100), (-5000, 5000))]
    assert steps == [0.1, 0.01, 1, 100]
    assert predict("02.guess", "?", number=(0, 12), step=1).asks["step"] == 1


def test_a_long_curve_is_thinned_and_keeps_its_ends(shown):
    guess = predict("02.guess", "?", curve=("step", "loss"), x=(0, 1000), y=(0, 1000))
    reveal(guess, [(i, 1000 - i) for i in range(1001)])
    truth = shown[1].data["truth"]
    assert len(truth) == module.MOST_POINTS and (truth[0], truth[-1]) == ([0, 1000], [1000, 0])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "nothing"),
        (ASKED["choices"] | ASKED["number"], "['choices', 'number']"),
        ({"number": (3, 3)}, "number is (3, 3)"),
        ({"curve": ("step", "loss"), "x": (0, 1)}, "y is None"),
        ({"curve": ("step", "loss"), "x": (1, 0), "y": (0, 1)}, "x is (1, 0)"),
    ],
)
def test_what_cannot_be_asked_is_named(asked, words, shown):
    with pytest.raises(CourseError) as caught:
        predict("02.guess", "?", **asked)
    assert words in caught.value.what and shown == []


@pytest.mark.parametrize(
    ("kind", "truth", "words"),
    [
        ("choices", "0.8", "'0.8'"),
        ("choices", 1, "truth is 1"),
        ("number", 9, "from 9 to 9"),
        ("number", "much", "truth is 'much'"),
        ("number", float("nan"), "nan"),
        ("curve", [(0, 10)], "from 10 to 10"),
        ("curve", [(-1, 1)], "from -1 to -1"),
        ("curve", [], "shape [0]"),
        ("curve", [1, 2], "shape [2]"),
        ("cell", (2, 0), "(2, 0)"),
        ("cell", (-1, 0), "(-1, 0)"),
        ("cell", ("c", "a"), "('c', 'a')"),
        ("cell", "a", "'a'"),
    ],
)
def test_what_cannot_be_true_is_named(kind, truth, words, shown):
    guess = predict("02.guess", "?", **ASKED[kind])
    with pytest.raises(CourseError) as caught:
        reveal(guess, truth)
    assert words in caught.value.what and len(caught.value.remedy) > 5 and len(shown) == 1


def test_a_running_notebook_hears_the_guess(shown, monkeypatch):
    monkeypatch.setattr(module, "somebody_watches", lambda: True)
    guess = predict("02.guess", "Which cell?", **ASKED["cell"])
    assert shown == [guess.widget] and guess.value is None
    guess.widget.set_state({"value": ["a", "d"]})  # as a message from the page does
    assert guess.value == ("a", "d")
    reveal(guess, (0, 0))
    assert shown[1].value == ("a", "d") and shown[1].truth == ["a", "c"]
    assert shown[1]._esm == predict_figure(guess.asks).module


CELL = """
from course_utils.predict import predict, reveal
guess = predict("02.guess", "How much?", number=(0, 1))
reveal(guess, 0.5)
print(guess.value)
"""


@pytest.mark.parametrize("somebody", [True, False])
def test_run_at_once_the_notebook_shows_both_and_goes_on(somebody, in_a_kernel):
    said = in_a_kernel(CELL, somebody)
    shown = [each["data"] for each in said["display_data"]]
    assert [("application/vnd.jupyter.widget-view+json" in each) for each in shown] == [somebody] * 2
    assert [each["text"] for each in said["stream"]] == ["None\n"]


def test_a_guess_of_nothing_has_no_value():
    assert Guess({"key": "02.guess", "kind": "number"}).value is None
