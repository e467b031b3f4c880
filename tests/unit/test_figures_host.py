"""The host of the figures: modules joined with their kit, packed numbers, widgets, plain tables."""

import base64
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hostile import HOSTILE

from course_utils import figures
from course_utils.errors import CourseError
from course_utils.figures import host, induction_at_work_figure
from course_utils.figures.host import code, packed, table

STILL = ("__init__", "host", "shaded", "token_rows")  # what needs no script
FIGURES = sorted(path.stem for path in figures.HERE.glob("*.py") if path.stem not in STILL)
STEP = {"at": 1, "look": [[0, 0.5]], "carried": [], "copied": "a", "right": True, "caption": "One."}


@pytest.fixture
def figure():
    return induction_at_work_figure(["a", "b"], [STEP])


def test_every_figure_has_its_three_files():
    assert len(FIGURES) >= 2
    for name in FIGURES:
        made_by = name if name in ("quiz", "induction_lab") else f"{name}_figure"  # no module has a figure's name
        assert callable(getattr(figures, made_by)) and made_by in figures.__all__
        for suffix in (".js", ".css"):
            assert (figures.HERE / f"{name}{suffix}").exists(), (name, suffix)


@pytest.mark.parametrize("name", FIGURES)
def test_a_module_stands_alone_and_carries_at_most_30_kilobytes(name):
    figure = figures.Explorable(name, {}, "")
    assert not re.search(r"^import\b", figure.module, re.M), "nothing is left to import"
    assert len(re.findall(r"^export\b", figure.module, re.M)) == 2 and "export default { render };" in figure.module
    # The lab is a page of its own, with a model and a tokenizer; its views open what was trained in the page; a
    # prediction asks and answers, in four kinds.
    limit = {"induction_lab": 53_000, "train_in_page": 70_000, "predict": 36_000}.get(name, 30_000)
    assert len(figure._repr_html_().encode()) <= limit


def unpacked(value: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(value["data"]), dtype=f"<u{value['bits'] // 8}")
    spread = value["high"] - value["low"]
    return (value["low"] + spread * steps / (2 ** value["bits"] - 1)).reshape(value["shape"])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("values", [[[0.0, 1.0], [0.25, -3.5]], [7.0], np.linspace(-2, 5, 60).reshape(3, 4, 5)])
def test_packed_numbers_are_off_by_half_a_step_at_most(values, bits):
    value = packed(values, bits)
    step = (np.max(values) - np.min(values)) / (2**bits - 1)
    np.testing.assert_allclose(unpacked(value), values, atol=step / 2 + 1e-12)


@pytest.mark.parametrize(
    ("values", "bits", "words"),
    [([1.0], 4, "bits is 4"), ([np.nan], 8, "finite"), ([np.inf, 0], 16, "finite"), ([], 8, "[0]")],
)
def test_what_cannot_be_packed_is_named(values, bits, words):
    with pytest.raises(CourseError, match=re.escape(words)):
        packed(values, bits)


def test_a_widget_is_the_same_figure_and_python_hears_it(figure):
    widget, heard = figure.widget(), []
    assert widget._esm == figure.module and ".course-explorable" in widget._css
    assert {key: getattr(widget, key) for key in figure.data} == figure.data
    widget.observe(lambda change: heard.append(change["new"]), "step")
    widget.set_state({"step": 1})  # as a message from the page does
    assert heard == [1] and " at 0x" not in repr(widget)


@pytest.mark.parametrize("hostile", [text for text in HOSTILE if text.strip()], ids=ascii)
def test_code_is_text(hostile):
    soup = BeautifulSoup(code(hostile), "html.parser")
    assert [tag.name for tag in soup.find_all()] == ["code"] and soup.get_text() == hostile


def test_a_table_names_rows_and_columns():
    soup = BeautifulSoup(table(["a", "b"], [["1", code("<x>")], ["2", "y"]], "Numbers"), "html.parser")
    assert soup.caption.get_text() == "Numbers"
    assert [cell.get_text() for cell in soup.select("th[scope=col]")] == ["a", "b"]
    assert [cell.get_text() for cell in soup.select("th[scope=row]")] == ["1", "2"]
    assert [cell.get_text() for cell in soup.select("td")] == ["<x>", "y"]


def test_the_kit_has_no_part_that_nobody_uses():
    kit = (figures.HERE / "kit.js").read_text("utf-8")
    others = "".join(path.read_text("utf-8") for path in figures.HERE.rglob("*.js") if path.name != "kit.js")
    names = re.findall(r"^export (?:const|function) (\w+)", kit, re.M)
    assert len(names) >= 10 and [name for name in names if not re.search(rf"\b{name}\b", others)] == []
    assert host.IMPORT.search(others)
