"""Grading: what a submission does costs its own row, and no submission makes its own verdict."""

import csv
import io
import json
import os
import random
import socket
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch

from course_utils import grading
from course_utils.__main__ import main
from course_utils.checks.base import small_model
from course_utils.config import ModelConfig, TransformerConfig
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.grading import confine, judge, wire
from course_utils.grading.answer import load
from course_utils.grading.judge import checkers
from course_utils.transformer import Transformer
from tools import notebooks

IMPORTS = "import torch\nfrom course_utils.checks import ch12 as check"
RIGHT = """def mates(head, n_heads, n_key_heads):
    size = n_heads // n_key_heads
    return list(range(head // size * size, (head // size + 1) * size))
"""
# Each would like to pass and has no right answer; what its row has to say.
HOSTILE = {
    "overwrites the checker": (
        """from course_utils.checks import base, ch12
ch12.mates = lambda answer: base.Outcome("Exercise 12.1", "passed")
base.require = base.require_close = lambda *a, **k: None
def mates(*sizes):
    import sys
    for module in list(sys.modules.values()):
        if hasattr(module, "require"):
            module.require = lambda *a, **k: None
    return []""",
        "failed",
        "The mates of head",
    ),
    "looks up the stack": (
        """import sys
def mates(*sizes):
    frame = sys._getframe()
    while frame := frame.f_back:
        frame.f_globals.update(require=lambda *a: None, returned="passed")
    return []""",
        "failed",
        "The mates of head",
    ),
    "prints a pass": (
        """import os
def mates(*sizes):
    print('["passed", ""]', flush=True)
    for number in range(3, 20):
        try:
            os.write(number, b'["passed", ""]')
        except OSError:
            pass
    return []""",
        "stopped",
        "no answer",
    ),
    "equals everything": (
        """class Any(list):
    def __eq__(self, other):
        return True
def mates(*sizes):
    return Any([99])""",
        "failed",
        "The mates of head",
    ),
    "exits": ("import os\ndef mates(*sizes):\n    os._exit(0)", "stopped", "it ended Python"),
    "raises SystemExit": ("import sys\ndef mates(*sizes):\n    sys.exit(0)", "stopped", ""),
    "never ends": ("def mates(*sizes):\n    while True:\n        pass", "stopped", "no answer within"),
    "swallows everything": (
        """def mates(*sizes):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass""",
        "stopped",
        "no answer within",
    ),
    "takes all memory": (
        "def mates(*sizes):\n    kept = []\n    while True:\n        kept.append(bytearray(1 << 28))",
        "failed",
        "MemoryError",
    ),
    "answers with a bomb": ("def mates(*sizes):\n    return 'a' * (300 << 20)", "stopped", ""),
    "starts thousands": (
        """import os, time
def mates(*sizes):
    for number in range(300):
        if not os.fork():
            time.sleep(60)
    return []""",
        "failed",
        "Your code raised PermissionError",
    ),
    "starts a program": (
        """import subprocess, sys
def mates(*sizes):
    subprocess.run([sys.executable, "-c", "pass"])
    return []""",
        "failed",
        "Your code raised PermissionError",
    ),
    "calls home": (
        """import socket
def mates(*sizes):
    socket.create_connection(("127.0.0.1", PORT), timeout=5)
    return []""",
        "failed",
        "Your code raised OSError",
    ),
    "writes the table": (
        """def mates(*sizes):
    open(TABLE, "w").write("learner,passed")
    return []""",
        "failed",
        "Read-only file system",
    ),
}

here = pytest.mark.skipif(not grading.can_confine(), reason="this machine lets its users confine no process")


def submit(folder, learner, *sources, name="12_a_model_people_use.ipynb"):
    """A learner's notebook of these cells."""
    (folder / learner).mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / learner / name)


def only(monkeypatch, *exercises):
    """Grade only these exercises of a chapter."""
    monkeypatch.setattr(grading, "checkers", lambda chapter: dict.fromkeys(exercises))


SHORT = ("overwrites the checker", "prints a pass", "writes the table", "never ends")
LONG = tuple(case for case in HOSTILE if case not in SHORT)


