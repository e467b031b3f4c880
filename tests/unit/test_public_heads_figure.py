"""The map of the public model's heads: the figure's data and its plain version, against the file that ships."""

import json

import numpy as np
import pytest
from bs4 import BeautifulSoup
from figure_checks import same_and_small
from hostile import HOSTILE

from course_utils import corpus
from course_utils.figures import public_heads, public_heads_figure, visible
from course_utils.roles import LEAST

MEASURED = json.loads(corpus.read(public_heads.DATA))
SCORES = {"match": "prefix_matching", "previous": "previous_token", "first": "first_token"}
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def figure():
    return public_heads_figure()


def test_the_heads_are_those_of_the_file(figure):
    heads = figure.data["heads"]
    assert [head["name"] for head in heads] == [f"{layer}.{head}" for layer in range(30) for head in range(9)]
    for key, score in SCORES.items():
        np.testing.assert_array_equal([head[key] for head in heads], np.ravel(MEASURED["scores"][score]))
    np.testing.assert_array_equal([head["rise"] for head in heads], np.ravel(MEASURED["rise"]))
    assert figure.data["columns"] == 9 and figure.data["keyHeads"] == 3


def test_roles_follow_from_the_scores_by_the_books_thresholds(figure):
    for role, (score, least) in LEAST.items():
        assert MEASURED["roles"][role]["least"] == least
        strong = [value >= least for value in np.ravel(MEASURED["scores"][score])]
        listed = [[layer, head] in MEASURED["roles"][role]["heads"] for layer, head in np.ndindex(30, 9)]
        assert sum(a != b for a, b in zip(strong, listed, strict=True)) <= 1, "the file's scores are rounded"
    kinds = [head["kind"] for head in figure.data["heads"]]
    assert kinds.count("induction") == len(MEASURED["roles"]["induction"]["heads"])


def test_first_shown_is_the_strongest_induction_head_at_a_token_whose_like_came_before(figure):
    data = figure.data
    assert data["heads"][data["head"]]["match"] == max(head["match"] for head in data["heads"])
    assert data["token"] in {query for query, _ in data["successors"]} and data["mode"] == 0


def test_the_successors_follow_an_earlier_occurrence(figure):
    tokens, cells = figure.data["tokens"], {tuple(cell) for cell in figure.data["successors"]}
    for query, key in np.ndindex(len(tokens), len(tokens)):
        assert ((query, key) in cells) == (0 < key <= query and tokens[key - 1] == tokens[query])
    assert len(cells) >= 5


def test_patterns_sum_to_one_and_never_look_ahead():
    patterns = public_heads.patterns(MEASURED)
    n = len(MEASURED["tokens"])
    assert patterns.shape == (30, 9, n, n) and (np.triu(patterns, 1) == 0).all()
    assert np.abs(patterns.sum(-1) - 1).max() <= 0.5 / 255 * n


def test_induction_is_visible_in_the_sentence():
    patterns = public_heads.patterns(MEASURED)
    layer, head = MEASURED["roles"]["induction"]["heads"][0]
    cells = public_heads.successors(MEASURED["tokens"])
    assert sum(patterns[layer, head, query, key] > 0.5 for query, key in cells) >= 2


def test_the_plain_version_lists_the_strongest_by_each_number_and_the_heads_with_a_role(figure):
    strongest, roles = BeautifulSoup(figure.plain, "html.parser").find_all("table")
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in strongest.select("tbody tr")]
    assert [row[0] for row in rows] == [str(i) for i in range(1, 13)]
    for column, key in enumerate(("match", "previous", "first", "rise"), 1):
        ranked = sorted(figure.data["heads"], key=lambda head: -head[key])  # noqa: B023
        assert [row[column] for row in rows] == [f"{head['name']} ({head[key]:.2f})" for head in ranked[:12]]
    named = [row.th.get_text() for row in roles.select("tbody tr")]
    assert named == [head["name"] for head in figure.data["heads"] if head["kind"]] and 5 <= len(named) <= 40


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_tokens_are_never_markup(monkeypatch, hostile):
    tokens = [visible(hostile), *MEASURED["tokens"][1:]]
    monkeypatch.setattr(public_heads, "read", lambda name: json.dumps(MEASURED | {"tokens": tokens}))
    soup = BeautifulSoup(public_heads_figure()._repr_html_(), "html.parser")
    assert json.loads(soup.find("script", type="application/json").string)["tokens"] == tokens
    assert soup.caption and {tag.name for tag in soup.select(".ex-baseline *")} <= {
        "table", "caption", "thead", "tbody", "tr", "th", "td", "code",
    }  # fmt: skip


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(public_heads_figure, 200_000)
