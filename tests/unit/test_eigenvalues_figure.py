"""Eigenvalues in the complex plane: the figure's data and its plain version."""

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from figure_checks import refused, same_and_small
from hostile import HOSTILE

from course_utils.factored import FactoredMatrix
from course_utils.figures import eigenvalues_figure, visible
from course_utils.figures.eigenvalues import number

N, RANK = 40, 6


def circuit(seed: int, n: int = N, rank: int = RANK) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    return FactoredMatrix(*(torch.randn(*shape, generator=generator).double() for shape in ((n, rank), (rank, n))))


NAMES = [f"t{i}" for i in range(N)]
TRAINED = {"a": circuit(0), "b": circuit(1)}
ZERO = FactoredMatrix(torch.zeros(N, 2).double(), torch.zeros(2, N).double())
RANDOM = {"a": circuit(2), "b": circuit(3)}


def figure(**changed):
    return eigenvalues_figure(**({"trained": TRAINED, "random": RANDOM, "names": NAMES} | changed))


@pytest.mark.parametrize("kind", ["trained", "random"])
@pytest.mark.parametrize("head", [0, 1])
def test_eigenvalues_and_tokens_are_those_of_the_whole_table(head, kind):
    """Against numpy's eigenvectors of the table multiplied out, N × N."""
    data = figure().data
    table = {"trained": TRAINED, "random": RANDOM}[kind]["ab"[head]].AB.numpy()
    values, columns = np.linalg.eig(table.T)
    order = np.argsort(-np.abs(values))[:RANK]
    values, columns = values[order], columns[:, order]
    kept = [i for i in range(RANK) if values[i].imag > -1e-9]
    shown = data["heads"][head][kind]
    assert len(shown["values"]) == len(kept)
    assert shown["positivity"] == pytest.approx(values.sum().real / np.abs(values).sum(), abs=0.006)
    for (real, imaginary, tokens), i in zip(shown["values"], kept, strict=True):
        assert complex(real, imaginary) == pytest.approx(values[i], abs=0.006 * abs(values[i]))
        best = np.argsort(-np.abs(columns[:, i]))[:8]
        assert [data["names"][token] for token in tokens[::3]] == [NAMES[j] for j in best]
        turned = columns[best, i] / columns[best[0], i]
        np.testing.assert_allclose(tokens[1::3], 100 * np.abs(turned), atol=0.51)
        apart = (np.array(tokens[2::3]) - np.degrees(np.angle(turned)) + 180) % 360 - 180
        assert np.abs(apart).max() <= 0.51
        assert imaginary or set(tokens[2::3]) <= {0, 180}


def test_the_first_head_may_be_chosen():
    assert figure().data["first"] == 0 and figure(first="b").data["first"] == 1


def test_numbers_in_words():
    assert [number(12.4, 0), number(-3.456, 0), number(1.5, 20.2)] == ["12", "\N{MINUS SIGN}3.46", "2 ± 20 i"]


def test_the_plain_version_has_the_largest_of_each_head():
    made = figure()
    rows = BeautifulSoup(made.plain, "html.parser").select("tbody tr")
    wanted = [(each["head"], value) for each in made.data["heads"] for value in each["trained"]["values"][:3]]
    assert len(rows) == len(wanted)
    for row, (head, (real, imaginary, tokens)) in zip(rows, wanted, strict=True):
        cells = [cell.get_text() for cell in row.find_all(["th", "td"])]
        assert cells[0] == f"head {head}" and cells[2] == number(real, imaginary)
        assert cells[3].startswith(f"{made.data['names'][tokens[0]]} 0°, ")


def test_texts_are_never_markup():
    names = [f"{text} {i}" for i, text in enumerate(HOSTILE)]
    tables = {"<b>": circuit(4, len(names), 30)}
    made = eigenvalues_figure(tables, tables, names)
    soup = BeautifulSoup(made._repr_html_(), "html.parser")
    assert set(made.data["names"]) <= {visible(name) for name in names} and len(made.data["names"]) > 60
    assert "<" not in soup.find("script", type="application/json").string
    assert {tag.name for tag in soup.select_one(".ex-baseline").find_all()} == {
        "table", "caption", "thead", "tbody", "tr", "th", "td", "code",
    }  # fmt: skip


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(figure)


BAD = {
    "other heads": ({"random": {"a": circuit(2)}}, ["['a']"]),
    "another vocabulary": ({"trained": TRAINED | {"b": circuit(1, 39)}}, ["head b", "[39, 39]"]),
    "names too few": ({"names": NAMES[:-1]}, ["[40, 40]", "39 names"]),
    "first": ({"first": "c"}, ["'c'", "['a', 'b']"]),
    "nothing": ({"random": RANDOM | {"b": ZERO}}, ["differs from 0"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    changed, words = BAD[name]
    refused(words, figure, **changed)
