"""Skip-trigrams: the largest are the largest, and counts are those of a loop over the text."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import circuits, corpus, load_model, skip_trigrams
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix

SIZE = st.integers(1, 8)


def factored(rows: int, columns: int, seed: int) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return FactoredMatrix(draw(rows, 3), draw(3, columns))


def dense_values(qk: FactoredMatrix, ov: FactoredMatrix) -> torch.Tensor:
    """[source, destination, out], by the definition: both entries positive, or 0."""
    return qk.AB.T.clamp(min=0)[:, :, None] * ov.AB.clamp(min=0)[:, None]


@given(destinations=SIZE, sources=SIZE, outs=SIZE, k=st.integers(1, 80), seed=st.integers(0, 999))
def test_the_largest_skip_trigrams_against_the_whole_table(destinations, sources, outs, k, seed):
    qk, ov = factored(destinations, sources, seed), factored(sources, outs, seed + 1)
    table = dense_values(qk, ov)
    k = min(k, table.numel())
    found = skip_trigrams.largest(qk, ov, k)
    n = len(found.values)  # sources that can't be among the largest are not looked at: what is missing is 0
    torch.testing.assert_close(found.values, table.flatten().topk(k).values[:n], rtol=1e-9, atol=1e-9)
    assert (table.flatten().topk(k).values[n:] == 0).all()
    torch.testing.assert_close(table[found.source, found.destination, found.out], found.values, rtol=1e-9, atol=1e-9)


@given(destinations=SIZE, sources=SIZE, outs=SIZE, k=st.integers(1, 20), seed=st.integers(0, 999))
def test_the_largest_of_each_source_against_the_whole_table(destinations, sources, outs, k, seed):
    qk, ov = factored(destinations, sources, seed), factored(sources, outs, seed + 1)
    table = dense_values(qk, ov)
    k = min(k, destinations * outs)
    found = skip_trigrams.per_source(qk, ov, k)
    assert found.values.shape == (sources, k)
    torch.testing.assert_close(found.values, table.flatten(1).topk(k, dim=1).values, rtol=1e-9, atol=1e-9)
    assert (found.source == torch.arange(sources)[:, None]).all()
    torch.testing.assert_close(table[found.source, found.destination, found.out], found.values, rtol=1e-9, atol=1e-9)


def test_many_sources_and_one_of_them_with_most(monkeypatch):
    qk, ov = factored(90, 700, 1), factored(700, 50, 2)
    ov.A[33] *= 50
    found = skip_trigrams.largest(qk, ov, 500)
    torch.testing.assert_close(found.values, dense_values(qk, ov).flatten().topk(500).values, rtol=1e-9, atol=1e-9)
    assert (found.source == 33).float().mean() > 0.5


def by_loop(ids: list[int], source: int, destination: int, out: int, span: int) -> tuple[int, int]:
    occasions = hits = 0
    for here in range(len(ids) - 1):
        if ids[here] != destination or ids[here + 1] == 0:
            continue
        before = ids[max(0, here - span) : here]
        if 0 in before:  # only this document's
            before = before[len(before) - before[::-1].index(0) :]
        if source in before:
            occasions, hits = occasions + 1, hits + (ids[here + 1] == out)
    return occasions, hits


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 9))
def test_counts_against_a_loop(text, span):
    ids = [0, *text]
    triples = torch.tensor(list(itertools.product(range(1, 5), range(1, 5), range(1, 6)))).T
    occasions, hits = skip_trigrams.count(torch.tensor(ids), *triples, span=span)
    want = [by_loop(ids, *triple, span) for triple in triples.T.tolist()]
    assert list(zip(occasions.tolist(), hits.tolist(), strict=True)) == want


def test_lift_is_a_quotient_of_two_frequencies():
    tokenizer, counts = corpus.load_tokenizer(), corpus.bigram_counts()
    (destination,), (out,) = tokenizer.encode("import"), tokenizer.encode(" os")
    base = counts[destination, out] / counts[[destination]].sum()
    assert 0 < base < 1
    lift = skip_trigrams.lift(*(torch.tensor([n]) for n in (50, 10, destination, out)))
    assert lift.item() == pytest.approx(0.2 / base)
    assert skip_trigrams.lift(*(torch.tensor([n]) for n in (0, 0, destination, out))).isnan().all()


def test_a_source_that_says_nothing_has_a_lift_near_one():
    """Over a text in random order whether the source stood before is news about nothing."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 6, (200_000,), generator=generator)
    ids[::500] = 0
    occasions, hits = skip_trigrams.count(ids, *(torch.tensor([t]) for t in (2, 3, 4)), span=3)
    assert occasions.item() > 5000 and (hits / occasions).item() == pytest.approx(0.2, abs=0.02)


