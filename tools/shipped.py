"""What is measured once and ships: a file of numbers, and its line in the manifest beside it."""

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from course_utils import corpus
from course_utils.checkpoints import write_together


def measuring(says: str, file: str, kept: str) -> argparse.Namespace:
    """The options of a command, told by `says`, that measures `file` and keeps what it has so far, `kept`."""
    parser = argparse.ArgumentParser(description=says.splitlines()[0])
    parser.add_argument("--out", type=Path, default=corpus.DATA, metavar="FOLDER")
    parser.add_argument("--kept", type=Path, default=Path("trained") / file, metavar="FILE", help=kept)
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def measure_runs(says: str, file: str, steps: int, train: Callable, runs: Mapping[str, Any]) -> None:
    """A command, told by `says`, that trains those of the small `runs` that `file` lacks; `train` gets (run, steps)."""
    parser = argparse.ArgumentParser(description=says.splitlines()[0])
    parser.add_argument("--record", type=Path, default=corpus.DATA / file, metavar="FILE", help="of scores")
    parser.add_argument("--steps", type=int, default=steps, metavar="N", help=f"of each run ({steps})")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (2)")
    options = parser.parse_args()
    record = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
    missing = [(run, options.steps) for name, run in runs.items() if name not in record]
    with multiprocessing.get_context("spawn").Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
        list(complete(train, missing, pool, options.record, record))


def complete(train: Callable, jobs: Collection[tuple], pool, path: Path, record: dict[str, dict]) -> Iterator[str]:
    """Run `train` on each job; it gives a name and what was found, which is written down at once. Yields the names."""
    for name, found in tqdm(pool.imap_unordered(train, jobs), total=len(jobs), unit="run"):
        record[name] = found
        ship(path, dict(sorted(record.items())), indent=1)
        yield name


def ship(path: Path, made: dict, **layout) -> None:
    """Write `made` as JSON, laid out as json.dumps is told; if a manifest stands beside it, its size and hash there."""
    raw = (json.dumps(made, **layout) + "\n").encode()
    files, beside = {path: raw}, path.with_name("manifest.json")
    if beside.exists():
        manifest = json.loads(beside.read_text("utf-8"))
        entry = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
        manifest["files"] = dict(sorted((manifest["files"] | {path.name: entry}).items()))
        files[beside] = (json.dumps(manifest, indent=1) + "\n").encode()
    write_together(files)
