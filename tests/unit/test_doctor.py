"""The doctor tells good from bad, and what to do."""

import shutil

import pytest

from course_utils import checkpoints, corpus, doctor
from course_utils.__main__ import main


def findings_about(word):
    return [finding for finding in doctor.examine() if word in finding.says]


def test_shipped_files_are_whole():
    (finding,) = findings_about("shipped files")
    assert finding.good


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
        ("PYTHON", (9, 0), "install Python"),
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


def test_the_table_of_licences_names_every_source():
    table = (corpus.DATA / "README.md").read_text("utf-8")
    from tools.build_corpus import SOURCES

    for source in SOURCES:
        assert f"| {source['name']} | {source['version']} |" in table and source["license"] in table
        assert (corpus.DATA / "licenses" / f"{source['name']}.txt").stat().st_size > 500
