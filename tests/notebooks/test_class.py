"""A class at work: students' notebooks run unsolved, and twenty kernels share one machine."""

import asyncio
import copy
import json
import os
import threading
import time

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from course_utils.checks import kept
from tools import notebooks, workshop

pytestmark = pytest.mark.release

CHAPTERS = [path for path in notebooks.chapters() if "solution" in path.read_text("utf-8")]
LEARNERS = int(os.environ.get("COURSE_LEARNERS", 20))


def run_all(notebook, folders, **variables):
    """Run a notebook at once in each of these folders; the notebooks with their outputs.

    From one process, which hands out the ports: kernels that several start in the same second take each other's.
    """

    async def run(folder):
        folder.mkdir(parents=True)
        own, resources = copy.deepcopy(notebook), {"metadata": {"path": str(folder)}}
        client = NotebookClient(own, timeout=None, startup_timeout=600, resources=resources, kernel_name="python3")
        return await client.async_execute(env=os.environ | variables)

    async def together():
        return await asyncio.gather(*map(run, folders))

    return asyncio.run(together())


def outcomes(notebook):
    """What each check said."""
    checks = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", [])]
    return [output.data["text/plain"] for cell in checks for output in cell.outputs]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_students_notebook_runs_unsolved(path, tmp_path):
    student = workshop.without_solutions(nbformat.read(path, as_version=4))
    progress = tmp_path / "progress.json"
    progress.write_text(json.dumps({"passed": {}}))
    (done,) = run_all(student, [tmp_path / "class"], **{kept.VARIABLE: str(progress)})
    exercises = [cell for cell in student.cells if "exercise" in cell.metadata.get("tags", [])]
    number = notebooks.label(path)
    assert outcomes(done) == [f"○ Exercise {number}.{n}: not attempted" for n in range(1, len(exercises) + 1)]
    assert json.loads(progress.read_text()) == {"passed": {}}


class Watch(threading.Thread):
    """Twice a second: memory and work of the processes below this one, and how little memory the machine has left."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended, self.together, self.kernel, self.worked = threading.Event(), 0, 0, {}
        self.free = self.least = psutil.virtual_memory().available

    def run(self):
        while not self.ended.wait(0.5):
            together = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    memory = process.memory_info().rss
                    if any("ipykernel" in word for word in process.cmdline()):
                        self.kernel = max(self.kernel, memory)
                        self.worked[process.pid] = sum(process.cpu_times()[:2])
                    together += memory
                except psutil.Error:  # it has just ended
                    continue
            self.together = max(self.together, together)
            self.least = min(self.least, psutil.virtual_memory().available)


def test_twenty_kernels_run_the_induction_chapter_at_once(tmp_path, root, record_property):
    """All finish. What it took is told for the machine that the report names; COURSE_LEARNERS is another number."""
    chapter = nbformat.read(root / "book/07_induction_heads.ipynb", as_version=4)
    student = workshop.without_solutions(chapter)
    watch, began = Watch(), time.monotonic()
    watch.start()
    folders = [tmp_path / f"learner {number}" for number in range(LEARNERS)]
    try:
        done = run_all(student, folders, OMP_NUM_THREADS="1", COURSE_DEVICE="cpu")
    finally:
        watch.ended.set()
    seconds = time.monotonic() - began
    assert len(done) == LEARNERS and all(outcomes(one) == outcomes(done[0]) != [] for one in done)
    worked = sum(watch.worked.values()) / LEARNERS
    record_property(
        "measured",
        f"{LEARNERS} kernels on {os.cpu_count()} cores: done after {seconds / 60:.1f} min, {worked:.0f} s each, "
        f"largest {watch.kernel / 1e9:.2f} GB; resident together {watch.together / 1e9:.1f} GB; "
        f"free memory fell by {(watch.free - watch.least) / 1e9:.1f} GB",
    )
