"""The numbers of the book, run again: `python -m course_utils results`."""

import json
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from tqdm.auto import tqdm

from course_utils import claims
from tools import notebooks


def run_chapters(update: bool = False, paths: list[Path] | None = None) -> bool:
    """Execute the chapters, whose claims compare themselves; with `update`, record all claims anew. True if all ran."""
    fresh = claims.RESULTS.with_suffix(".fresh.json")
    environment = os.environ | {claims.STRICT: "strict"}
    if update:
        environment[claims.UPDATE] = str(fresh)
        fresh.unlink(missing_ok=True)
    failed = []
    for path in tqdm(notebooks.chapters() if paths is None else paths, desc="chapters"):
        there, limit = {"metadata": {"path": str(path.parent)}}, notebooks.cell_limit()
        try:
            client = NotebookClient(nbformat.read(path, 4), timeout=limit, kernel_name="python3", resources=there)
            client.execute(env=environment)
        except (CellControlSignal, DeadKernelError) as error:
            print(error)
            failed.append(path.name)
    if update and not failed and fresh.exists():
        before, after = claims.load_results(), json.loads(fresh.read_text("utf-8"))["claims"]
        os.replace(fresh, claims.RESULTS)
        for key in sorted({**before, **after}):
            old, new = (recorded.get(key, {}).get("value", "—") for recorded in (before, after))
            if old != new:
                print(f"{key}: {old} → {new}")
    print(f"failed: {', '.join(failed)}" if failed else "All chapters ran.")
    return not failed
