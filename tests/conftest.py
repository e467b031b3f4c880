"""What all tests share: the built site, and the report of the long tests."""

import datetime
import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import psutil
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent

os.environ["COURSE_PROGRESS"] = ""  # what the tests pass is no reader's progress
os.environ["COURSE_CLAIMS"] = "strict"  # a claim that fails stops a notebook here

# Several workers share the cores: one thread each, also in the notebooks' kernels, which inherit this.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# Files that take long begin first, so that the last to begin is a short one. Known from --durations.
LONG = (
    "book/10_", "book/12_", "tests/browser/", "book/", "tests/site/test_build.py", "tests/models/", "tests/notebooks/",
)  # fmt: skip


def pytest_configure(config):
    if config.getoption("--keep-outputs"):
        os.environ.update(extension("course_site").KERNELS)  # the notebooks' kernels inherit this
        config.pluginmanager.register(KeepOutputs())
        RunningKernel.execute_cell_input = with_history
    config.option.nbval_cell_timeout = notebooks.cell_limit()
    config.option.loadscopereorder = False  # xdist would begin with the files of the most tests


def pytest_collection_modifyitems(items):
    def place(item) -> int:
        path = item.path.relative_to(ROOT).as_posix()
        return next((place for place, start in enumerate(LONG) if path.startswith(start)), len(LONG))

    items.sort(key=place)


def with_history(kernel: RunningKernel, source: str, allow_stdin: bool | None = None) -> str:
    """As nbval has it, but for the history: without one a semicolon hides no value."""
    return kernel.kc.execute(source, allow_stdin=allow_stdin, stop_on_error=False)


class KeepOutputs:
    """What nbval has run from a notebook's first cell to its last is kept: the build of the site need not run it again.

    A plugin of its own: the hooks of this file are called for tests that stand beside it only.
    """

    seconds = pytest.StashKey[list[float]]()  # of a notebook: how long each of its cells ran that did not fail

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if isinstance(item, IPyNbCell) and call.when == "call" and report.passed:
            seconds = item.parent.stash.setdefault(self.seconds, [])
            seconds.append(report.duration)
            item.cell.update(execution_count=item.cell_num + 1, outputs=item.test_outputs)
            if len(seconds) == sum(cell.cell_type == "code" for cell in item.parent.nb.cells):
                from tools import execute  # here, because it imports the cache, which no other test run needs

                execute.keep(ROOT, item.path, item.parent.nb, sum(seconds))
        return report


@pytest.fixture(scope="session")
def course_site():
    """The site's Sphinx extension, which knows from which files a site is built."""
    return extension("course_site")


@pytest.fixture(scope="session")
def course_pictures():
    """The site's Sphinx extension that puts pictures into pages."""
    return extension("course_pictures")


@pytest.fixture(scope="session")
def course_heads():
    """The site's Sphinx extension that marks names of heads."""
    return extension("course_heads")


@pytest.fixture(scope="session")
def course_margin():
    """The site's Sphinx extension that draws the circuit in the margin and brings definitions."""
    return extension("course_margin")


def extension(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"book/_assets/sphinx_ext/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def site(course_site) -> Path:
    """The folder of the built site. Testing a site made from other sources would prove nothing."""
    record = ROOT / "_build" / course_site.DIGEST_FILE
    if not record.exists():
        pytest.fail("there is no built site: run `make book` first")
    if record.read_text("utf-8").strip() != course_site.digest(ROOT, course_site.USED_BY_SITE):
        pytest.fail("the site was built from other sources than these: run `make book` first")
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def interop_python(tmp_path_factory) -> str:
    """The Python of an environment that has TransformerLens and transformers.

    The one that COURSE_INTEROP_PYTHON names, else a fresh one, from benchmarks/requirements.txt.
    """
    if python := os.environ.get("COURSE_INTEROP_PYTHON"):
        return python
    folder = tmp_path_factory.mktemp("interop")
    venv.create(folder, with_pip=True)
    python = str(next(path for path in folder.glob("*/python*") if path.stem == "python"))
    install = [python, "-m", "pip", "install", "-q", "-r", ROOT / "benchmarks/requirements.txt"]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    return python


# --- the report of `make test-release` ---
# It is given with "=": a file of that name would else be taken for the tests to run, and this conftest not be read.


def pytest_addoption(parser):
    parser.addoption("--keep-outputs", action="store_true", help="keep what nbval has run for the build of the site")
    parser.addoption("--release-report", metavar="FILE", help="write outcome and duration of each test to this file")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # its last line stands below what pytest lists
def pytest_terminal_summary(terminalreporter, exitstatus, config):
    yield
    if target := config.getoption("--release-report"):
        _write_report(ROOT / target, terminalreporter, exitstatus, config)
    if exitstatus:
        _say_if_the_public_model_is_missing(terminalreporter)


def _say_if_the_public_model_is_missing(terminalreporter):
    """One line under all that fails without it."""
    from course_utils import doctor  # here, because it imports torch

    found = doctor.public_model()
    if not found.good:
        terminalreporter.line(f"This may be why: {found.says}. Remedy: {found.remedy}", red=True)


def _write_report(path: Path, terminalreporter, exitstatus, config):
    rows = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            # A test may tell a number with record_property("measured", "…").
            properties = getattr(report, "user_properties", [])  # a file that could not be collected has none
            told = "; ".join(str(value) for name, value in properties if name == "measured")
            if outcome == "skipped":
                told = str(report.longrepr[2]).removeprefix("Skipped: ")
            seconds = getattr(report, "duration", 0)
            rows.append(f"| `{report.nodeid}` | {outcome} | {seconds:.1f} | {told.replace('|', '/')} |")
    lines = [
        "# Results of the long tests",
        "",
        "Written by `make test-release`.",
        "",
        f"* Command: `{shlex.join(['pytest', *config.invocation_params.args])}`",
        f"* Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"* Machine: {_machine()}",
        f"* Exit status: {int(exitstatus)}",
        "",
        "| test | outcome | seconds | measured or said |",
        "|---|---|---|---|",
        *sorted(rows),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _machine() -> str:
    import torch  # here, because only this report needs it

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpu}; "
        f"Python {platform.python_version()}, torch {torch.__version__} on {sys.platform}"
    )