@here
@pytest.mark.parametrize("cases", [SHORT, pytest.param(LONG, marks=pytest.mark.release)], ids=["some", "the others"])
def test_hostile_notebooks_get_no_pass_and_cost_their_own_rows(cases, tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    table.write_text("mine")
    only(monkeypatch, "Exercise 12.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        for case in cases:
            source = HOSTILE[case][0].replace("PORT", str(server.getsockname()[1])).replace("TABLE", repr(str(table)))
            submit(tmp_path / "in", case, IMPORTS, source, "check.mates(mates)")
        submit(tmp_path / "in", "fay", IMPORTS, RIGHT)
        rows = {row.learner: row for row in grading.grade(tmp_path / "in", seconds=10, memory=1)}
    assert set(rows) == {*cases, "fay"} and rows["fay"].verdict == "passed" and table.read_text() == "mine"
    for case in cases:
        _, verdict, words = HOSTILE[case]
        assert rows[case].verdict == verdict and words in rows[case].message, rows[case]


@here
def test_every_verdict_has_its_row(tmp_path, monkeypatch, capsys):
    submit(tmp_path, "anna", IMPORTS, RIGHT, "def score_at(q, k, distance, base):\n    raise NotImplementedError")
    submit(tmp_path, "=bob", IMPORTS, "%magic", "x = unfinished(", RIGHT.replace("size = ", "size = 1 + "))
    submit(tmp_path, "cy", "print(1)")
    (tmp_path / "dee.ipynb").write_text("{" * 5000)
    only(monkeypatch, "Exercise 12.1", "Exercise 12.2")
    assert main(["grade", str(tmp_path), "--csv"]) == 0
    written = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [(row["learner"], row["exercise"][-4:], row["verdict"]) for row in rows] == [
        ("'=bob", "12.1", "failed"), ("'=bob", "12.2", "missing"),
        ("anna", "12.1", "passed"), ("anna", "12.2", "not attempted"),
        ("cy", "", "unreadable"), ("dee", "", "unreadable"),
    ]  # fmt: skip


@here
def test_a_class_notebook_has_a_row_for_each_of_its_exercises(tmp_path):
    """It has some exercises of several chapters, which use the same names: each is judged by what stands above it."""
    first = RIGHT.replace("n_heads // n_key_heads", "groups(n_heads, n_key_heads)")
    first = "def groups(a, b):\n    return a // b\n\n\n" + first
    second = [IMPORTS.replace("ch12", "ch04"), "def from_tables(scores, OV, tokens):\n    raise NotImplementedError"]
    submit(tmp_path, "anna", IMPORTS, first, "check.mates(mates)", "def groups(a, b):\n    return 0", *second)
    assert [(row.exercise, row.verdict) for row in grading.grade(tmp_path)] == [
        ("Exercise 12.1", "passed"), ("Exercise 4.1", "not attempted"),
    ]  # fmt: skip


def test_what_does_not_travel_is_left_to_the_teacher():
    answer = object.__new__(judge.Answer)
    with pytest.raises(judge.ByHand, match="a Random and watches it"):
        answer.call("f", 1, random.Random(0))


def test_where_nothing_can_be_taken_away_it_refuses_unless_trusted(tmp_path, monkeypatch):
    submit(tmp_path, "anna", IMPORTS, RIGHT)
    only(monkeypatch, "Exercise 12.1")
    monkeypatch.setattr(confine, "UNSHARE", ("no-such-program",))
    with pytest.raises(CourseError, match="--trust"):
        grading.grade(tmp_path)
    (row,) = grading.grade(tmp_path, trust=True)
    assert row.verdict == "passed"


def test_a_folder_without_submissions_is_told(tmp_path):
    with pytest.raises(CourseError, match="no notebook"):
        grading.grade(tmp_path)
    with pytest.raises(CourseError, match="no such folder"):
        grading.grade(tmp_path / "nowhere")


def test_of_a_notebook_only_definitions_run():
    cells = [
        "import math\nWIDTH = 3\nprint(1 / 0)",
        "def aid(x):\n    return WIDTH * x",
        "1 / 0",
        "def f(x): return aid(x)",
    ]
    names = load([*cells, "g = lambda x: 2 * x"], ["g"])
    assert names["f"](2) == 6 and names["g"](2) == 4
    assert load(["big = list(range(3))\nf = len"], ["f"])["big"] == [0, 1, 2], "all of the answer's own cell"
    assert "big" not in load(["big = list(range(3))", "def f(): pass"], ["f"])


def test_chapters_call_the_checkers_as_grading_does():
    for path in notebooks.chapters():
        cells = nbformat.read(path, as_version=4).cells
        calls = [cell.source for cell in cells if "check" in cell.metadata.get("tags", [])]
        if calls:
            (chapter,) = {found[1] for cell in cells if (found := grading.CHAPTER.search(cell.source))}
            known = checkers(chapter).values()
            assert calls == [f"check.{each.__name__}({', '.join(each.answers)})" for each in known], path.name


# --- what passes between the two processes ---

MODEL = small_model(ModelConfig(n_layers=2, n_heads=2, d_model=6, d_head=3, d_vocab=5, n_ctx=4), 0)
OTHER = Transformer(
    TransformerConfig(n_layers=1, n_heads=2, d_model=6, d_head=4, d_vocab=5, n_ctx=4, norm="rms", positions="rotary")
).double()


def through(value):
    return wire.unpack(json.loads(json.dumps(wire.pack(value))))


@pytest.mark.parametrize(
    "value", [None, True, 3, -0.5, "ä", 1j, [1, [2.5]], (1, ("a",)), {"a": (1, 2), 3: None}, float("inf")], ids=repr
)
def test_plain_values_travel(value):
    assert through(value) == value and type(through(value)) is type(value)


def test_tensors_matrices_and_models_travel():
    for tensor in (torch.randn(2, 3).T, torch.tensor(True), torch.zeros(0, 3), torch.tensor([1 + 2j]).conj()):
        assert torch.equal(through(tensor), tensor) and through(tensor).dtype == tensor.dtype
    array = np.arange(6.0).reshape(2, 3).T
    assert np.array_equal(through(array), array) and through(np.float64(0.5)) == 0.5
    matrix = FactoredMatrix(torch.randn(4, 2), torch.randn(2, 5))
    assert torch.equal(through(matrix).AB, matrix.AB)
    tokens = torch.tensor([[0, 1, 2]])
    for model in (MODEL, OTHER):
        assert through(model).cfg == model.cfg and torch.equal(through(model)(tokens), model(tokens))
    assert repr(through(print)) == "<builtin_function_or_method>"


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"kind": "pickle", "of": "x"},
        {"kind": "tensor", "type": "float32", "shape": [10**12], "raw": "AAAA"},
        {"kind": "tensor", "type": "object", "shape": [], "raw": ""},
        {"kind": "ModelConfig", "of": {"n_layers": -1}},
        {"kind": "model", "cfg": {"kind": "ModelConfig", "of": {"d_vocab": 10**9}}, "state": {}},
        {"kind": "model", "cfg": 3, "state": {}},
        {"kind": "dict", "of": [[[], 1]]},
        {"kind": "complex", "of": ["import os"]},
    ],
    ids=lambda packed: str(packed)[:50],
)
def test_what_is_no_value_is_refused(packed):
    with pytest.raises(wire.Garbled):
        wire.unpack(packed)


