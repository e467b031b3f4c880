"""Roles of heads: they follow from scores and thresholds, and stand on the cards of the models that ship."""

import json

import numpy as np
import pytest

from course_utils import roles
from course_utils.checkpoints import WEIGHTS, load_card, load_model
from course_utils.errors import CourseError


@pytest.mark.parametrize("name", ["one-layer", "two-layer"])
def test_the_card_says_what_is_measured(name):
    card, measured = load_card(name), roles.measure(load_model(name, "cpu"), n=16)  # the card: 64
    for score, table in card["scores"].items():
        np.testing.assert_allclose(table, measured["scores"][score], atol=0.05)
    for role in roles.LEAST:
        assert set(roles.heads_of(card, role)) == set(roles.heads_of(measured, role))


@pytest.mark.parametrize("name", ["one-layer", "two-layer"])
@pytest.mark.parametrize("role", roles.LEAST)
def test_a_role_follows_from_the_cards_scores_and_threshold(name, role):
    card = load_card(name)
    said = card["roles"][role]
    assert (said["score"], said["least"]) == roles.LEAST[role]
    table = np.array(card["scores"][said["score"]])
    assert sorted(said["heads"]) == np.argwhere(table >= said["least"]).tolist()
    strengths = [table[tuple(head)] for head in said["heads"]]
    assert strengths == sorted(strengths, reverse=True)
    assert not ((table > 0.75 * said["least"]) & (table < said["least"])).any()  # no head is at the border


def test_a_head_has_its_role_or_none():
    card = load_card("two-layer")
    assert roles.role_of(card, *roles.heads_of(card, "induction")[0]) == "induction"
    assert roles.role_of(card, 0, 0) == "" == roles.role_of(load_card("zero-layer"), 0, 0)


def test_an_unknown_role_is_told():
    with pytest.raises(CourseError, match="role 'skip'.*induction.*Remedy"):
        roles.heads_of("two-layer", "skip")


def test_no_figure_and_no_tool_names_a_head_that_a_card_names(root):
    names = [f'"{layer}.{head}"' for layer, head in roles.heads_of("two-layer", "induction")]
    for path in [*(root / "course_utils/figures").rglob("*.*s"), *(root / "course_utils/figures").glob("*.py")]:
        text = path.read_text("utf-8")
        assert not [name for name in names if name in text.replace('head="1.10"', "").replace('"1.10" or', "")], path


def test_the_cards_are_json():
    for path in WEIGHTS.glob("*.json"):
        json.loads(path.read_text("utf-8"))
