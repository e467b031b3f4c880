"""The population of chapter 11: which runs there are, how the rate is chosen, and that nothing is trained twice."""

import json
import sys
from types import SimpleNamespace

import pytest
from small_training import ALL_PUT_BACK, MODEL, settings

from course_utils import checkpoints, training
from course_utils.config import PUT_BACK, RECIPES, TransformerConfig
from tools import population
from tools.population import Run


@pytest.fixture
def in_process(monkeypatch):
    """The pool's jobs run here, one after the other; what it was made with."""
    made = []

    class Pool:
        def __init__(self, *options):
            made.append(options)

        def __enter__(self):
            return SimpleNamespace(imap_unordered=map)

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(population.multiprocessing, "get_context", lambda how: SimpleNamespace(Pool=Pool))
    return made


@pytest.fixture
def trained(monkeypatch):
    """Nothing is trained: the names of the runs that would be. Of a kind's losses that of the middle rate is lowest."""
    names = []

    def train(job):
        run, out = job
        names.append(run.name)
        middle = population.RATES[run.optimiser][1]
        return run.name, {"validation_loss": 3 + abs(run.rate - middle) + (run.put_back == "all")}

    monkeypatch.setattr(population, "train", train)
    monkeypatch.setattr(population, "ship_models", lambda rates, options: None)
    return names


def test_runs_have_names_of_their_own():
    assert Run("norm", "muon", 6e-3, 3).name == "norm-muon-0.006-seed-3"
    assert Run("all", "adamw", 1e-3, 0).name == "all-adamw-0.001-seed-0"
    every = [
        Run(*kind, rate, seed) for kind in population.KINDS for rate in population.RATES[kind[1]] for seed in range(5)
    ]
    assert len({run.name for run in every}) == len(every) == 9 * 3 * 5


def test_the_kinds_are_what_can_be_put_back_and_two_with_adamw():
    assert population.KINDS == [(name, "muon") for name in PUT_BACK] + [("plain", "adamw"), ("all", "adamw")]
    assert all(f"live-{name}" in RECIPES for name, _ in population.KINDS)
    assert all(rates == tuple(sorted(rates)) and len(rates) == 3 for rates in population.RATES.values())
    assert list(population.SEEDS) == [0, 1, 2, 3, 4]


def test_each_kind_takes_the_rate_of_the_lowest_recorded_loss():
    search = [
        Run(*kind, rate, 0) for kind in (("plain", "muon"), ("plain", "adamw"), ("all", "muon")) for rate in (1, 2, 4)
    ]
    losses = [3, 4, 2.5, float("nan"), 3.1, 3.2, 2, 4, 4]  # one ran away
    record = {run.name: {"validation_loss": loss} for run, loss in zip(search, losses, strict=True)}
    assert population.chosen(search, ("plain", "muon"), record) == 4
    assert population.chosen(search, ("plain", "adamw"), record) == 2
    assert population.chosen(search, ("all", "muon"), record) == 1


def test_three_rates_at_one_seed_then_the_other_seeds_at_the_chosen_one(
    monkeypatch, tmp_path, in_process, trained, capsys
):
    monkeypatch.setattr(sys, "argv", ["population", "--record", str(tmp_path / "record.json"), "--jobs", "3"])
    population.main()
    later = [run.name for run in population.LATER]
    assert trained[27 : 27 + len(later)] == later and later[0] == "stream-muon-0.006-seed-0-longer"
    del trained[27 : 27 + len(later)]
    assert len(trained) == len(set(trained)) == 9 * 3 + 9 * 4
    assert all(name.endswith("-seed-0") for name in trained[:27])
    assert sorted(trained[27:]) == sorted(
        Run(*kind, population.RATES[kind[1]][1], seed).name for kind in population.KINDS for seed in (1, 2, 3, 4)
    )
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :]) == {
        "-".join(kind): population.RATES[kind[1]][1] for kind in population.KINDS
    }
    ((jobs, once, threads),) = in_process
    assert jobs == 3 and once is population.torch.set_num_threads and threads == (1,)  # one thread each


