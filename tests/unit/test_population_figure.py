"""The population: the figure's data against the record, what a missing value does, and the plain version."""

import math

import numpy as np
import pytest
from bs4 import BeautifulSoup
from figure_checks import same_and_small
from population_record import made_record, made_run

from course_utils.figures import population_figure
from course_utils.figures.population import HEADLINES, KINDS, axis
from course_utils.headlines import interval, population, summary
from course_utils.roles import LEAST

RECORD = made_record()


@pytest.fixture(scope="module")
def figure():
    return population_figure(RECORD)


def told(figure, name: str) -> dict:
    return next(headline for headline in figure.data["headlines"] if headline["name"] == name)


def cells(table) -> list[list[str]]:
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in table.select("tbody tr")]


def test_each_value_is_that_of_the_record(figure):
    assert [kind["name"] for kind in figure.data["kinds"]] == list(KINDS.values())
    assert [kind["optimiser"] for kind in figure.data["kinds"]] == ["muon"] * 7 + ["adamw"] * 2
    runs = population(RECORD)
    for headline, drawn in zip(HEADLINES, figure.data["headlines"], strict=True):
        for key, mark in zip(headline.marks, drawn["marks"], strict=True):
            for kind, row in zip(KINDS, mark["kinds"], strict=True):
                values = np.array([summary(run)[key] for run in runs[kind]], float)
                seeds = np.array(row["seeds"], float)
                np.testing.assert_allclose(seeds, values, atol=6e-5)
                if np.isfinite(values).sum() > 1:
                    want = interval(values[np.isfinite(values)])
                    np.testing.assert_allclose([row["mean"], row["low"], row["high"]], want, atol=1e-3)
                assert all(drawn["low"] <= value <= drawn["high"] for value in row["seeds"] if value is not None)


def test_what_a_seed_never_had_is_left_out_of_the_mean(figure):
    mlp = list(KINDS).index(("mlp", "muon"))
    for name, mark in (("first steps", 1), ("by keys or queries", 0)):
        row = told(figure, name)["marks"][mark]["kinds"][mlp]
        assert [value is None for value in row["seeds"]] == [False, True, False, True, False]
        np.testing.assert_allclose(row["mean"], np.mean([value for value in row["seeds"] if value is not None]))
    assert told(figure, "first steps")["never"] == "never" and told(figure, "by keys or queries")["never"] == "none"
    assert told(figure, "loss")["never"] == "", "every model has a loss"


def test_a_run_that_ran_away_has_no_value():
    lost = {
        "plain-muon-0.006-seed-0": made_run(0),
        "plain-muon-0.006-seed-1": made_run(1) | {"validation_loss": math.nan},
    }
    loss = told(population_figure(lost), "loss")
    (row,) = loss["marks"][0]["kinds"]
    assert row["seeds"][1] is None and row["mean"] == row["seeds"][0] and row["low"] is row["high"] is None
    assert loss["never"] == "none"


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("kinds", [[("norm", "muon")], [("all", "adamw"), ("plain", "muon")]])
def test_a_record_in_the_making(kinds, seeds):
    names = {f"{put_back}-{optimiser}-0.006-seed-{seed}" for put_back, optimiser in kinds for seed in range(seeds)}
    figure = population_figure({name: run for name, run in RECORD.items() if name in names})
    assert [kind["name"] for kind in figure.data["kinds"]] == [KINDS[kind] for kind in KINDS if kind in kinds]
    rows = told(figure, "loss")["marks"][0]["kinds"]
    assert all(len(row["seeds"]) == seeds and (row["low"] is None) == (seeds == 1) for row in rows)


def test_a_kind_of_which_no_seed_has_a_value():
    record = {name: run | {"first_step": {"a": None, "b": None}} for name, run in RECORD.items()}
    steps = told(population_figure(record), "first steps")
    assert all(row["mean"] is None for mark in steps["marks"] for row in mark["kinds"]) and steps["high"] == 900


def test_the_line_is_the_books_threshold(figure):
    assert told(figure, "induction head")["line"] == LEAST["induction"][1]
    assert [headline["line"] for headline in figure.data["headlines"][1:]] == [None] * 7


@pytest.mark.parametrize(
    ("values", "ends", "log", "want"),
    [
        ([0.3, 0.9], (0, 1), False, (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])),
        ([-0.05, 0.9], (0, 1), False, (-0.05, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])),
        ([], (0, 900), False, (0, 900, [0, 200, 400, 600, 800])),
        ([0.041], (0,), False, (0, 0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05])),
        ([2.83, 3.01], (), False, (2.8, 3.05, [2.8, 2.85, 2.9, 2.95, 3.0, 3.05])),
        ([1.4, 8.2], (1,), True, (1, 10, [1, 2, 5, 10])),
        ([1.4, 820], (1,), True, (1, 1000, [1, 10, 100, 1000])),
        ([3.0], (), False, (3, 3, [3])),
        ([], (), False, (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])),
    ],
)
def test_axes_hold_all_and_have_round_ticks(values, ends, log, want):
    made = axis(values, ends, log)
    np.testing.assert_allclose([made["low"], made["high"]], want[:2])
    np.testing.assert_allclose(made["ticks"], want[2], atol=1e-9)


def test_the_plain_version_says_the_same(figure):
    tables = BeautifulSoup(figure.plain, "html.parser").find_all("table")
    assert len(tables) == sum(len(headline.marks) for headline in HEADLINES) == 10
    assert all([row[0] for row in cells(table)] == list(KINDS.values()) for table in tables)
    first = told(figure, "induction head")["marks"][0]["kinds"][0]
    mean, low, high = (f"{first[key]:.2f}" for key in ("mean", "low", "high"))
    assert cells(tables[0])[0][1:] == [mean, f"{low} to {high}", ", ".join(f"{value:.2f}" for value in first["seeds"])]
    assert tables[0].caption.get_text().startswith("Induction head. The best head's prefix matching")
    steps = next(table for table in tables if table.caption.get_text().startswith("First steps, prefix matching."))
    assert cells(steps)[3][3].split(", ")[1::2] == ["never", "never"]


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(lambda: population_figure(RECORD), 20_000)
