"""The chapters, run two at a time, into the cache in which the build then finds their outputs.

    python -m tools.execute          # all chapters that are not in the cache; `make book` begins with it

Without it the build runs them one after the other. jupyter-cache has a parallel executor of its own, `local-parallel`:
it takes all cores whatever the threads of each kernel, begins with the first chapter in place of the longest, and
says neither how far it is nor which cell has failed.

Each chapter runs in a process of its own and is kept as soon as it has come to its end: when this is interrupted,
what ran is not run again.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.utils import Timer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm.auto import tqdm

from course_utils.errors import CourseError
from tools import notebooks

sys.path.append(str(notebooks.ROOT / "book/_assets/sphinx_ext"))
import course_site  # noqa: E402

LONGEST_FIRST = ("10", "12", "02")  # measured; the others are of like length
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, nargs="?", default=notebooks.ROOT, help="folder of the book: this checkout")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="chapters at a time (2)")
    parser.add_argument("--chapter", type=Path, help=argparse.SUPPRESS)  # what the processes are told
    options = parser.parse_args()
    root = options.root.resolve()
    if options.chapter:
        return run_chapter(root, options.chapter)
    try:
        return asyncio.run(run_chapters(root, max(1, options.jobs)))
    except CourseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(
            "\nInterrupted. The chapters that ran are kept; the same command goes on with the others.", file=sys.stderr
        )
        return 130


async def run_chapters(root: Path, jobs: int) -> int:
    """Run the chapters that the cache lacks; 1 if one of them failed, after all have had their turn."""
    with suppress(NotImplementedError):  # on Windows; elsewhere it wakes the loop whichever thread gets the signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, asyncio.current_task().cancel)
    cache = get_cache(course_site.execution_cache(root))
    waiting = [path for path in notebooks.chapters(root) if not _is_kept(cache, path)]
    waiting.sort(key=lambda path: not path.stem.startswith(LONGEST_FIRST))
    threads = max(1, (os.cpu_count() or 1) // jobs)  # kernels with more threads than cores take twice the time
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | course_site.KERNELS
    bar = tqdm(total=len(waiting), desc="chapters", unit="chapter", disable=not waiting)
    failed, free = [], asyncio.Semaphore(jobs)

    async def run(path: Path) -> None:
        async with free:
            command = ["-m", "tools.execute", str(root), "--chapter", str(path)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=notebooks.ROOT, env=environment, stderr=asyncio.subprocess.PIPE
            )
            try:
                _, said = await process.communicate()
            finally:
                if process.returncode is None:  # interrupted: neither the process nor its kernel works on
                    kernel = psutil.Process(process.pid).children(recursive=True)
                    process.kill()
                    for each in kernel:
                        with suppress(psutil.NoSuchProcess):  # it may have come to its end meanwhile
                            each.kill()
                    with suppress(TimeoutError):  # its pipe is closed before the loop is
                        await asyncio.wait_for(process.communicate(), 10)
            if process.returncode:
                failed.append(path)
                bar.write(said.decode(errors="replace").rstrip(), file=sys.stderr)
            bar.update()

    with bar:
        await asyncio.gather(*map(run, waiting))
    if failed:
        print(f"Failed: {', '.join(path.name for path in failed)}. The others are kept.", file=sys.stderr)
    return 1 if failed else 0


def run_chapter(root: Path, path: Path) -> int:
    """Run one chapter and keep its outputs, as MyST-NB's own cache does it; 1 and the cell's number if one failed."""
    notebook, at = nbformat.read(path, as_version=4), {}
    client = NotebookClient(
        notebook,
        timeout=notebooks.cell_limit(root),
        record_timing=False,  # times would stand in the cells' metadata, by which the cache knows a notebook
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=lambda cell, cell_index: at.update(cell=cell, number=cell_index),
    )
    timer = Timer()
    try:
        with timer:
            client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        place = f"{path.relative_to(root)}, cell {at['number']} (id {at['cell'].get('id')})"
        print(f"{place}: {COLOURS.sub('', str(error))}", file=sys.stderr)
        return 1
    keep(root, path, notebook, timer.last_split)
    return 0


def keep(root: Path, path: Path, notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Put a notebook that was run into the cache; one at a time, for two that write at once lose one of them."""
    folder = course_site.execution_cache(root)
    folder.mkdir(parents=True, exist_ok=True)
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    with FileLock(folder / ".lock"):
        get_cache(folder).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def _is_kept(cache, path: Path) -> bool:
    try:
        cache.match_cache_notebook(nbformat.read(path, as_version=4))
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
