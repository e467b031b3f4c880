"""The opening: what it says of the model is so, with the previous-token head and without."""

import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import same_and_small

from course_utils import load_model, load_tokenizer
from course_utils.figures import opening_figure
from course_utils.interventions import run_without


@pytest.fixture(scope="module")
def data() -> dict:
    return opening_figure().data


def test_it_is_the_same_each_time_and_small():
    same_and_small(opening_figure, 3000)


def test_the_right_word_is_the_next_and_stands_among_four(data):
    words = data["words"]
    assert len(set(words)) == 6 and len(data["steps"]) == 5
    for place, step in enumerate(data["steps"]):
        assert len(set(step["offered"])) == 4 and step["offered"][step["right"]] == words[place + 1]
        assert words[place] not in step["offered"]
    assert len({step["right"] for step in data["steps"]}) > 1, "it does not always stand in the same place"


def test_the_shares_are_the_models(data):
    model, tokenizer = load_model("two-layer", "cpu"), load_tokenizer()
    tokens = torch.tensor([[tokenizer.start_id, *tokenizer.encode("".join(f" {word}" for word in data["words"] * 2))]])
    assert tokens.shape == (1, 13)
    head = tuple(int(part) for part in data["heads"][0].split("."))
    for side, logits in enumerate((model(tokens), run_without(model, tokens, [head])[0])):
        for place, step in enumerate(data["steps"]):
            ids = [tokenizer.one(f" {word}") for word in step["offered"]]
            wanted = logits[0, 7 + place, ids].softmax(-1).tolist()
            assert step["shares"][side] == pytest.approx(wanted, abs=6e-4)


def test_the_guess_collapses_without_the_previous_token_head(data):
    for step in data["steps"]:
        with_it, without = (shares[step["right"]] for shares in step["shares"])
        assert with_it > 0.5 > 0.3 > without and step["look"][0] > 0.4 > 0.05 > step["look"][1] and step["back"] > 0.9
    assert data["mean"][0] > 0.5 and data["mean"][1] < 0.25, "over all lines, too: by chance a quarter"


def test_without_javascript_the_line_and_its_numbers_can_be_read(data):
    soup = BeautifulSoup(opening_figure().plain, "html.parser")
    assert [each.get_text() for each in soup.p.find_all("code")] == data["words"] * 2
    assert len(soup.select("tbody tr")) == 5
