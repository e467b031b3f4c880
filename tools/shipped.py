"""What is measured once and ships: a file of numbers, and its line in the manifest beside it."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tqdm.auto import tqdm

from course_utils.checkpoints import write_together


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