def test_what_is_done_is_not_done_again(monkeypatch, tmp_path, in_process, trained):
    path = tmp_path / "record.json"
    monkeypatch.setattr(sys, "argv", ["population", "--record", str(path)])
    population.main()
    first = sorted(trained)
    trained.clear()
    population.main()
    assert trained == []
    gone = [Run("norm", "muon", 6e-3, 3), Run("all", "adamw", 4e-3, 0)]
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: found for name, found in record.items() if name not in {run.name for run in gone}})
    )
    population.main()
    assert json.loads(path.read_text()) == record
    assert trained == [gone[1].name, gone[0].name] and set(trained) < set(first)


def test_a_population_from_end_to_end(monkeypatch, tmp_path, in_process, text_is_small):
    """Two kinds, two rates, two seeds, a few steps each; one run was cut off before."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    out, path = tmp_path / "out", tmp_path / "record.json"
    weights = tmp_path / "weights"
    monkeypatch.setattr(population, "LIVE", {"all": "live-all"})
    monkeypatch.setattr(
        sys, "argv", ["population", "--out", str(out), "--record", str(path), "--weights", str(weights)]
    )
    monkeypatch.setattr(population, "headlines", lambda model, windows: {"n_windows": len(windows)})
    monkeypatch.setattr(population, "KINDS", [("plain", "adamw"), ("all", "muon")])
    monkeypatch.setattr(population, "RATES", {"adamw": (1e-9, 2e-2), "muon": (1e-9, 2e-2)})
    monkeypatch.setattr(population, "SEEDS", range(2))
    later = Run("plain", "adamw", 2e-2, 0, longer=True)
    monkeypatch.setattr(population, "LATER", [later])
    monkeypatch.setattr(population, "LONGER", 6)
    recipe = settings(4, windows=5)
    monkeypatch.setitem(RECIPES, "live-plain", (TransformerConfig(**MODEL.to_dict()), recipe))
    monkeypatch.setitem(RECIPES, "live-all", (ALL_PUT_BACK, recipe))
    cut_off = Run("all", "muon", 2e-2, 1)
    cfg = settings(4, windows=5, lr=2e-2, seed=1)
    training.train(cut_off.name, ALL_PUT_BACK, cfg, out, stop_at=2, command="python -m tools.population")
    assert [path.name for path in out.iterdir()] == [f"{cut_off.name}.state.safetensors"]

    population.main()
    runs = [Run(*kind, rate, 0) for kind in population.KINDS for rate in (1e-9, 2e-2)]
    runs += [Run(*kind, 2e-2, 1) for kind in population.KINDS]
    assert checkpoints.load_card(later.name, out)["training"]["steps"] == 6
    assert {path.name for path in out.iterdir()} == {
        f"{run.name}.{end}" for run in [*runs, later] for end in ("json", "safetensors", "log.npz")
    }  # no state is left
    for run in runs:
        about = checkpoints.load_card(run.name, out)
        want = (run.optimiser, run.rate, run.seed, 4, 5)
        assert tuple(about["training"][key] for key in ("optimiser", "lr", "seed", "steps", "windows")) == want
        model = checkpoints.load_model(run.name, "cpu", out)
        assert model.cfg == RECIPES[f"live-{run.put_back}"][0] and about["command"] == "python -m tools.population"
        found = json.loads(path.read_text())[run.name]
        assert found["sha256"] == about["sha256"] and found["validation_loss"] == about["validation_loss"]
        assert found["n_windows"] == 5 and found["first_step"].keys() == {"previous_token", "prefix_matching"}
    shipped = checkpoints.load_model("live-all", "cpu", weights).state_dict()  # the first seed, at the better rate
    first = checkpoints.load_model(Run("all", "muon", 2e-2, 0).name, "cpu", out).state_dict()
    assert all((weight == first[name]).all() for name, weight in shipped.items())
    assert sorted(path.name for path in weights.iterdir()) == ["live-all.json", "live-all.safetensors"]
    whole = training.train("whole", ALL_PUT_BACK, cfg, tmp_path / "whole")
    resumed = checkpoints.load_model(cut_off.name, "cpu", out).state_dict()
    assert all((weight.half().float() == resumed[name]).all() for name, weight in whole.state_dict().items())
