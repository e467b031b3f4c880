"""Checkers refuse wrong answers that are made from the right ones; `python -m tools.mutants` says which they don't."""

import ast
import functools
import hashlib

import pytest

from tools import mutants
from tools.notebooks import chapters

EXERCISES = [
    pytest.param(path, number, cells[2].source, id=f"{path.stem}-{number}")
    for path in chapters()
    for number, cells in enumerate(mutants.exercises(path), 1)
]
SAMPLE = 2  # of each exercise, in `make test`


@functools.cache
def all_of(source) -> list[tuple[str, str]]:
    """The mutants of a solution, which two tests need."""
    return list(mutants.mutants(source))


def made(path, number, source) -> list[tuple[str, str]]:
    """Those that have to be refused."""
    right = listed(path, number)
    return [(name, text) for name, text in all_of(source) if name not in right]


def listed(path, number) -> dict[str, str]:
    return mutants.equivalent(path.stem).get(str(number), {})


@pytest.mark.parametrize("path, number, source", EXERCISES)
def test_a_sample_of_mutants_is_refused(path, number, source):
    names = sorted(made(path, number, source), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())
    passing = [name for name, text in names[:SAMPLE] if not mutants.judge(path, text)]
    assert not passing


@pytest.mark.release
@pytest.mark.parametrize("path, number, source", EXERCISES)
def test_nearly_all_mutants_are_refused(path, number, source, record_property):
    left, count = mutants.survivors(path, number)[number]
    record_property("measured", f"{count - len(left)} of {count} refused, {len(listed(path, number))} as right as it")
    assert count >= 3 and len(left) <= 0.05 * count, left


def test_what_is_listed_as_equivalent_is_still_made():
    known = {(path.stem, str(number)): source for path, number, source in (case.values for case in EXERCISES)}
    for path in chapters():
        for number, right in mutants.equivalent(path.stem).items():
            names = {name for name, _ in all_of(known[path.stem, number])}
            assert set(right) <= names and all(len(reason) > 20 for reason in right.values())


def test_one_thing_is_changed_at_a_time():
    body = "    if x is None:\n        return 0.5\n    return x[1:].sum(dim=axis) / 2"
    source = f"def half(x, axis=1):\n{body}\n\n\ncheck(half)"
    found = dict(mutants.mutants(source))
    assert {
        "return x[1:].sum(dim=axis) / 2 → return x[1:].sum(dim=axis) * 2",
        "return x[1:].sum(dim=axis) / 2 → return 2 / x[1:].sum(dim=axis)",
        "return x[1:].sum(dim=axis) / 2 → return x[1:].sum() / 2",
        "return x[1:].sum(dim=axis) / 2 → return x[:].sum(dim=axis) / 2",
        "return x[1:].sum(dim=axis) / 2 → return x[2:].sum(dim=axis) / 2",
        "return x[1:].sum(dim=axis) / 2 → return x[1:] / 2",
        "def half(x, axis=1): → def half(x, axis=2):",
        "if x is None: → if x is not None:",
        "return 0.5 → return 1.0",
    } <= set(found)
    assert all(text.endswith("check(half)") and ast.parse(text) for text in found.values())
    assert len(set(found.values())) == len(found)


def test_a_dict_loses_an_entry_or_has_two_exchanged():
    found = [text for _, text in mutants.mutants("def f(a, b):\n    return {1: a, b: b}\n\n\ncheck(f)")]
    for entries in ("{b: b}", "{1: a}", "{1: b, b: a}"):
        assert f"def f(a, b):\n    return {entries}\ncheck(f)" in found


def test_an_endless_mutant_is_refused(monkeypatch):
    monkeypatch.setattr(mutants, "SECONDS", 1)
    path = chapters()[0]
    assert mutants.judge(path, "def f():\n    while True:\n        pass\n\n\nf()")
