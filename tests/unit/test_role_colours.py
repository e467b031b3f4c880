"""A head's role has one colour, in still figures, in figures that answer, and in the chapter that tells of both."""

import colorsys
import re

import nbformat

from course_utils import plots, roles
from course_utils.figures import HERE
from tools import notebooks

THEME = (HERE / "theme.css").read_text("utf-8")


def hue(colour: str) -> float:
    return colorsys.rgb_to_hsv(*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)))[0]


def of_theme(name: str) -> str:
    """The first value of a variable, which may name another: that of the light page."""
    value = re.search(rf"--ex-{name}: ([^;]+);", THEME)[1]
    other = re.fullmatch(r"var\(--ex-(\w+)\)", value)
    return of_theme(other[1]) if other else value


def test_each_role_has_a_colour_and_the_same_in_both_kinds_of_figure():
    assert set(plots.ROLE_COLOURS) == set(roles.LEAST)
    for role, colour in plots.ROLE_COLOURS.items():
        assert abs(hue(colour) - hue(of_theme(role))) < 0.04, role
    assert len({round(hue(colour), 1) for colour in plots.ROLE_COLOURS.values()}) == len(plots.ROLE_COLOURS)


def test_figures_of_both_heads_take_the_colours_by_role():
    at_work, formation = ((HERE / f"{name}.css").read_text("utf-8") for name in ("induction_at_work", "formation"))
    for rule in re.findall(r"[^{}]*\.ex-look\b[^{}]*\{[^{}]*var\(--ex-[^{}]*\}", at_work):
        assert "var(--ex-induction)" in rule
    for rule in re.findall(r"[^{}]*\.ex-carried\b[^{}]*\{[^{}]*var\(--ex-[^{}]*\}", at_work):
        assert "var(--ex-previous)" in rule
    assert "--line: var(--ex-induction)" in formation and "--line: var(--ex-previous)" in formation


def test_the_chapter_on_induction_heads_names_no_colour_that_a_role_has():
    [chapter] = [path for path in notebooks.chapters() if path.stem.endswith("_induction_heads")]
    code = [cell.source for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == "code"]
    hues = ("BLUE", "ORANGE", "GREEN", "PURPLE", "SKY", "RED")
    names = [name for name in hues if getattr(plots, name) in plots.ROLE_COLOURS.values()]
    drawn = [source for source in code if "def loss_without" not in source]  # with and without, no roles
    assert not re.search(rf"plots\.({'|'.join(names)})\b", "\n".join(drawn))
    assert sum("ROLE_COLOURS" in source for source in code) >= 2
