"""The residual stream as a sum: its data and its plain version."""

import base64

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import refused
from hostile import HOSTILE

from course_utils.checkpoints import load_model
from course_utils.corpus import Tokenizer, load_tokenizer
from course_utils.figures import residual_stream_figure, visible

TEXT = "def area(width, height):\n    return width * height\n\ndef volume(width, height"
OFFER = [" self", "\n"]


@pytest.fixture(scope="module")
def model():
    return load_model("two-layer", "cpu")


@pytest.fixture(scope="module")
def figure(model):
    return residual_stream_figure(model, TEXT, last=12, offer=OFFER)


def unpacked(data) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(data["data"]), "<u2").reshape(data["shape"])
    return data["low"] + (data["high"] - data["low"]) * steps / 65535


@torch.no_grad()
def test_parts_are_those_of_a_plain_computation_and_add_up_to_the_centred_logit(model, figure):
    tokenizer, data = load_tokenizer(), figure.data
    ids = [tokenizer.start_id, *tokenizer.encode(TEXT)]
    logits, cache = model.run_with_cache(torch.tensor([ids]))
    centred = (logits[0] - logits[0].mean(dim=-1, keepdim=True)).double()
    values = unpacked(data["values"])
    assert values.shape == (12, 1 + 5 + len(OFFER), 25) and data["first"] == len(ids) - 13
    for i in range(12):
        at = data["first"] + i
        tokens = [ids[at + 1], *logits[0, at].topk(5).indices.tolist(), *(tokenizer.encode(o)[0] for o in OFFER)]
        assert [data["words"][c] for c in data["candidates"][i]] == [visible(tokenizer.show(t)) for t in tokens]
        np.testing.assert_allclose(data["chance"][i], logits[0, at].softmax(dim=0)[tokens], atol=1e-4)
        np.testing.assert_allclose(values[i].sum(axis=1), centred[at, tokens], atol=5e-3)
        for c, token in enumerate(tokens):
            column = model.W_U[:, token] - model.W_U.mean(dim=1)
            np.testing.assert_allclose(values[i, c, 0], model.W_E[ids[at]] @ column, atol=1e-3)
            np.testing.assert_allclose(values[i, c, 1 + 12 + 3], cache.head_out(1, 3)[0, at] @ column, atol=1e-3)


def test_it_begins_where_layer_1_does_most_for_the_next_token(model, figure):
    values = unpacked(figure.data["values"])
    assert figure.data["at"] == values[:, 0, 13:].sum(axis=1).argmax()
    first = figure.data["first"]
    assert residual_stream_figure(model, TEXT, last=12, at=first + 3).data["at"] == 3


def test_the_plain_version_has_each_position(figure):
    rows = BeautifulSoup(figure.plain, "html.parser").select("tbody tr")
    values = unpacked(figure.data["values"])[:, 0]
    assert len(rows) == 12
    for row, own in zip(rows, values, strict=True):
        cells = [cell.get_text() for cell in row.find_all("td")]
        whole = [own.sum(), own[0], own[1:13].sum(), own[13:].sum()]
        np.testing.assert_allclose([float(cell) for cell in cells[1:5]], whole, atol=0.012)


def test_ids_and_tensors_will_do(model, figure):
    ids = load_tokenizer().encode(TEXT)
    for tokens in (ids, torch.tensor(ids)):
        assert residual_stream_figure(model, tokens, last=12, offer=OFFER)._repr_html_() == figure._repr_html_()


def test_the_size_is_bounded(model):
    ids = load_tokenizer().encode("the quick brown fox " * 80)[:255]
    figure = residual_stream_figure(model, ids, last=64, offer=[" self", "\n", "(", ")"])
    assert len(figure._json()) + len(figure.plain) < 200_000
    assert len(figure._repr_html_().encode()) - len(figure._json()) - len(figure.plain.encode()) <= 30_000


def test_tokens_are_text(model, monkeypatch):
    monkeypatch.setattr(Tokenizer, "show", lambda self, token: HOSTILE[token % len(HOSTILE)])
    figure = residual_stream_figure(model, TEXT)
    soup = BeautifulSoup(figure._repr_html_(), "html.parser")
    assert {tag.name for tag in soup.select_one(".ex-baseline").find_all()} <= set(
        "table caption thead tbody tr th td code".split()
    )
    assert "<" not in soup.find("script", type="application/json").string
    assert set(figure.data["words"]) <= {visible(text) for text in HOSTILE}


BAD = {
    "a model without layers": (("zero-layer", TEXT), {}, ["at least one layer"]),
    "an unknown name": (("three-layer", TEXT), {}, ["three-layer"]),
    "no text": (("two-layer", ""), {}, ["0 tokens", "1 to 255"]),
    "a long text": (("two-layer", "a " * 400), {}, ["1 to 255"]),
    "no tokens": (("two-layer", 3.5), {}, ["3.5"]),
    "no ids": (("two-layer", ["a"]), {}, ["'a'"]),
    "an id too large": (("two-layer", [5000]), {}, ["5000"]),
    "at": (("two-layer", TEXT), {"at": 100}, ["100"]),
    "two tokens offered": (("two-layer", TEXT), {"offer": ["two tokens"]}, ["'two tokens'", "one token"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    given, named, words = BAD[name]
    refused(words, residual_stream_figure, *given, **named)
