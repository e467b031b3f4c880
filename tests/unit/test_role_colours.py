"""A head's role has one colour, in still figures, in figures that answer, and in the chapter that tells of both."""

import re

import nbformat
import pytest

from course_utils import colours, plots, roles
from course_utils.figures import HERE
from tools import notebooks


def of_style(name: str, page: int) -> str:
    """The value of a variable on a light (0) or a dark page (1)."""
    own = f"--ex-{name}: " in colours.style()
    values = re.findall(rf"--ex-{name if own else colours.ROLES[name]}: ([^;]+);", colours.style())
    other = re.fullmatch(r"var\(--ex-(\w+)\)", values[0])
    return of_style(other[1], page) if other else values[page]


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    parts = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_each_role_has_a_colour_and_the_same_in_both_kinds_of_figure():
    assert set(plots.ROLE_COLOURS) == set(roles.LEAST) < set(colours.ROLES)
    drawn = plots.ROLE_COLOURS | plots.KIND_COLOURS | plots.MODEL_COLOURS
    assert {role: of_style(role, 0) for role in drawn} == drawn
    assert len(set(plots.ROLE_COLOURS.values())) == len(plots.ROLE_COLOURS)
    assert len(set(plots.KIND_COLOURS.values())) == len(set(plots.MODEL_COLOURS.values())) == 3


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_what_is_drawn_stands_out_on_light_and_on_dark_pages(page):
    ground = of_style("ground", page)
    for role in filter(None, colours.ROLES):
        assert contrast(of_style(role, page), ground) >= 3, role
    assert contrast(of_style("ink", page), ground) >= 7


def test_a_colour_of_a_picture_becomes_a_variable_and_a_grey_ink_on_the_ground():
    assert colours.variable("#D55E00") == "var(--ex-orange)"
    assert colours.variable("#000000") == "var(--ex-ink)"
    assert colours.variable("#ffffff") == "var(--ex-ground)"
    assert colours.variable("#e5e5e5") == "color-mix(in srgb,var(--ex-ink) 12%,var(--ex-ground))"
    assert colours.variable("#123456") is None


def test_a_ramp_begins_at_the_pages_own_ground():
    for name, shades in plots.RAMPS.items():
        opaque = [shades(step)[3] for step in (0.0, 0.5, 1.0)]
        assert opaque[2] == 1 and opaque[1 if name == plots.DIVERGING else 0] < 0.01, name


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
