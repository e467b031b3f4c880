"""The loss term by term: the figure's data and its plain version."""

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import same_and_small

from course_utils.figures import term_importance_figure
from course_utils.figures.term_importance import strongest

rng = np.random.default_rng(1)
GIVEN = {
    "losses": [8.3178, 5.545, 2.785, 2.341],
    "other": [5.545, 5.11, 4.64],
    "layers": {"alone": [0.32, 2.71], "beside": [0.05, 2.44]},
    "heads": {"direct": rng.normal(0, 0.1, (2, 12)), "real": rng.normal(0.1, 0.2, (2, 12))},
    "virtual": rng.normal(0, 0.01, (12, 12)),
    "constant": rng.uniform(size=(12, 12)) < 0.4,
    "apart": [0.33, 0.11],
    "paper": {"falls": [1.8, 5.2, 0.3], "alone": [1.3, 5.2], "beside": [0.05, 4.0]},
}


def figure(**changed):
    return term_importance_figure(**(GIVEN | changed))


def test_the_data_are_what_was_given_rounded():
    data = figure().data
    for name in ("losses", "other", "virtual", "apart"):
        np.testing.assert_allclose(data[name], GIVEN[name], atol=1e-6)
    for name in ("layers", "heads", "paper"):
        for key, values in GIVEN[name].items():
            np.testing.assert_allclose(data[name][key], values, atol=1e-6)
    assert data["constant"] == GIVEN["constant"].tolist()


def test_tensors_will_do():
    tensors = {name: torch.as_tensor(np.asarray(GIVEN[name])) for name in ("losses", "virtual", "constant")}
    assert figure(**tensors).data == figure().data


def test_the_strongest_virtual_heads_with_and_without_constants():
    data, virtual, constant = figure().data, GIVEN["virtual"], GIVEN["constant"]
    order = [divmod(int(at), 12) for at in (-virtual.flatten()).argsort(kind="stable")]
    assert [each[1:] for each in strongest(data)] == order[:7]
    assert [each[1:] for each in strongest(data, constants=False)] == [pair for pair in order if not constant[pair]][:7]


def test_the_plain_version_says_the_same():
    tables = BeautifulSoup(figure().plain, "html.parser").find_all("table")
    rows = [
        [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in one.select("tbody tr")] for one in tables
    ]
    steps, layers, heads, pairs = rows
    assert steps[0] == ["direct path (1)", "8.32", "5.54", "2.77", "1.8"]
    assert [row[0] for row in steps] == ["direct path (1)", "single heads (24)", "virtual heads (144)"]
    assert layers == [
        ["layer 0", "0.32", "0.05", "1.3", "0.05"],
        ["layer 1", "2.71", "2.44", "5.2", "4.0"],
    ]
    for (name, direct, real), at in zip(heads, range(24), strict=True):
        assert name == f"{at // 12}.{at % 12}"
        assert float(direct) == pytest.approx(GIVEN["heads"]["direct"][divmod(at, 12)], abs=6e-4)
        assert float(real) == pytest.approx(GIVEN["heads"]["real"][divmod(at, 12)], abs=6e-4)
    assert len(pairs) == 7


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(figure, 10_000)
