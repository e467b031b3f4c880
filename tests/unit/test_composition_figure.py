"""The graph of heads: its data and its plain version."""

import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import refused, same_and_small

from course_utils.checkpoints import load_model
from course_utils.circuits import composition_baseline, composition_scores
from course_utils.figures import composition_figure
from course_utils.figures.composition import edges

rng = np.random.default_rng(0)
MEASURE = {kind: rng.uniform(0, 0.2, (12, 12)) for kind in "QKV"}
EFFECT = {kind: rng.uniform(0, 1, (12, 12)) for kind in "QKV"}


def figure(**changed):
    given = {"measure": MEASURE, "effect": EFFECT, "baseline": 0.051, "spread": 0.0012} | changed
    return composition_figure(**given)


def test_the_data_are_what_was_given_rounded():
    data = figure().data
    for name, given in (("measure", MEASURE), ("effect", EFFECT)):
        for kind in "QKV":
            np.testing.assert_allclose(data[name][kind], given[kind], atol=0.5001e-4)
    assert (data["baseline"], data["spread"], data["least"]) == (0.051, 0.0012, 0.03)
    json.dumps(data, allow_nan=False)


def test_tensors_will_do():
    tensors = {kind: torch.tensor(values) for kind, values in MEASURE.items()}
    assert figure(measure=tensors).data == figure().data


def test_lines_are_the_pairs_above_the_threshold_in_order():
    found = edges(figure().data)
    wanted = {
        (kind, i, j)
        for kind, values in MEASURE.items()
        for i, j in zip(*np.where(values.round(4) - 0.051 > 0.03), strict=True)
    }
    assert {edge[1:] for edge in found} == wanted and len(found) == len(wanted)
    assert [edge[0] for edge in found] == sorted((edge[0] for edge in found), reverse=True)


def test_the_plain_version_has_every_line_with_its_numbers():
    made = figure()
    rows = BeautifulSoup(made.plain, "html.parser").select("tbody tr")
    assert len(rows) == len(edges(made.data))
    for row, (above, kind, i, j) in zip(rows, edges(made.data), strict=True):
        name, value, over, did = (cell.get_text() for cell in row.find_all(["th", "td"]))
        assert name.startswith(f"0.{i} → 1.{j}, ") and f"({kind})" in name
        assert float(value) == pytest.approx(MEASURE[kind][i, j], abs=6e-4)
        assert float(over) == pytest.approx(above, abs=6e-4)
        if kind == "V":
            assert float(did.split("%")[0]) / 100 == pytest.approx(EFFECT[kind][i, j], abs=0.006)
        else:
            assert float(did.split()[0]) == pytest.approx(EFFECT[kind][i, j], abs=6e-4)


def test_lines_of_the_trained_model_are_those_of_a_plain_computation():
    """Composition again from the whole matrices, for the pairs that the figure draws and as many that it does not."""
    model = load_model("two-layer", "cpu").double().requires_grad_(False)
    baseline, spread = composition_baseline(model, draws=2)
    made = composition_figure(composition_scores(model), EFFECT, baseline, spread)
    drawn = {edge[1:]: edge[0] for edge in edges(made.data)}
    assert ("K", 8, 1) in drawn and ("K", 7, 8) in drawn
    for kind, i, j in [*list(drawn)[:6], ("K", 0, 0), ("Q", 3, 4), ("V", 8, 5)]:
        OV = [model.W_V[layer, head] @ model.W_O[layer, head] for layer, head in ((0, i), (1, j))]
        QK = model.W_Q[1, j] @ model.W_K[1, j].T
        A, B = {"Q": (OV[0], QK), "K": (QK, OV[0].T), "V": (OV[0], OV[1])}[kind]
        above = ((A @ B).norm() / A.norm() / B.norm()).item() - baseline
        assert above == pytest.approx(drawn[kind, i, j], abs=2e-4) if (kind, i, j) in drawn else above <= 0.03


def test_other_numbers_of_heads_and_rounding_below_zero():
    small = {kind: np.array([[0.2, 0.1, 0.0], [0.0, 0.05, 0.3]]) for kind in "QKV"}
    none = {kind: np.full((2, 3), -1e-9) for kind in "QKV"}
    assert composition_figure(small, none, 0.05, 0.001).data["effect"]["K"] == [[0.0] * 3] * 2


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(figure, 20_000)


BAD = {
    "least": ({"least": 0.2}, ["least", "0.2", "strongest"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    changed, words = BAD[name]
    refused(words, figure, **changed)
