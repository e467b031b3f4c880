"""The bigram table as a figure: its data and its plain version."""

import base64

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from hostile import HOSTILE
from scipy.sparse import csr_array

from course_utils.corpus import Tokenizer, load_tokenizer
from course_utils.errors import CourseError
from course_utils.figures import bigrams_figure, visible

N = 1024
rng = np.random.default_rng(0)
DENSE = rng.poisson(0.05, (N, N)) * rng.integers(1, 50, (N, N))
DENSE[7] = 0  # a token that never comes before another
COUNTS = csr_array(DENSE)
TABLE = torch.from_numpy(rng.normal(0, 2, (N, N))).log_softmax(dim=1)
WORDS = ["(", ".", "self"]


@pytest.fixture(scope="module")
def figure():
    return bigrams_figure(TABLE, COUNTS, WORDS, carried=40)


def unpacked(data) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(data["data"]), "<u2").reshape(data["shape"])
    return data["low"] + (data["high"] - data["low"]) * steps / 65535


def test_shares_are_those_of_the_tables(figure):
    tokenizer, data = load_tokenizer(N), figure.data
    after, share = unpacked(data["after"]).round().astype(int), unpacked(data["share"])
    starred = [tokenizer.encode(word)[0] for word in WORDS]
    assert data["sources"][:3] == starred and len(data["sources"]) == len(set(data["sources"])) == 40
    others = [DENSE[a].sum() for a in data["sources"][3:]]
    assert others == sorted(others, reverse=True)
    for i, a in enumerate(data["sources"]):
        assert data["seen"][i] == DENSE[a].sum()
        said, counted = TABLE[a].exp().numpy(), DENSE[a] / DENSE[a].sum()
        np.testing.assert_allclose(share[i], np.stack([said, counted], axis=1)[after[i]], atol=1e-4)
        least = np.maximum(said, counted)[after[i]].min()
        rest = np.delete(np.maximum(said, counted), after[i])
        assert rest.max() <= least and (np.diff(share[i, :, 0]) <= 1e-9).all()


def test_words_are_the_whole_vocabulary(figure):
    tokenizer = load_tokenizer(N)
    assert figure.data["words"] == [visible(tokenizer.show(token)) for token in range(N)]


def test_the_plain_version_has_the_interesting_tokens(figure):
    rows = BeautifulSoup(figure.plain, "html.parser").select("tbody tr")
    assert [row.th.get_text() for row in rows] == WORDS
    for row, a in zip(rows, figure.data["sources"], strict=False):
        cell = row.find_all("td")[1].get_text().split(",")[0] if "," in row.get_text() else ""
        assert f"{(DENSE[a] / DENSE[a].sum()).max():.1%}" in row.find_all("td")[1].get_text(), cell


def test_the_same_figure_is_the_same_text_and_bounded(figure):
    assert bigrams_figure(TABLE, COUNTS, WORDS, carried=40)._repr_html_() == figure._repr_html_()
    assert len(figure._repr_html_().encode()) - len(figure._json()) - len(figure.plain.encode()) <= 30_000
    assert len(bigrams_figure(TABLE, COUNTS, WORDS, carried=900)._json()) < 160_000  # 4096 tokens take 30 kB more


def test_tokens_are_text(monkeypatch):
    monkeypatch.setattr(Tokenizer, "show", lambda self, token: HOSTILE[token % len(HOSTILE)])
    figure = bigrams_figure(TABLE, COUNTS, WORDS, carried=len(HOSTILE))
    soup = BeautifulSoup(figure._repr_html_(), "html.parser")
    assert {tag.name for tag in soup.select_one(".ex-baseline").find_all()} <= set(
        "table caption thead tbody tr th td code".split()
    )
    assert "<" not in soup.find("script", type="application/json").string


def never_seen() -> str:
    counts = DENSE.copy()
    counts[load_tokenizer(N).encode("(")[0]] = 0
    return csr_array(counts)


BAD = {
    "two tokens": lambda: bigrams_figure(TABLE, COUNTS, ["two tokens"]),
    "never seen": lambda: bigrams_figure(TABLE, never_seen(), ["("]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    with pytest.raises(CourseError, match="Remedy:"):
        BAD[name]()
