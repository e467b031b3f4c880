"""The population of chapter 11: one of the paper's assumptions put back at a time, five seeds each, and all together.

    nice python -m tools.population          # trains what is missing, two runs at a time, one thread each

The learning rate of each kind of model is taken from three, at seed 0, by its loss on 200 windows of validation text;
the other seeds follow. A run goes on where it was cut off. What is to be found was written down before the first run,
in benchmarks/assumptions_expected.md.
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

from course_utils import training
from course_utils.checkpoints import load_card
from course_utils.config import PUT_BACK, RECIPES

SEEDS = range(5)
RATES = {"muon": (3e-3, 6e-3, 12e-3), "adamw": (1e-3, 2e-3, 4e-3)}  # of the matrices of heads and neurons
KINDS = [(name, "muon") for name in PUT_BACK] + [("plain", "adamw"), ("all", "adamw")]


class Run(NamedTuple):
    put_back: str
    optimiser: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.put_back}-{self.optimiser}-{self.rate:g}-seed-{self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("trained/population"), metavar="FOLDER")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (2)")
    options = parser.parse_args()
    search = [Run(*kind, rate, 0) for kind in KINDS for rate in RATES[kind[1]]]
    with multiprocessing.get_context("spawn").Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
        train_all(pool, search, options.out)
        rates = {kind: chosen(search, kind, options.out) for kind in KINDS}
        train_all(pool, [Run(*kind, rates[kind], seed) for seed in SEEDS[1:] for kind in KINDS], options.out)
    print(json.dumps({"-".join(kind): rate for kind, rate in rates.items()}, indent=1))


def train_all(pool, runs: Iterable[Run], out: Path) -> None:
    missing = [(run, out) for run in runs if not (out / f"{run.name}.json").exists()]
    for name in tqdm(pool.imap_unordered(train, missing), total=len(missing), unit="run"):
        tqdm.write(f"{name}: loss {load_card(name, out)['validation_loss']}")


def train(job: tuple[Run, Path]) -> str:
    run, out = job
    model_cfg, cfg = RECIPES[f"live-{run.put_back}"]
    cfg = replace(cfg, optimiser=run.optimiser, lr=run.rate, seed=run.seed)
    training.train(run.name, model_cfg, cfg, out, resume=True, command="python -m tools.population")
    (out / f"{run.name}.state.safetensors").unlink()
    return run.name


def chosen(search: Iterable[Run], kind: tuple[str, str], out: Path) -> float:
    """The rate whose run has the lowest loss."""
    tried = [run for run in search if run[:2] == kind]
    return min(tried, key=lambda run: load_card(run.name, out)["validation_loss"]).rate


if __name__ == "__main__":
    main()
