"""`make book` on a machine that has only Python: in a folder with an awkward name, then without network."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.release

AWKWARD = "ödd päth (1) & more"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "_build", "full", "trained", "__pycache__", "*.egg-info")
# Read by every Python that starts with its folder on PYTHONPATH, the notebooks' kernels included.
NO_NETWORK = """
import socket

connect = socket.socket.connect


def only_this_machine(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the network is blocked: {address}")
    return connect(self, address)


socket.socket.connect = only_this_machine
"""
REBUILD_SECONDS = 15


def make_book(folder: Path, **variables) -> tuple[float, float]:
    """Run `make book`; return the seconds that it took, by the clock and of the processor."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | variables
    before, began = os.times(), time.monotonic()
    result = subprocess.run(
        ["make", "book"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert str(folder / "_build/html/index.html") in result.stdout
    clock, after = time.monotonic() - began, os.times()
    return clock, after.children_user + after.children_system - before.children_user - before.children_system


def test_book_is_made_from_nothing_and_rebuilt_without_network(tmp_path, root, record_property):
    folder = tmp_path / AWKWARD
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    clock, _ = make_book(folder)
    record_property("measured", f"from nothing, downloads included: {clock:.0f} s")
    assert (folder / "_build/html/book/intro.html").exists()

    clock, processor = make_book(folder)
    record_property("measured", f"unchanged: {clock:.1f} s, {processor:.1f} s of processor time")
    assert processor < REBUILD_SECONDS  # by the clock it depends on what else the machine does

    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(NO_NETWORK)
    shutil.rmtree(folder / "_build")
    clock, _ = make_book(folder, PYTHONPATH=str(blocker))
    record_property("measured", f"all chapters executed and built without network: {clock:.0f} s")
    assert (folder / "_build/html/book/intro.html").exists()


def test_the_blocker_blocks(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    ask = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"  # an address kept for examples
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(["python3", "-c", ask], env=environment, capture_output=True, text=True)
    assert "the network is blocked" in result.stderr
