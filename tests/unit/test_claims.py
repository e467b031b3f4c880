"""Claims compare a fresh number with the recorded one."""

import json
import os

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from course_utils import claims
from course_utils.claims import claim
from course_utils.errors import CourseError
from tools.results import run_chapters

RECORDED = {
    "02.loss": {"chapter": "02", "value": 4.25, "tolerance": 0.5, "paper": None, "says": "The loss."},
    "02.counts": {"chapter": "02", "value": [3, 4], "tolerance": 0, "paper": None, "says": "Two counts."},
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"claims": RECORDED}))
    monkeypatch.setattr(claims, "RESULTS", path)
    monkeypatch.delenv(claims.UPDATE, raising=False)
    return path


@pytest.mark.parametrize("value", [4.25, 4.75, 3.75, np.float32(4.5), torch.tensor(4.0), np.float64(4)])
def test_a_value_within_the_tolerance_is_returned_as_a_plain_number(results, value):
    got = claim("02.loss", value, tolerance=0.5, says="The loss.")
    assert type(got) is float and got == float(value)


@pytest.mark.parametrize("value", [4.7501, 3.7499, 9.0, -4.25])
def test_a_value_beyond_the_tolerance_is_refused(results, value):
    with pytest.raises(CourseError) as caught:
        claim("02.loss", value, tolerance=0.5, says="The loss.")
    message = str(caught.value)
    assert "02.loss" in message and str(value) in message and "4.25 ± 0.5" in message and "Remedy:" in message


def test_lists_are_compared_entry_by_entry(results):
    assert claim("02.counts", torch.tensor([3, 4]), tolerance=0, says="Two counts.") == [3, 4]
    with pytest.raises(CourseError, match=r"\[3, 5\]"):
        claim("02.counts", [3, 5], tolerance=0, says="Two counts.")


@pytest.mark.parametrize("value", [3, [3], [[3, 4]], [3, 4, 5]])
def test_another_shape_is_refused(results, value):
    with pytest.raises(CourseError, match="another shape.*Remedy:"):
        claim("02.counts", value, tolerance=10, says="Two counts.")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [3.0, -np.inf], torch.tensor(torch.nan)])
def test_what_is_not_finite_is_refused_also_while_recording(results, monkeypatch, value):
    for update in (False, True):
        if update:
            monkeypatch.setenv(claims.UPDATE, str(results))
        with pytest.raises(CourseError, match="finite.*Remedy:"):
            claim("02.loss", value, tolerance=np.inf, says="The loss.")


def test_a_claim_never_recorded_is_refused(results):
    with pytest.raises(CourseError, match="02.new.*not in book/results.json.*Remedy:"):
        claim("02.new", 1.0, tolerance=1, says="Something new.")


def test_comparing_never_writes(results):
    before = results.read_bytes()
    claim("02.loss", 4.4, tolerance=0.5, says="The loss.")
    with pytest.raises(CourseError):
        claim("02.loss", 5.4, tolerance=0.5, says="The loss.")
    assert results.read_bytes() == before


def test_recording_writes_to_the_file_named_and_only_there(results, monkeypatch, tmp_path):
    fresh, before = tmp_path / "fresh.json", results.read_bytes()
    monkeypatch.setenv(claims.UPDATE, str(fresh))
    assert claim("07.score", torch.tensor(0.123456789), tolerance=0.01, says="Ein Maß.", paper=0.68) == 0.123457
    assert claim("07.heads", np.array([1, 6]), tolerance=0, says="The heads.") == [1, 6]
    assert results.read_bytes() == before
    written = json.loads(fresh.read_text("utf-8"))["claims"]
    assert written["07.score"] == {
        "chapter": "07", "value": 0.123457, "tolerance": 0.01, "paper": 0.68, "says": "Ein Maß.",
    }  # fmt: skip
    assert list(written) == ["07.heads", "07.score"]  # in order, so that a change reads well
    monkeypatch.delenv(claims.UPDATE)
    monkeypatch.setattr(claims, "RESULTS", fresh)
    assert claim("07.score", 0.125, tolerance=0.01, says="Ein Maß.") == 0.125
    assert claims.load_results() == written


def test_a_chapter_without_results_finds_none(monkeypatch, tmp_path):
    monkeypatch.delenv(claims.UPDATE, raising=False)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "none.json")
    assert claims.load_results() == {}


def test_a_package_without_the_book_compares_nothing(tmp_path, monkeypatch):
    """A reader who installs the package and opens one notebook must not be stopped by numbers that aren't there."""
    monkeypatch.delenv(claims.UPDATE, raising=False)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "site-packages/book/results.json")
    assert claim("02.loss", 9.0, tolerance=0, says="The loss.") == 9.0
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results.json")  # a checkout that has lost the file
    with pytest.raises(CourseError, match="not in book/results.json"):
        claim("02.loss", 9.0, tolerance=0, says="The loss.")


def run_in_kernel(tmp_path, root, **variables):
    """What a kernel says of a claim that fails, and the next line; None if the claim stopped it."""
    source = (
        "from course_utils import claim\nx = claim('02.loss', 9.0, tolerance=0, says='A loss.')\nprint('on with', x)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    environment = {key: value for key, value in os.environ.items() if key not in (claims.STRICT, claims.UPDATE)}
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(root / "book")}})
    try:
        client.execute(env=environment | {"PYTHONPATH": str(root)} | variables)
    except CellExecutionError:
        return None
    return "".join(output.text for output in notebook.cells[0].outputs)


def test_a_reader_is_told_and_goes_on_and_a_build_stops(tmp_path, root, course_site):
    said = run_in_kernel(tmp_path, root)
    assert "Nothing is wrong with you" in said and "number is 9.0" in said and said.endswith("on with 9.0\n")
    assert run_in_kernel(tmp_path, root, **course_site.KERNELS) is None, "as the build and its cache run chapters"
    assert run_in_kernel(tmp_path, root, COURSE_CLAIMS=os.environ[claims.STRICT]) is None, "as nbval does in the tests"


@pytest.fixture
def chapters(tmp_path):
    """A chapter that claims what was recorded, one that claims something else, one that ends its kernel."""
    claims_loss = "from course_utils import claim\nclaim('02.loss', {}, tolerance=0.5, says='The loss.');"
    sources = [claims_loss.format(4.3), claims_loss.format(9.0), "import os\nos._exit(1)"]
    paths = [tmp_path / f"0{number}.ipynb" for number in range(len(sources))]
    for path, source in zip(paths, sources, strict=True):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    return paths


def test_chapters_are_run_and_their_numbers_recorded(results, chapters, capsys):
    assert run_chapters(True, chapters[:2])
    assert "02.loss: 4.25 → 9.0" in capsys.readouterr().out
    assert {key: entry["value"] for key, entry in claims.load_results().items()} == {"02.loss": 9.0}


def test_chapters_that_fail_are_named(results, chapters, monkeypatch, tmp_path, capsys):
    """By the environment's own programs: another Jupyter on the path is none of ours."""
    other = tmp_path / "bin/jupyter-execute"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 0\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent), prepend=os.pathsep)
    before = results.read_bytes()
    assert not run_chapters(True, chapters[1:])
    assert "failed: 02.ipynb" in capsys.readouterr().out and results.read_bytes() == before
