"""Texts shaded by a value: every token, its value, the frame and the looks; no markup of a token is interpreted."""

import re

import pytest

from course_utils.errors import CourseError
from course_utils.figures import shaded_texts

PANEL = {
    "tokens": ["a", "<b>", "c↵·", "d"],
    "values": [0.0, 3.0, -12.0, 40.0],
    "query": 3,
    "looks": {1: 0.5},
    "says": "x < y",
}


def test_each_token_has_its_shade_and_the_query_and_looks_their_marks():
    shown = shaded_texts({"one": PANEL, "two": PANEL | {"query": 0}}, most=12).data
    spans = re.findall(
        r'<span class="([^"]*)" style="--share:([^;]*);--weight:([^"]*)" title="([^"]*)">([^<]*)</span>', shown
    )
    assert spans[:4] == [
        ("down", "0.00", "0.00", "+0.0", "a"),
        ("up look", "0.25", "0.50", "+3.0", "&lt;b&gt;"),
        ("down", "1.00", "0.00", "-12.0", "c↵\n "),
        ("up query", "1.00", "0.00", "+40.0", "d"),
    ]
    assert shown.count("<details open>") == 1 and shown.count("<details>") == 1
    assert "<p>x &lt; y</p>" in shown and "<b>" not in shown


@pytest.mark.parametrize("wrong", [{"query": 4}, {"looks": {-1: 0.2}}, {"values": [1.0]}])
def test_what_is_no_place_in_the_text_is_refused(wrong):
    with pytest.raises(CourseError):
        shaded_texts({"one": PANEL | wrong}, most=12)
