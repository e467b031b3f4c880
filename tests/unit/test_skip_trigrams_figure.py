"""Skip-trigrams of one source: the grid's data and its plain version."""

import numpy as np
import pytest
import scipy.sparse
import torch
from bs4 import BeautifulSoup
from figure_checks import refused, same_and_small
from hostile import HOSTILE

from course_utils import corpus
from course_utils.checkpoints import load_model
from course_utils.figures import skip_trigrams_figure, visible
from course_utils.skip_trigrams import circuits_of_common_tokens

N = 30
rng = np.random.default_rng(0)
QK, OV = rng.normal(size=(2, N, N))
NAMES = [f"t{i}" for i in range(N)]
COUNTS = rng.choice([0, 0, 0, 40], size=(N, N))


def figure(**changed):
    given = {"circuits": {3: (QK, OV)}, "sources": {3: [5, 7]}, "names": NAMES, "counts": COUNTS} | changed
    return skip_trigrams_figure(**given)


def test_rows_and_columns_are_the_entries_of_the_tables():
    [head] = figure().data["heads"]
    assert head["head"] == "3" and [grid["source"] for grid in head["sources"]] == ["t5", "t7"]
    for a, grid in zip((5, 7), head["sources"], strict=True):
        rows, columns = ([NAMES.index(name) for name in grid[side]] for side in ("destinations", "outs"))
        np.testing.assert_allclose(grid["look"], QK[rows, a], atol=0.0006)
        np.testing.assert_allclose(grid["rise"], OV[a, columns], atol=0.0006)
        assert columns == (-OV[a]).argsort()[:6].tolist()
        assert grid["look"] == sorted(grid["look"], reverse=True) and min(grid["look"]) > 0
        assert grid["counts"] == COUNTS[np.ix_(rows, columns)].tolist()


def test_the_first_pairs_are_the_bug_whose_weakest_value_is_largest():
    """Against loops over all squares of two of the 24 best destinations and two of the 6 best outputs."""
    for a, grid in zip((5, 7), figure().data["heads"][0]["sources"], strict=True):
        rows, columns = ((-QK[:, a]).argsort()[:24], (-OV[a]).argsort()[:6])
        squares = [
            min(QK[b1, a], QK[b2, a]) * min(OV[a, c1], OV[a, c2])
            for b1 in rows for b2 in rows for c1 in columns for c2 in columns
            if COUNTS[b1, c1] and COUNTS[b2, c2] and not COUNTS[b1, c2] and not COUNTS[b2, c1]
            and QK[b2, a] > 0 < QK[b1, a]
        ]  # fmt: skip
        (i, j), (k, m) = grid["pairs"]
        weakest = min(grid["look"][i], grid["look"][k]) * min(grid["rise"][j], grid["rise"][m])
        assert grid["counts"][i][j] and grid["counts"][k][m] and not grid["counts"][i][m] + grid["counts"][k][j]
        assert weakest == pytest.approx(max(squares), rel=0.01)


def test_without_a_bug_there_are_two_pairs_all_the_same():
    for counts in (np.zeros((N, N), int), np.full((N, N), 50)):
        for grid in figure(counts=counts).data["heads"][0]["sources"]:
            (i, j), (k, m) = grid["pairs"]
            assert i != k and j != m and len(grid["destinations"]) == 8


def test_sparse_counts_and_factored_tables_give_the_same():
    assert figure(counts=scipy.sparse.csr_array(COUNTS)).data == figure().data
    model = load_model("one-layer", "cpu").double().requires_grad_(False)
    qk, ov, tokens = circuits_of_common_tokens(model, 0, 4)
    names = [corpus.load_tokenizer().show(token) for token in tokens]
    counts = corpus.bigram_counts()[tokens.tolist()][:, tokens.tolist()]
    mary, pri, verb, bose = (names.index(name) for name in ("mary", "pri", "ver", "bose"))
    [grid] = skip_trigrams_figure({4: (qk, ov)}, {4: [mary]}, names, counts).data["heads"][0]["sources"]
    (i, j), (k, m) = grid["pairs"]
    assert [grid["destinations"][i], grid["outs"][j]] == ["pri", "mary"]
    assert [grid["destinations"][k], grid["outs"][m]] == ["ver", "bose"]
    E, source = model.W_E.detach(), tokens[mary]
    score = E[tokens] @ model.W_Q[0, 4] @ model.W_K[0, 4].T @ (E[source] - E.mean(dim=0)) / model.cfg.d_head**0.5
    rise = E[source] @ model.W_V[0, 4] @ model.W_O[0, 4] @ model.W_U
    assert grid["look"][i] == pytest.approx(score[pri].item(), abs=0.001)
    assert grid["look"][k] == pytest.approx(score[verb].item(), abs=0.001)
    assert grid["rise"][m] == pytest.approx((rise[tokens[bose]] - rise.mean()).item(), abs=0.001)


def test_the_plain_version_has_every_source_with_its_numbers():
    made = figure()
    rows = BeautifulSoup(made.plain, "html.parser").select("tbody tr")
    assert len(rows) == 2
    for row, grid in zip(rows, made.data["heads"][0]["sources"], strict=True):
        text = row.get_text(" ", strip=True)
        assert text.startswith(f"head 3: {grid['source']}")
        assert all(name in text for name in grid["destinations"] + grid["outs"])
        i, j = grid["pairs"][0]
        assert f"{grid['look'][i] * grid['rise'][j]:.1f}, {grid['counts'][i][j]} times" in text and "never" in text


def test_texts_are_never_markup():
    names, n = [f"{text} {i}" for i, text in enumerate(HOSTILE)], len(HOSTILE)
    qk, ov = np.abs(rng.normal(size=(2, n, n)))
    made = skip_trigrams_figure({"<b>": (qk, ov)}, {"<b>": range(n)}, names, np.zeros((n, n), int))
    soup = BeautifulSoup(made._repr_html_(), "html.parser")
    assert [grid["source"] for grid in made.data["heads"][0]["sources"]] == [visible(name) for name in names]
    assert {tag.name for tag in soup.select_one(".ex-baseline").find_all()} == {
        "table", "caption", "thead", "tbody", "tr", "th", "td", "code",
    }  # fmt: skip
    assert "<" not in soup.find("script", type="application/json").string


def test_the_same_figure_is_the_same_text_and_small():
    same_and_small(figure)


BAD = {
    "an unknown head": ({"sources": {4: [1]}}, ["[4]", "[3]"]),
    "a source beyond the names": ({"sources": {3: [N]}}, ["30", "0 to 29"]),
    "counts of another shape": ({"counts": COUNTS[:-1]}, ["[29, 30]", "30 names"]),
    "a table of another shape": ({"circuits": {3: (QK[:-1], OV)}}, ["qk", "[29, 30]"]),
    "nothing positive": ({"circuits": {3: (-np.abs(QK), OV)}}, ["'t5'", "0 destinations"]),
    "not finite": ({"circuits": {3: (QK * np.nan, OV)}}, ["'t5'", "0 destinations"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    changed, words = BAD[name]
    refused(words, figure, **changed)


def test_tensors_are_tables_too():
    assert figure(circuits={3: (torch.tensor(QK), torch.tensor(OV))}).data == figure().data
