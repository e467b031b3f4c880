"""The rules of the house that tools can hold: style, floors, versions, and what the repository must not say."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

MUST_NOT_NAME = re.compile(r"pypi\.(org|python)|python" + r"hosted\.org|registry\.npm" + r"js|/(?:work|tmp|root)/[a-z]")
MADE_ELSEWHERE = ("vendor", "_build", ".venv", "weights", "data")


def tool(name: str) -> str:
    """A command of this environment."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or pytest.fail(f"{name} is not installed")


def test_ruff_finds_nothing(root):
    result = subprocess.run([tool("ruff"), "check", "--no-cache", "."], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_python_is_formatted(root):
    command = [tool("ruff"), "format", "--check", "--no-cache", "--exclude=*.ipynb", "."]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_word_is_misspelt(root):
    """codespell, with the words that are meant so in pyproject.toml."""
    endings = (".md", ".py", ".ipynb", ".js", ".bib", ".cff", ".yml", ".toml")
    made = {"vendor", "_build", "dist", ".venv", "weights", "data"}
    files = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.suffix in endings]
    files = [str(path) for path in files if not made & set(path.parts) and path.parts[0][0] != "."]
    assert len(files) > 100
    result = subprocess.run([tool("codespell"), *files], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_scripts_are_formatted_and_lint_free(root):
    if not (biome := shutil.which("biome", path=str(Path(sys.executable).parent))):
        pytest.skip("biome is installed on Linux with x86-64 only (requirements.txt)")
    result = subprocess.run([biome, "ci", "--colors=off"], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_floors_import_only_downwards(root):
    result = subprocess.run([tool("lint-imports"), "--no-cache"], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_readme_shows_the_floors_that_are_held(root):
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    held = [set(re.findall(r"\w+", layer)) for layer in settings["contracts"][-1]["layers"]]
    listing = (root / "README.md").read_text("utf-8").split("## What is where")[1].split("```")[1]
    floors = re.findall(r"^  floor (\d) +((?:.+\n)(?:   +\S.*\n)*)", listing, re.M)
    assert [int(number) for number, _ in floors] == list(range(len(held)))[::-1]
    assert [set(re.findall(r"(\w+)(?:\.py|/)(?=\s)", text)) for _, text in floors] == held


def test_each_pin_is_used_or_needed_by_one_that_is(root):
    """Used: some file of the project has its name, or that of its module or command; or it is a plug-in of pytest."""
    above, below = (root / "requirements.txt").read_text("utf-8").split("# What came with them.")
    chosen, came = ([Requirement(line) for line in part.splitlines() if line[:1].isalnum()] for part in (above, below))
    files = [root / "Makefile", *root.glob("*.toml"), *root.glob("*.yml")]
    for folder in ("benchmarks", "book/_assets/sphinx_ext", "course_utils", "tests", "tools"):
        files += (root / folder).rglob("*.py")
    words = set(re.findall(r"[\w-]+", "\n".join(path.read_text("utf-8") for path in files)))
    modules = metadata.packages_distributions()
    waiting, needed = [], set()
    for pin in chosen:
        if pin.marker is None or pin.marker.evaluate():
            package = metadata.distribution(pin.name)
            names = {pin.name, *(module for module, makers in modules.items() if package.name in makers)}
            names |= {path.stem for path in package.files if path.parent.name in ("bin", "Scripts")}
            if names & words or package.entry_points.select(group="pytest11"):
                waiting.append(pin)
    while waiting:
        wanted = waiting.pop()
        if (canonicalize_name(wanted.name), *wanted.extras) in needed:
            continue
        needed.add((canonicalize_name(wanted.name), *wanted.extras))
        for further in map(Requirement, metadata.requires(wanted.name) or []):
            extras = wanted.extras | {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    pinned = {canonicalize_name(pin.name) for pin in chosen + came if pin.marker is None or pin.marker.evaluate()}
    assert pinned - {name for name, *_ in needed} == set()


def test_long_files_begin_first_and_cells_have_the_limit_of_the_site(request, root):
    settings = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    assert request.config.option.nbval_cell_timeout == settings["execute"]["timeout"]
    shared = request.config.pluginmanager.get_plugin(str(root / "tests/conftest.py"))
    assert all(list(root.glob(f"{start}*")) for start in shared.LONG)
    names = ["tests/unit/test_model.py", "book/01_a.ipynb", "tests/browser/test_a.py", "book/10_a.ipynb"]
    items = [SimpleNamespace(path=root / name) for name in names]
    shared.pytest_collection_modifyitems(items)
    assert [item.path for item in items] == [root / name for name in names[::-1]]


def test_what_was_tested_lies_in_the_ranges_that_are_promised(root):
    lines = (root / "requirements.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    tested = {pin.name.lower(): Version(next(iter(pin.specifier)).version) for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins), "requirements.txt holds exact versions"
    ranges = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    for wanted in map(Requirement, ranges):
        assert tested[wanted.name.lower()] in wanted.specifier, wanted


def test_no_file_names_a_registry_host_or_a_path_of_one_machine(root):
    suffixes = {".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".js", ".css", ".html", ".json", ".bib", ""}
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = [part for part in parts if part.startswith(".") and part != ".ci"]
        if path.is_file() and path.suffix in suffixes and not hidden and not set(parts) & set(MADE_ELSEWHERE):
            text = path.read_text("utf-8", errors="replace")
            found += [f"{path.relative_to(root)}: {match[0]}" for match in MUST_NOT_NAME.finditer(text)]
    assert found == []
