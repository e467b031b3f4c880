"""The population of chapter 11: one of the paper's assumptions put back at a time, five seeds each, and all together.

    nice python -m tools.population          # trains what is missing, two runs at a time, one thread each

The learning rate of each kind of model is taken from three, at seed 0, by its loss on 200 windows of validation text;
the other seeds follow. A run goes on where it was cut off; what it shows is written down when it ends, with the hash of
its weights, in course_utils/data/population.json. In the end the models that the chapter opens go into
course_utils/weights. What is to be found was written down before the first run, in benchmarks/assumptions_expected.md.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm.auto import tqdm

from course_utils import corpus, load_model, load_text, training, windows
from course_utils.checkpoints import LIVE, WEIGHTS, load_card, load_log, write_together
from course_utils.config import PUT_BACK, RECIPES
from course_utils.corpus import spread
from course_utils.headlines import RECORD, final_loss, first_step, headlines
from tools import shipped

SEEDS = range(5)
RATES = {"muon": (3e-3, 6e-3, 12e-3), "adamw": (1e-3, 2e-3, 4e-3)}  # of the matrices of heads and neurons
KINDS = [(name, "muon") for name in PUT_BACK] + [("plain", "adamw"), ("all", "adamw")]


class Run(NamedTuple):
    put_back: str
    optimiser: str
    rate: float
    seed: int
    longer: bool = False

    @property
    def name(self) -> str:
        name = f"{self.put_back}-{self.optimiser}-{self.rate:g}-seed-{self.seed}"
        return f"{name}-longer" if self.longer else name

    @property
    def changes(self) -> dict:
        """What differs from the recipe. A longer run with positions in the stream begins with quieter ones."""
        own = {"optimiser": self.optimiser, "lr": self.rate, "seed": self.seed}
        own |= {"steps": LONGER, "eval_every": 100} if self.longer else {}
        return own | ({"positions": 0.25} if self.longer and self.put_back == "stream" else {})


# Kinds whose best run of the search had no induction head: does it only take longer? Each at its rate, or near it; and,
# to be compared with at the same number of steps, the plain one.
LONGER = 3000  # steps
LATER = [
    Run(put_back, "muon", rate, 0, longer=True)
    for put_back, rate in (("stream", 6e-3), ("rotary", 3e-3), ("mlp", 3e-3), ("plain", 6e-3))
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("trained/population"), metavar="FOLDER", help="for weights")
    parser.add_argument("--record", type=Path, default=corpus.DATA / RECORD, metavar="FILE", help="for what they show")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER", help="for the models that ship")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (2)")
    options = parser.parse_args()
    record = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
    search = [Run(*kind, rate, 0) for kind in KINDS for rate in RATES[kind[1]]]
    with multiprocessing.get_context("spawn").Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
        complete(pool, search, record, options)
        rates = {kind: chosen(search, kind, record) for kind in KINDS}
        seeds = [Run(*kind, rates[kind], seed) for seed in SEEDS[1:] for kind in KINDS]
        complete(pool, [*LATER, *seeds], record, options)
    ship_models(rates, options)
    print(json.dumps({"-".join(kind): rate for kind, rate in rates.items()}, indent=1))


def complete(pool, runs: Iterable[Run], record: dict[str, dict], options: argparse.Namespace) -> None:
    """Train what the record lacks, and write it down run by run."""
    missing = [(run, options.out) for run in runs if run.name not in record]
    for name in shipped.complete(train, missing, pool, options.record, record):
        tqdm.write(f"{name}: loss {record[name]['validation_loss']}")


def train(job: tuple[Run, Path]) -> tuple[str, dict]:
    """Name, card and headlines of a run, trained now unless its weights are there."""
    run, out = job
    model_cfg, cfg = RECIPES[f"live-{run.put_back}"]
    cfg = replace(cfg, **run.changes)
    if not (out / f"{run.name}.json").exists():
        training.train(run.name, model_cfg, cfg, out, resume=True, command="python -m tools.population")
        (out / f"{run.name}.state.safetensors").unlink()
    card, model, log = load_card(run.name, out), load_model(run.name, "cpu", out), load_log(run.name, out)
    text = windows(load_text("validation", cfg.d_vocab), model.cfg.n_ctx)
    found = headlines(model, spread(text, cfg.windows))
    scores = {"previous_token": (0, 0.4), "prefix_matching": (1, 0.2)}
    found["first_step"] = {
        name: first_step(log["eval_step"], log[name][:, layer].max(-1), least)
        for name, (layer, least) in scores.items()
    }
    return run.name, {key: card[key] for key in ("sha256", "validation_loss", "seconds", "training")} | found


def chosen(search: Iterable[Run], kind: tuple[str, str], record: dict[str, dict]) -> float:
    """The rate whose run has the lowest loss."""
    return min((run for run in search if run[:2] == kind), key=lambda run: final_loss(record[run.name])).rate


def ship_models(rates: dict[tuple[str, str], float], options: argparse.Namespace) -> None:
    """The first seeds of some kinds, with their cards, to where `load_model` finds them."""
    for put_back, name in LIVE.items():
        run = Run(put_back, "muon", rates[put_back, "muon"], 0)
        ends = (".safetensors", ".json")
        there = {options.weights / (name + end): options.out / (run.name + end) for end in ends}
        write_together({path: source.read_bytes() for path, source in there.items()})


if __name__ == "__main__":
    main()
