"""Figures that answer: what Python writes into the page. (What a browser makes of it: tests/browser.)"""

import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hostile import HOSTILE

from course_utils import figures
from course_utils.errors import CourseError
from course_utils.figures import Explorable, induction_at_work_figure, visible

TOKENS = ["<|start|>", "a", "b", "c", "a", "b"]
STEP = {
    "at": 4, "look": [[2, 0.6], [0, 0.25]], "carried": [[2, 1, 0.9]], "copied": "b", "right": True, "caption": "One.",
}  # fmt: skip


def parsed(figure: Explorable) -> BeautifulSoup:
    return BeautifulSoup(figure._repr_html_(), "html.parser")


def data(figure: Explorable) -> dict:
    return json.loads(parsed(figure).find("script", type="application/json").string)


def test_data_are_in_the_page():
    figure = induction_at_work_figure(TOKENS, [STEP])
    assert data(figure) == {
        "tokens": TOKENS,
        "steps": [STEP | {"same": [1]}],
        "step": 0,
    }
    text = parsed(figure).select_one(".ex-baseline").get_text(" ", strip=True)
    for words in (
        "Step 1 of 1. At 4 a",
        "✓ right",
        "One.",
        "2 b (60%), 0 <|start|> (25%)",
        "the key at 2 b carries 1 a",
    ):
        assert words in re.sub(r"\s+", " ", text).replace(" )", ")"), words


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_texts_are_never_markup(hostile):
    tokens = [hostile, "a", hostile, f"{hostile}|"]
    step = {"at": 2, "look": [[1, 0.5]], "carried": [], "copied": hostile, "right": False, "caption": hostile}
    figure, tame = (
        induction_at_work_figure(tokens, [step]),
        induction_at_work_figure(["x", "a", "x", "y"], [step | {"caption": "x"}]),
    )
    html, soup, shown = figure._repr_html_(), parsed(figure), visible(hostile)
    html.encode("utf-8")
    assert [tag.name for tag in soup.find_all()] == [tag.name for tag in parsed(tame).find_all()]
    assert "\u2028" not in html and "\u2029" not in html and "\x00" not in html
    assert "<" not in soup.find("script", type="application/json").string
    assert data(figure)["tokens"] == [shown, "a", shown, f"{shown}|"]
    assert data(figure)["steps"][0]["same"] == [0]
    assert [box.code.get_text() for box in soup.select(".ex-tokens > span")] == [shown, "a", shown, f"{shown}|"]
    assert soup.select_one(".ex-caption").get_text() == shown


def test_there_are_enough_hostile_texts():
    assert len(set(HOSTILE)) == len(HOSTILE) >= 100


def test_what_can_be_seen_is_left_alone():
    assert visible("·the 日本 שלום é 👍 a\u0301") == "·the 日本 שלום é 👍 a\u0301"
    assert visible("a\n\u202eb\ud800") == r"a\n\u202eb\ud800"


def test_the_same_figure_is_the_same_text():
    first, second = (induction_at_work_figure(list(TOKENS), [dict(STEP)]) for _ in range(2))
    assert first._repr_html_() == second._repr_html_()
    assert repr(first) == repr(second) and " at 0x" not in repr(first)
    other = induction_at_work_figure(TOKENS, [STEP | {"caption": "Another."}])
    name = lambda figure: parsed(figure).select_one("[data-explorable]")["data-explorable"]  # noqa: E731
    assert name(first) != name(other)


def test_it_opens_where_it_is_told():
    assert data(induction_at_work_figure(TOKENS, [STEP] * 3, start=2))["step"] == 2
    with pytest.raises(CourseError, match="3.*0 to 2"):
        induction_at_work_figure(TOKENS, [STEP] * 3, start=3)


def test_numbers_of_numpy_are_numbers():
    step = STEP | {"at": np.int64(4), "look": [(np.int32(2), np.float32(0.123456))]}
    assert data(induction_at_work_figure(TOKENS, [step]))["steps"][0]["look"] == [[2, 0.123]]


def test_one_output_carries_at_most_30_kilobytes_beside_its_texts():
    figure = induction_at_work_figure(TOKENS, [STEP])
    alone = len(figure._repr_html_().encode()) - len(figure._json()) - len(figure.plain.encode())
    assert alone <= 30_000


def test_the_scripts_stay_within_their_elements_and_ask_nobody():
    files = [path for path in figures.HERE.iterdir() if path.suffix in (".js", ".css")]
    assert len(files) >= 4
    for path in files:
        text = path.read_text("utf-8")
        assert not re.search(r"</|<!--|\b(eval|Function|innerHTML|outerHTML|insertAdjacentHTML)\b", text), path
        addresses = set(re.findall(r"https?:[^\"'\s]*|url\([^)]*\)|@import", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path  # a name, never fetched
        assert max(map(len, text.splitlines())) <= 120, path


BAD = {
    "at, beyond the text": ({"at": 6}, ["6", "0 to 5"]),
    "at, before it": ({"at": -1}, ["-1", "0 to 5"]),
    "a key that comes later": ({"look": [[5, 0.5]]}, ["5", "0 to 4", "no later token"]),
    "a key twice": ({"look": [[2, 0.5], [2, 0.25]]}, ["once"]),
    "carried from later": ({"carried": [[2, 3, 0.5]]}, ["3", "0 to 2"]),
    "carried to later": ({"carried": [[5, 4, 0.5]]}, ["5", "0 to 4"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    changed, words = BAD[name]
    with pytest.raises(CourseError) as caught:
        induction_at_work_figure(TOKENS, [STEP | changed])
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value
