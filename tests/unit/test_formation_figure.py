"""Training runs to scrub through: the data of the figure, against the logs themselves."""

import base64
import json

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hostile import HOSTILE

from course_utils.checkpoints import load_log
from course_utils.errors import CourseError
from course_utils.figures import formation_figure, visible

TOKENS = ["<|start|>", "a", "b", "c", "a", "b"]


def made_log(layers=2, heads=3, measured=6, snaps=4, tokens=6, seed=0) -> dict:
    """A log of random numbers; head 0.1 ends as the one that looks back, the last head as the one that matches."""
    rng = np.random.default_rng(seed)
    previous, prefix = (rng.uniform(0, 0.1, (measured, layers, heads)) for _ in range(2))
    previous[-1, 0, 1], prefix[-1, -1, -1] = 0.9, 0.7
    return {
        "tokens_per_step": np.array(1000),
        "eval_step": 100 * np.arange(measured),
        "validation_loss": np.linspace(7, 3, measured),
        "in_context": rng.normal(0, 0.1, measured),
        "previous_token": previous,
        "prefix_matching": prefix,
        "snap_step": np.array([0, *(37 * 2 ** np.arange(snaps - 1))]),
        "pattern": rng.integers(0, 256, (snaps, layers, heads, tokens, tokens)).astype(np.uint8),
    }


def unpacked(packed: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])
    return packed["low"] + (packed["high"] - packed["low"]) * steps / 255


def test_the_shipped_logs_go_into_200_kilobytes_each():
    logs = {name: load_log(name) for name in ("two-layer", "small-two-layer-1", "small-smeared-keys")}
    figure = formation_figure(logs, {name: ["x"] * 48 for name in logs})
    for run, (name, log) in zip(figure.data["runs"], logs.items(), strict=True):
        assert len(json.dumps(run, separators=(",", ":"))) <= 200_000
        million = log["tokens_per_step"] / 1e6
        assert np.allclose(run["measured"], log["eval_step"] * million, atol=6e-4)
        assert np.allclose(run["loss"], log["validation_loss"], atol=6e-4)
        assert run["steps"][0] == 0 and run["steps"][-1] == log["snap_step"][-1]
        assert np.allclose(run["moments"], np.array(run["steps"]) * million, atol=6e-4)
        at = [list(log["snap_step"]).index(step) for step in run["steps"]]
        rows, columns = np.tril_indices(48)
        for head in run["heads"]:
            layer, number = map(int, head["name"].split("."))
            assert np.allclose(head["previous"], log["previous_token"][:, layer, number], atol=6e-3)
            assert np.allclose(head["prefix"], log["prefix_matching"][:, layer, number], atol=6e-3)
            pattern = log["pattern"][at, layer, number][:, rows, columns] / 255
            assert np.abs(unpacked(head["pattern"]) - pattern).max() <= 0.5 / 255 + 1e-6
        best = run["heads"][run["best"]]
        assert (
            max(best["prefix"][-1], 0) == max(head["prefix"][-1] for head in run["heads"]) and best["prefix"][-1] > 0.4
        )
        assert best["goal"] == "successor", name


def test_it_opens_where_the_best_head_is_halfway():
    log = made_log(measured=41, snaps=7)  # moments at steps 0, 37, 74 … 1184
    log["eval_step"] = 30 * np.arange(41)
    log["prefix_matching"][:, -1, -1] = np.where(np.arange(41) < 6, 0, 0.7)  # from step 180 on
    figure = formation_figure({"run": log}, {"run": TOKENS})
    assert figure.data["runs"][0]["steps"][figure.data["moment"]] == 296


def test_in_context_is_the_mean_of_five():
    log = made_log()
    values = log["in_context"]
    expected = [np.mean([values[j] for j in range(6) if abs(i - j) <= 2]) for i in range(6)]
    assert np.allclose(
        formation_figure({"run": log}, {"run": TOKENS}).data["runs"][0]["inContext"], expected, atol=6e-4
    )


def test_goals_are_one_back_and_the_successors():
    run = formation_figure({"run": made_log()}, {"run": TOKENS}).data["runs"][0]
    goals = {head["name"]: head["goal"] for head in run["heads"]}
    assert goals["0.1"] == "one back" and goals["1.2"] == "successor"
    assert run["heads"][run["best"]]["name"] == "1.2" and len(run["heads"]) == 5
    assert run["successors"] == [[4, 2], [5, 3]]


def test_without_a_head_that_matches_the_best_is_the_one_that_looks_back():
    log = made_log()
    log["prefix_matching"][:] = 0.01
    run = formation_figure({"run": log}, {"run": TOKENS}).data["runs"][0]
    assert run["heads"][run["best"]]["name"] == "0.1"


def test_the_plain_version_says_how_much_attention_lies_where_it_should():
    log = made_log()
    figure = formation_figure({"a run": log}, {"a run": TOKENS})
    soup = BeautifulSoup(figure.plain, "html.parser")
    assert soup.caption.get_text() == "a run, head 1.2"
    last = [cell.get_text().replace("−", "-") for cell in soup.select("tbody tr")[-1].select("th, td")]
    pattern = log["pattern"][-1, 1, 2] / 255
    assert last[0] == f"{log['snap_step'][-1] / 1000:.2f}"
    assert float(last[-1]) == pytest.approx((pattern[4, 2] + pattern[5, 3]) / 2, abs=0.006)


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_texts_are_never_markup(hostile):
    def soup_of(name, token):
        html = formation_figure({name: made_log()}, {name: [token, *TOKENS[1:]]})._repr_html_()
        html.encode("utf-8")
        return BeautifulSoup(html, "html.parser")

    soup = soup_of(hostile, hostile)
    assert [tag.name for tag in soup.find_all()] == [tag.name for tag in soup_of("x", "y").find_all()]
    [run] = json.loads(soup.find("script", type="application/json").string)["runs"]
    assert run["name"] == run["tokens"][0] == visible(hostile)
    assert soup.select_one(".ex-baseline code").get_text() == visible(hostile)


def test_the_same_logs_are_the_same_text_and_the_rest_is_small():
    first, second = (formation_figure({"run": made_log()}, {"run": TOKENS}) for _ in range(2))
    assert first._repr_html_() == second._repr_html_()
    alone = len(first._repr_html_().encode()) - len(first._json()) - len(first.plain.encode())
    assert alone <= 30_000


def without(key):
    return {name: values for name, values in made_log().items() if name != key}


BAD = {
    "tokens of another run": ({"a": made_log()}, {"b": TOKENS}, ["b", "a"]),
    "a log that is none": ({"a": 3}, {"a": TOKENS}, ["'a'", "load_log"]),
    "an array too few": ({"a": without("pattern")}, {"a": TOKENS}, ["pattern", "load_log"]),
    "not finite": ({"a": made_log() | {"in_context": np.full(6, np.nan)}}, {"a": TOKENS}, ["in_context", "finite"]),
    "another text": ({"a": made_log()}, {"a": TOKENS[:-1]}, ["[4, 2, 3, 6, 6]", "tokens = 5"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    logs, tokens, words = BAD[name]
    with pytest.raises(CourseError) as error:
        formation_figure(logs, tokens)
    for word in words:
        assert word in str(error.value)
