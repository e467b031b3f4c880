"""Every head over a text: the data in the page against the model run step by step."""

import base64
import importlib
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import refused
from hostile import HOSTILE

from course_utils import AttentionOnlyTransformer, ModelConfig, load_model, load_tokenizer
from course_utils.figures import attention_figure, visible

attention_module = importlib.import_module("course_utils.figures.attention")  # its function has the same name
LONGEST = attention_module.LONGEST

TEXT = "def read(path):\n    return open(path).read()\n"


def small_model(n_layers=2, seed=0) -> AttentionOnlyTransformer:
    cfg = ModelConfig(n_layers=n_layers, n_heads=3, d_model=24, d_head=8, d_vocab=1024, n_ctx=128)
    return AttentionOnlyTransformer.init(cfg, seed).requires_grad_(False)


def unpacked(packed: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<u{packed['bits'] // 8}")
    span = packed["high"] - packed["low"]
    return (packed["low"] + steps * span / (2 ** packed["bits"] - 1)).reshape(packed["shape"])


def step(packed: dict) -> float:
    """Half a step: by so much a number may be off."""
    return (packed["high"] - packed["low"]) / 2 / (2 ** packed["bits"] - 1) + 1e-6


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_data_are_what_the_model_does(n_layers):
    model = small_model(n_layers)
    tokenizer = load_tokenizer(1024)
    [block] = attention_figure(model, {"Python": TEXT}).data["texts"]
    ids = [tokenizer.start_id, *tokenizer.encode(TEXT)]
    assert block["tokens"] == [visible(tokenizer.show(i)) for i in ids] and block["name"] == "Python"
    assert 0 <= block["token"] < len(ids)

    # Head by head, query by query, key by key, in 64 bits.
    model = model.double()
    x = model.W_E[ids]
    patterns, lengths, effects = [], [], []
    for layer in range(n_layers):
        at, after = x + model.W_pos[: len(ids)], x
        for head in range(3):
            q, k, v = at @ model.W_Q[layer, head], at @ model.W_K[layer, head], x @ model.W_V[layer, head]
            rows, added = [], []
            for query in range(len(ids)):
                row = (q[query] @ k[: query + 1].T / 8**0.5).softmax(dim=0)
                rows += row.tolist()
                if query + 1 < len(ids):
                    logits = v[: query + 1] @ model.W_O[layer, head] @ model.W_U
                    added += (row * (logits[:, ids[query + 1]] - logits.mean(dim=1))).tolist()
                after = after.clone()
                after[query] += row @ v[: query + 1] @ model.W_O[layer, head]
            patterns.append(rows)
            effects.append(added)
            lengths.append((v @ model.W_O[layer, head]).norm(dim=1).tolist())
        x = after
    assert np.abs(unpacked(block["attention"]) - patterns).max() <= step(block["attention"])
    assert np.abs(unpacked(block["length"]) - lengths).max() <= step(block["length"])
    for packed, wanted in zip(block["effect"], effects, strict=True):
        assert np.abs(unpacked(packed) - wanted).max() <= step(packed)


def test_in_the_last_layer_the_effects_sum_to_what_the_head_adds():
    model = small_model()
    ids = torch.tensor([[0, *load_tokenizer(1024).encode(TEXT)]])
    [block] = attention_figure(model, {"": TEXT}).data["texts"]
    _, cache = model.run_with_cache(ids)
    W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)
    rows = np.cumsum(range(1, ids.shape[1] - 1))  # where each query's row begins
    for head in range(3):
        packed = block["effect"][3 + head]
        sums = [part.sum() for part in np.split(unpacked(packed), rows)]
        wanted = (cache.head_out(1, head)[0, :-1] * W_U[:, ids[0, 1:]].T).sum(dim=-1)
        assert np.abs(np.array(sums) - wanted.numpy()).max() <= ids.shape[1] * step(packed)


def test_the_shipped_heads_are_marked_by_their_scores():
    two = attention_figure("two-layer", {"Python": TEXT}).data
    kinds = {head["name"]: head["kind"] for head in two["heads"] if head["kind"]}
    assert kinds == {"0.8": "previous", "1.1": "induction", "1.9": "induction", "1.10": "induction"}
    assert two["heads"][two["head"]]["name"] == "1.1" and two["columns"] == 12 and len(two["heads"]) == 24
    one = attention_figure("one-layer", {"Python": TEXT}).data
    assert {head["name"]: head["kind"] for head in one["heads"] if head["kind"]} == {"8": "previous"}
    assert one["head"] == 8


def test_what_is_shown_first_can_be_told():
    model, texts = small_model(), {"a": TEXT, "b": [5, 6, 7]}
    data = attention_figure(model, texts, head="1.2", mode="effect", token=3).data
    assert (data["text"], data["head"], data["mode"], data["token"]) == (0, 5, "effect", 3)
    assert attention_figure(model, texts, head=(0, 1)).data["head"] == 1
    assert attention_figure(small_model(1), texts, head=2).data["head"] == 2
    same = attention_figure(model, {"b": torch.tensor([5, 6, 7])}).data["texts"][0]
    assert same == attention_figure(model, texts).data["texts"][1] and len(same["tokens"]) == 4


def test_the_same_figure_is_the_same_text():
    first, second = (attention_figure(small_model(), {"Python": TEXT})._repr_html_() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("n_layers", [1, 2])
def test_without_javascript_the_sharpest_looks_can_be_read(n_layers):
    model = small_model(n_layers)
    figure = attention_figure(model, {"Python": TEXT, "Ids": [5, 6, 7]})
    soup = BeautifulSoup(figure.plain, "html.parser")
    tables = soup.find_all("table")
    assert len(tables) == 2 and all(len(table.select("tbody tr")) == 3 * n_layers for table in tables)
    ids = torch.tensor([[0, *load_tokenizer(1024).encode(TEXT)]])
    pattern = model.run_with_cache(ids)[1].pattern[0, 0, 1]
    best = pattern[1:-1, 1:].max()
    query, key = ((pattern == best).nonzero()[0]).tolist()
    tokens = figure.data["texts"][0]["tokens"]
    cell = tables[0].select("tbody tr")[1].select("td")[-1].get_text("|", strip=True).split("|")
    assert cell[0] == str(query) and cell[1] == tokens[query]
    assert cell[2] == f"→ {key}" and cell[3] == tokens[key] and cell[4].startswith(f"({best:.0%}; ")


def test_a_text_takes_at_most_200_kilobytes_and_the_rest_at_most_30():
    model = load_model("two-layer", "cpu")
    figure = attention_figure(model, {"long": list(range(1, LONGEST))})
    assert len(json.dumps(figure.data["texts"][0])) <= 200_000
    assert len(figure._repr_html_().encode()) - len(figure._json()) - len(figure.plain.encode()) <= 30_000


def test_hostile_texts_are_never_markup():
    tokenizer, model = load_tokenizer(1024), small_model(1)
    hostile = {text: text.encode("utf-8", "replace").decode("utf-8")[:40] + "a" for text in HOSTILE}
    tame = {f"text {i}": "abc" for i in range(len(hostile))}
    soup, other = (
        BeautifulSoup(attention_figure(model, texts)._repr_html_(), "html.parser") for texts in (hostile, tame)
    )
    assert {tag.name for tag in soup.find_all()} == {tag.name for tag in other.find_all()}
    assert len(soup.find_all("table")) == len(hostile) and len(soup.find_all("script")) == 2
    blocks = json.loads(soup.find("script", type="application/json").string)["texts"]
    for block, (name, text) in zip(blocks, hostile.items(), strict=True):
        assert block["name"] == visible(name)
        assert block["tokens"][1:] == [visible(tokenizer.show(i)) for i in tokenizer.encode(text)]


BAD = {
    "an empty text": (("one-layer", {"a": ""}), {}, ["texts['a'] has 0 tokens", "1 to 71"]),
    "a long text": (("one-layer", {"a": [1] * 72}), {}, ["72 tokens", "1 to 71"]),
    "a text that is none": (("one-layer", {"a": 3}), {}, ["texts['a']", "integer"]),
    "ids that are none": (("one-layer", {"a": ["x"]}), {}, ["['x']"]),
    "ids out of range": (("one-layer", {"a": [4096]}), {}, ["4096"]),
    "an unknown model": (("three-layer", {"a": TEXT}), {}, ["three-layer"]),
    "a model without heads": (("zero-layer", {"a": TEXT}), {}, ["at least one layer"]),
    "an unknown head": (("one-layer", {"a": TEXT}), {"head": "1.12"}, ["1.12", "0 to 11"]),
    "a token too far": (("one-layer", {"a": "a"}), {"token": 2}, ["token is 2", "0 to 1"]),
    "a token that is none": (("one-layer", {"a": TEXT}), {"token": "def"}, ["'def'"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    arguments, settings, words = BAD[name]
    refused(words, attention_figure, *arguments, **settings)
