"""Training that is killed, and disks that are full or read-only: nothing that was saved is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import MODEL, settings

from course_utils import checkpoints, training
from course_utils.errors import CourseError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork processes")

SCRIPT = Path(__file__).parents[1] / "killed_training.py"
WEIGHTS, CARD, LOG, STATE = "small.safetensors", "small.json", "small.log.npz", "small.state.safetensors"


def start(*arguments, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    environment = os.environ | {"COURSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
    command = [*before, sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def text(tmp_path_factory, small_text) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.npy"
    np.save(path, small_text.numpy())
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, text) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = start("once", folder, text)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return checkpoints.load_log("small", folder)


@pytest.mark.release
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, text, undisturbed, record_property):
    """Interrupted once, and not by force: test_training.py."""
    out, kills = tmp_path / "killed", 20
    done = start("kill", out, text, kills, 7)
    assert done.returncode == 0 and f"killed {kills}: " in done.stdout, done.stdout + done.stderr[-3000:]
    record_property("measured", f"killed {kills} times, then finished")
    assert sorted(path.name for path in out.iterdir()) == [CARD, LOG, WEIGHTS, STATE]  # no parts are left behind
    assert (out / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    mine, whole = (checkpoints.read_tensors(folder / STATE) for folder in (out, undisturbed))
    assert set(mine) == set(whole)
    for name, value in whole.items():  # weights in 32 bits, what the optimisers remember, and the log
        torch.testing.assert_close(mine[name], value, rtol=0, atol=0, equal_nan=True, msg=name)
    for name, value in arrays(undisturbed).items():
        np.testing.assert_array_equal(arrays(out)[name], value, err_msg=name)


# --- a full disk ---


def run(folder: Path, **more) -> None:
    training.train("small", MODEL, settings(4, eval_every=4), folder, save_every=2, **more)


@pytest.fixture
def begun(tmp_path, text_is_small, monkeypatch) -> Path:
    """The folder of a run that was interrupted after two steps, with an earlier model of that name in it."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    run(tmp_path, stop_at=2)
    earlier = training.AttentionOnlyTransformer.init(MODEL, seed=5)
    checkpoints.save_model(earlier, "small", {"command": "earlier"}, tmp_path)
    return tmp_path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "name", [STATE, WEIGHTS, *(pytest.param(name, marks=pytest.mark.release) for name in (LOG, CARD))]
)
def test_a_full_disk_keeps_what_was_there(begun, name):
    before = {path.name: path.read_bytes() for path in begun.iterdir()}
    (begun / f"{name}.partial").symlink_to("/dev/full")  # what is written there meets a full disk
    with pytest.raises(CourseError, match=f"{name}: it can't be written .No space left.*Remedy: free some space"):
        run(begun, resume=True)
    after = {path.name: path.read_bytes() for path in begun.iterdir()}
    assert set(before) <= set(after) and not any(left.endswith(".partial") for left in after)
    assert (after[WEIGHTS], after[CARD]) == (before[WEIGHTS], before[CARD])
    assert checkpoints.load_model("small", folder=begun) is not None
    assert checkpoints.read_about(begun / STATE)["step"] == (2 if name == STATE else 4)
    run(begun, resume=True)  # the link is gone: there is room again
    assert checkpoints.load_card("small", begun)["command"] != "earlier"


@pytest.mark.release
@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is missing")
def test_a_file_may_not_grow(tmp_path, text, undisturbed):
    """The same from the kernel, through a limit on the size of files, in a process of its own."""
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / WEIGHTS).unlink()
    done = start("once", tmp_path / "run", text, before=("prlimit", f"--fsize={64 * 1024}"))
    assert done.returncode == 1 and "File too large" in done.stderr and "Remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / STATE).read_bytes() == (undisturbed / STATE).read_bytes()


# --- a read-only folder ---


def without_roots_rights() -> tuple[str, ...]:
    """A command that takes from root the right to write where others may not."""
    if os.geteuid() != 0:
        return ()
    command = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
    if not shutil.which("setpriv") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("root may write anywhere, and setpriv can't take that right away here")
    return command


@pytest.mark.release
def test_a_read_only_folder_is_told_before_anything_is_computed(tmp_path, text, undisturbed):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    folder.chmod(0o555)
    try:
        done = start("once", folder, text, before=without_roots_rights())
    finally:
        folder.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {folder}: it can't be written (Permission denied). Remedy:"), done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in undisturbed.iterdir()
    }


def test_a_file_where_the_folder_should_be(tmp_path, text_is_small):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CourseError, match="taken.*it can't be written.*Remedy: choose another folder"):
        run(tmp_path / "taken")