def test_frames_that_are_none_are_refused():
    for raw in (b"\xff" * 8, (5).to_bytes(8, "big") + b"{{{{{", (200_000).to_bytes(8, "big") + b"[" * 200_000):
        with pytest.raises(wire.Garbled):
            wire.receive(io.BytesIO(raw))
    for raw in (b"", b"12", (9).to_bytes(8, "big") + b"{}"):
        with pytest.raises(EOFError):
            wire.receive(io.BytesIO(raw))


def test_a_checker_sees_what_an_answer_did_to_its_arguments():
    mine = [torch.zeros(2), [1, 2], np.zeros(2), small_model(MODEL.cfg, 1)]
    theirs = [torch.ones(2), [3], np.ones(2), MODEL]
    wire.copy_back(mine, theirs)
    assert mine[0].tolist() == [1, 1] and mine[1] == [3] and mine[2].tolist() == [1, 1]
    assert torch.equal(mine[3].W_E, MODEL.W_E)
    wire.copy_back(mine, [torch.ones(3), None, np.ones(3), "nothing"])
    assert mine[0].tolist() == [1, 1]


@pytest.mark.release
@here
def test_the_solutions_of_all_chapters_pass_and_their_stubs_do_not(tmp_path):
    for path in notebooks.chapters():
        notebook = nbformat.read(path, as_version=4)
        stubs = [cell.source for cell in notebook.cells if "solution" not in cell.metadata.get("tags", [])]
        submit(tmp_path, "stubs", *stubs, name=path.name)
        for cell in notebook.cells:
            if "solution" in cell.metadata.get("tags", []):
                cell.source = cell.source.replace("solution_", "")
            cell.metadata.pop("tags", None)
        (tmp_path / "solved").mkdir(exist_ok=True)
        nbformat.write(notebook, tmp_path / "solved" / path.name)
    rows = [row for row in grading.grade(tmp_path) if row.verdict != "unreadable"]
    solved = [row for row in rows if row.learner == "solved"]
    by_hand = {"Exercise 2.5", "Exercise F.4"}  # their checkers watch what is done with an object of their own
    assert len(solved) >= 40 and {row.exercise for row in solved if row.verdict != "passed"} == by_hand, solved
    assert {row.verdict for row in rows if row.exercise in by_hand} == {"by hand"}
    stubs = [row for row in rows if row.learner == "stubs" and row.exercise not in by_hand]
    assert {row.verdict for row in stubs} == {"not attempted"}


def test_it_works_without_a_checkout(tmp_path, root):
    """As in a wheel, beside which there is no tools/ and no book/."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/course_utils").symlink_to(root / "course_utils")
    submit(tmp_path / "submitted", "anna", "import torch")
    command = [sys.executable, "-m", "course_utils", "grade", str(tmp_path / "submitted"), "--trust"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "unreadable" in done.stdout, done.stderr
