"""Can this machine run the course? `python -m course_utils doctor` says so in words."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement

from course_utils import checkpoints, corpus, smollm2
from course_utils.device import choose_device
from course_utils.errors import CourseError
from course_utils.machine import OLDEST, Finding, tell

ROOT = Path(__file__).resolve().parent.parent
MEMORY_GB, DISK_GB = 2.0, 1.0
KERNEL = "python3"  # which the chapters name
LEFT_OUT = ("llm", "llama-cpp-python")  # which the public model's package asks for, to run what is only read here
# What a kernel's Python is asked, where notebooks run.
ASKED = """
import importlib.util, json, sys
found = importlib.util.find_spec("course_utils")
print(json.dumps([sys.prefix, found and found.origin]))
"""


def examine() -> Iterator[Finding]:
    """One finding after the other: Python, packages, the notebooks' Python, memory, disk, accelerator, files, model."""
    version = platform.python_version()
    yield Finding(sys.version_info >= OLDEST, f"Python {version}", "install Python 3.11 to 3.14")
    yield from _packages()
    yield _kernel()
    memory = psutil.virtual_memory().available / 1e9
    remedy = (
        "close other programs: a chapter needs about 1 GB (with PyTorch's CUDA build up to 1.6 GB), "
        "one of the public model half a gigabyte more, the browser more"
    )
    yield Finding(memory >= MEMORY_GB, f"{memory:.1f} GB of free memory", remedy)
    disk = shutil.disk_usage(ROOT).free / 1e9
    yield Finding(
        disk >= DISK_GB, f"{disk:.1f} GB of free disk", f"free some: the site and its cache need {DISK_GB} GB"
    )
    try:
        yield Finding(True, f"Models run on {choose_device().reason}")
    except CourseError as error:
        yield Finding(False, f"Device: {error.what}: {error.rule}", error.remedy)
    yield from _files()
    yield public_model()


def _packages() -> Iterator[Finding]:
    try:
        lines = importlib.metadata.requires("course-utils") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            False,
            "The package course_utils is not installed",
            "run `python -m pip install --no-deps --no-build-isolation -e .`",
        )
        return
    wanted = [Requirement(line) for line in lines if "extra ==" not in line]
    wrong = []
    for requirement in wanted:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    says = (
        "; ".join(wrong) or f"{len(wanted)} packages in the versions that the course needs (torch {torch.__version__})"
    )
    yield Finding(not wrong, says, "run `python -m pip install -r requirements.txt`")


def _kernel() -> Finding:
    """The Python that runs the notebooks: a kernel of the same name may come first, and a copy import its original."""
    install = "run `python -m pip install -r requirements.txt`"
    try:
        from jupyter_client.manager import KernelManager

        manager = KernelManager(kernel_name=KERNEL)
        spec, python = manager.kernel_spec, manager.format_kernel_cmd()[0]
    except (ImportError, KeyError) as error:  # NoSuchKernel is a KeyError
        return Finding(False, f"Nothing runs notebooks here ({type(error).__name__}: {error})", install)
    book = ROOT / "book"
    try:
        answer = subprocess.run(
            [python, "-c", ASKED], cwd=book if book.exists() else None, env=os.environ | spec.env, timeout=60,
            capture_output=True, check=True,
        )  # fmt: skip
        prefix, package = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Finding(False, f"Notebooks run on {python}, which gives no answer ({error})", _forget(spec))
    if Path(prefix).resolve() != Path(sys.prefix).resolve():
        return Finding(False, f"Notebooks run on {python}, not on {sys.executable}, which was examined", _forget(spec))
    if not package:
        anew = "run `python -m pip install --no-deps --no-build-isolation -e .`"
        return Finding(False, f"Notebooks run on {python}, which finds no course_utils", anew)
    if Path(package).resolve().parent.parent != ROOT:
        says = f"Notebooks import {Path(package).parent}, not {ROOT / 'course_utils'}: this folder was moved or copied"
        return Finding(False, says, "run `make lab`, which makes the environment anew, or make it as README.md says")
    return Finding(True, f"Notebooks run on {python}")


def _forget(spec) -> str:
    return f"remove {spec.resource_dir}, or open the notebooks with `make lab`, or set JUPYTER_PREFER_ENV_PATH=1"


def _files() -> Iterator[Finding]:
    wanted = {corpus.DATA / name: entry["sha256"] for name, entry in corpus.manifest()["files"].items()}
    for name in (*checkpoints.SHIPPED, *checkpoints.LIVE.values(), *checkpoints.UNSEEN):
        card = checkpoints.WEIGHTS / f"{name}.json"
        digest = json.loads(card.read_text("utf-8"))["sha256"] if card.exists() else "its card is missing"
        wanted[checkpoints.WEIGHTS / f"{name}.safetensors"] = digest
    wrong = []
    for path, digest in wanted.items():
        if not path.exists():
            wrong.append(f"{path.name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"{path.name} is damaged (its SHA-256 is not the recorded one)")
    says = "; ".join(wrong) or f"{len(wanted)} shipped files, whole: texts, tokenizers, models"
    yield Finding(not wrong, says, "fetch the repository again (`git checkout -- course_utils`)")


def public_model() -> Finding:
    """The weights of a language model, which a package brings whose own requirements are left out on purpose."""
    try:
        file = smollm2.weights_file(check=True)
    except CourseError as error:
        return Finding(False, f"{error.what}: {error.rule}", error.remedy)
    says = f"{file.name}, whole: the public model ({file.stat().st_size / 1e6:.0f} MB)"
    return Finding(True, f"{says}. If `pip check` names {' and '.join(LEFT_OUT)}: they are left out on purpose")


def report() -> bool:
    """Print every finding with what to do about it; true if the course can run here."""
    return tell(list(examine()))