def test_controls_are_other_tokens_of_like_frequency():
    counts, common = corpus.token_counts(), corpus.common_tokens()
    generator = torch.Generator().manual_seed(1)
    three = [common[torch.randint(len(common), (300,), generator=generator)] for _ in range(3)]
    extremes = [common[counts[common].argmax()][None], common[counts[common].argmin()][None]]
    three = [torch.cat([tokens, *extremes]) for tokens in three]
    control = skip_trigrams.control_sources(*three)
    assert all((control != tokens).all() for tokens in three)
    ratio = counts[control] / counts[three[0]]
    assert (ratio[:300].log().abs() < 0.5).all() and ratio[:300].log().abs().median() < 0.01


# --- what ships ---


@pytest.fixture(scope="module")
def shipped():
    return skip_trigrams.shipped()


def test_the_shipped_list_is_the_models_own(shipped):
    model = load_model("one-layer", "cpu").double()
    assert shipped["head"].tolist() == [head for head in range(12) for _ in range(200)]
    for head in (3, 8):
        of_head = shipped["head"] == head
        fresh = skip_trigrams.of_head(model, 0, head, 200)
        torch.testing.assert_close(shipped["value"][of_head].double(), fresh.values, rtol=1e-4, atol=0)
        triple = lambda s: set(zip(*(s[n].tolist() for n in ("source", "destination", "out")), strict=True))  # noqa: E731
        mine = triple({name: column[of_head] for name, column in shipped.items()})
        assert len(mine & triple(fresh._asdict())) >= 199  # the last may be tied


def test_values_follow_the_definition(shipped):
    model = load_model("one-layer", "cpu").double()
    for row in range(0, 2400, 301):
        head, a, b, c = (shipped[name][row].item() for name in ("head", "source", "destination", "out"))
        qk = circuits.qk_circuit(model, 0, head, centred=True)
        ov = circuits.ov_circuit(model, 0, head, centred=True)
        value = (qk.A[b] @ qk.B[:, a]) / 32**0.5 * (ov.A[a] @ ov.B[:, c])
        assert value.item() == pytest.approx(shipped["value"][row].item(), rel=1e-4)


def test_shipped_counts_are_no_less_than_those_of_the_shipped_part(shipped):
    some = torch.arange(0, 2400, 41)
    ids = corpus.load_text("train")
    for prefix, source in (("", "source"), ("control_", "control")):
        occasions, hits = skip_trigrams.count(ids, *(shipped[name][some] for name in (source, "destination", "out")))
        assert (shipped[prefix + "occasions"][some] >= occasions).all() and (occasions > 0).any()
        assert (shipped[prefix + "hits"][some] >= hits).all()
    assert (shipped["hits"] <= shipped["occasions"]).all()


def test_tables_that_do_not_meet():
    for function in (skip_trigrams.largest, skip_trigrams.per_source):
        with pytest.raises(CourseError, match=r"\[4, 5\] and \[6, 7\]"):
            function(factored(4, 5, 0), factored(6, 7, 0), 3)
