"""`make book` on a machine that has only Python: in a folder with an awkward name, then without network."""

import os
import shutil
import subprocess
import sys
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


# --- with this environment, but without something else that one may lack ---

# Runs a command in a network namespace without routes: only this machine's own address is up, for the kernels.
LOOPBACK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0x49))
os.execvp(sys.argv[1], sys.argv[1:])
"""
# With COURSE_TEST_PAGES=book/04_path_expansion only these pages are executed: a try, in a minute.
PAGES = os.environ.get("COURSE_TEST_PAGES", "").split()


def copy_of_the_repository(root: Path, folder: Path) -> Path:
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    if PAGES:
        lines = ["format: jb-book", "root: book/intro", "chapters:", *(f"  - file: {page}" for page in PAGES)]
        (folder / "_toc.yml").write_text("\n".join(lines) + "\n")
    return folder


def build(folder: Path, before: tuple[str, ...] = (), **variables) -> None:
    """What `make book` does once the environment is there; `before` is put before the command."""
    strict = [] if PAGES else ["-W", "-n"]  # a part of the book has links that lead out of it
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [*before, jupyter_book, "build", *strict, "--keep-going", "."]
    environment = os.environ | {"PYTHONPATH": str(folder)} | variables
    result = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "Executing notebook failed" not in result.stdout + result.stderr
    assert (folder / "_build/html/index.html").exists()


def test_the_book_builds_in_a_network_namespace_without_routes(tmp_path, root):
    before = ("unshare", "-n", sys.executable, "-c", LOOPBACK)
    if not shutil.which("unshare") or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a network namespace (unshare -n)")
    ask = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"  # an address kept for examples
    asked = subprocess.run([*before, sys.executable, "-c", ask], capture_output=True, text=True)
    assert "Network is unreachable" in asked.stderr
    build(copy_of_the_repository(root, tmp_path / AWKWARD), before)


def test_the_book_builds_where_the_folder_above_is_read_only(tmp_path, root):
    before = ()
    if os.geteuid() == 0:  # root may write anywhere unless this right is taken away
        before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
        if not shutil.which("setpriv") or subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("root may write anywhere, and setpriv can't take that right away here")
    above = tmp_path / "above"
    folder = copy_of_the_repository(root, above / "course")
    above.chmod(0o555)
    try:
        attempt = subprocess.run([*before, "touch", above / "new"], capture_output=True, text=True)
        assert attempt.returncode and "Permission denied" in attempt.stderr
        build(folder, before)
    finally:
        above.chmod(0o755)
    assert [path.name for path in above.iterdir()] == ["course"]


def test_the_book_is_made_on_the_newest_python(tmp_path, root, record_property):
    python = os.environ.get("COURSE_PYTHON")
    if not python:
        pytest.skip("name a newer Python in COURSE_PYTHON, e.g. COURSE_PYTHON=python3.13")
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    folder = copy_of_the_repository(root, tmp_path / "course")
    clock, _ = make_book(folder, PYTHON=python)
    record_property("measured", f"{version}, from nothing: {clock:.0f} s")
