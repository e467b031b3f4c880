"""The figure that trains in the page: its data, its script, and the run that stands there without JavaScript."""

import json
import re

import pytest
from bs4 import BeautifulSoup

from course_utils.figures import train_in_page_figure
from course_utils.figures.train_in_page import ASKS, PRESETS, TRUTH, train_worker
from course_utils.repeats import TURNED, RepeatsConfig, train_on_repeats


@pytest.fixture(scope="module")
def figure():
    return train_in_page_figure()


def test_size_and_form(figure):
    html = figure._repr_html_()
    script = re.search(r'<script type="application/json">(.*)</script>', html)
    assert json.loads(script[1]) == figure.data and "<" not in script[1]
    assert len(figure.script) + len(figure.data["worker"]) < 100_000
    assert html == train_in_page_figure()._repr_html_()


def test_the_worker_is_one_script_without_imports():
    source = train_worker()
    assert not re.search(r"^\s*(import|export)\b", source, re.M)
    for name in ("class Net", "class Run", "function uniform", "page.onmessage"):
        assert source.count(name) == 1


def test_settings_and_presets_are_pythons(figure):
    assert RepeatsConfig(**figure.data["settings"]) == RepeatsConfig()
    for name, change in figure.data["presets"]:
        assert RepeatsConfig(**change).to_dict() == figure.data["settings"] | PRESETS[name]
    assert figure.data["turned"] == TURNED


def test_the_plain_version_is_a_run_that_turns(figure):
    rows = BeautifulSoup(figure.plain, "html.parser").select("tbody tr")
    values = [[float(cell.get_text()) for cell in row.select("th, td")] for row in rows]
    assert values[0][0] == 0 and values[0][4] < 0.2 and values[-1][4] >= TURNED
    assert values[0][2] - values[-1][2] > 1 > values[0][1] - values[-1][1]


RUNS = PRESETS | {"One layer that is given a head that looks back": {"n_layers": 1, "clamped": True}}


def test_the_prediction_has_its_truth_among_the_answers():
    assert TRUTH in ASKS["choices"]


@pytest.mark.release
@pytest.mark.parametrize("name", RUNS)
def test_what_the_presets_and_the_prediction_say(name, record_property):
    records = [train_on_repeats(RepeatsConfig(**RUNS[name], seed=seed), 1000)[1] for seed in range(3)]
    turned = [record["prefix"].max() >= TURNED for record in records]
    record_property("measured", f"best prefix matching {[round(r['prefix'].max(), 2) for r in records]}")
    assert all(turned) if "two layers" in name or "Smeared" in name else not any(turned)
    if "fixed" in name:
        assert all(record["later"][-1] < record["first"][-1] / 4 for record in records), "and yet the loss falls"
