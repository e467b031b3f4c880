"""A class at work: students' notebooks run unsolved, and twenty kernels share one machine."""

import json
import os
import subprocess
import sys
import threading
import time

import nbformat
import psutil
import pytest

from course_utils import notebooks, workshop
from course_utils.checks import kept

pytestmark = pytest.mark.release

CHAPTERS = [path for path in notebooks.chapters() if "solution" in path.read_text("utf-8")]
LEARNERS = int(os.environ.get("COURSE_LEARNERS", 20))


def execute(notebook, folder, **variables):
    """Begin to run a notebook in a folder; `done.ipynb` there will have the outputs."""
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / "notebook.ipynb")
    command = [sys.executable, "-m", "jupyter", "execute", "--timeout=-1", "--output=done.ipynb", "notebook.ipynb"]
    said = (folder / "said.txt").open("w")
    return subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=said, stderr=said)


def outcomes(folder):
    """What each check said."""
    cells = nbformat.read(folder / "done.ipynb", as_version=4).cells
    checks = [cell for cell in cells if "check" in cell.metadata.get("tags", [])]
    return [output.data["text/plain"] for cell in checks for output in cell.outputs]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_students_notebook_runs_unsolved(path, tmp_path):
    student = workshop.without_solutions(nbformat.read(path, as_version=4))
    progress = tmp_path / "progress.json"
    progress.write_text(json.dumps({"passed": {}}))
    running = execute(student, tmp_path / "class", **{kept.VARIABLE: str(progress)})
    assert running.wait() == 0, (tmp_path / "class/said.txt").read_text()[-2000:]
    exercises = [cell for cell in student.cells if "exercise" in cell.metadata.get("tags", [])]
    number = int(path.stem[:2])
    assert outcomes(tmp_path / "class") == [
        f"○ Exercise {number}.{n}: not attempted" for n in range(1, len(exercises) + 1)
    ]
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
    running = [execute(student, folder, OMP_NUM_THREADS="1", COURSE_DEVICE="cpu") for folder in folders]
    try:
        statuses = [process.wait() for process in running]
    finally:
        for process in running:
            process.kill()
        watch.ended.set()
    seconds = time.monotonic() - began
    assert statuses == [0] * LEARNERS, [(folder / "said.txt").read_text()[-500:] for folder in folders]
    assert all(outcomes(folder) == outcomes(folders[0]) != [] for folder in folders)
    worked = sum(watch.worked.values()) / LEARNERS
    record_property(
        "measured",
        f"{LEARNERS} kernels on {os.cpu_count()} cores: done after {seconds / 60:.1f} min, {worked:.0f} s each, "
        f"largest {watch.kernel / 1e9:.2f} GB; resident together {watch.together / 1e9:.1f} GB; "
        f"free memory fell by {(watch.free - watch.least) / 1e9:.1f} GB",
    )
