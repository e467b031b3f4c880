"""What all exercise checkers share: stubs, wrong answers and crashes never stop a notebook."""

import numpy as np
import pytest
import torch

from course_utils import load_model
from course_utils.checks.base import (
    STATUSES,
    NotPassed,
    Outcome,
    Wrong,
    disguised,
    drawn_tokens,
    exercise,
    require,
    require_close,
    small_model,
)
from course_utils.config import ModelConfig


@exercise("1.1 double")
def double(answer):
    """Checks a function that doubles."""
    require_close(answer(torch.tensor([1.0, 2.0])), [2.0, 4.0], "double([1, 2])", hint="Multiply by two.")
    return "Twice as much."


def stub(x):
    raise NotImplementedError


def crash(x):
    return x.no_such_thing


def test_a_right_answer_passes():
    outcome = double(lambda x: 2 * x)
    assert outcome == Outcome("1.1 double", "passed", "Twice as much.")
    assert repr(outcome) == "✓ 1.1 double: passed. Twice as much."


def test_eigenvalues_of_what_is_not_finite_end_no_kernel():
    """`torch.linalg.eigvals` of a nan ends Python: without the check this whole file of tests does."""
    for wrong in (lambda x: torch.linalg.eigvals(x.diag() / 0), lambda x: torch.linalg.eigvals(input=x.diag() / 0)):
        outcome = double(wrong)
        assert outcome.status == "failed" and "4 of its 4 entries are not finite" in outcome.message, outcome
    assert double(lambda x: 2 * torch.linalg.eigvals(x.diag()).real).status == "passed"


def test_a_stub_is_not_attempted():
    outcome = double(stub)
    assert (outcome.status, repr(outcome)) == ("not attempted", "○ 1.1 double: not attempted")


def test_a_wrong_answer_is_told_with_its_values():
    outcome = double(lambda x: x**2)
    assert outcome.status == "failed"
    assert outcome.message == "double([1, 2]) is 1 at [0], expected 2. Multiply by two."


def test_a_crash_is_told_and_does_not_spread():
    outcome = double(crash)
    assert outcome.status == "failed" and "AttributeError" in outcome.message and "no_such_thing" in outcome.message
    assert double(None).status == "failed"


def test_a_strict_checker_raises_unless_the_answer_passes():
    assert double(lambda x: 2 * x, strict=True).status == "passed"
    for answer, said in ((stub, "not attempted"), (crash, "AttributeError"), (lambda x: x, "expected 4")):
        with pytest.raises(NotPassed, match=said):
            double(answer, strict=True)


def test_a_checker_keeps_the_name_of_its_function():
    assert double.__name__ == "double" and double.__doc__ == "Checks a function that doubles."
    assert set(STATUSES) == {"passed", "failed", "not attempted"}


def test_require():
    require(True, "never said")
    with pytest.raises(Wrong, match="^said$"):
        require(False, "said")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1.00005, 1),
        ([1, 2], torch.tensor([1.0, 2.0])),
        (np.eye(2), torch.eye(2)),
        (torch.eye(2, requires_grad=True), np.eye(2)),
    ],
    ids=["number", "list", "array", "with gradient"],
)
def test_what_is_close_passes(got, want):
    require_close(got, want, "it")


@pytest.mark.parametrize(
    ("got", "want", "words"),
    [
        (None, 1, ["it is None", "return something"]),
        (1.001, 1.0, ["it is 1.001", "expected 1"]),
        (torch.tensor([1.0, float("nan")]), [1.0, 2.0], ["nan at [1]", "expected 2"]),
        (torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.zeros(2, 2), ["9 at [1, 1]", "expected 0"]),
        (torch.zeros(3, 2), torch.zeros(2, 3), ["[3, 2]", "[2, 3]"]),
        (torch.zeros(1, 3), torch.zeros(3), ["[1, 3]", "[3]"]),
        ("five", 5, ["numbers or a tensor", "str"]),
    ],
    ids=["none", "far", "nan", "place", "shape", "axis", "word"],
)
def test_what_is_not_close_is_told(got, want, words):
    with pytest.raises(Wrong) as caught:
        require_close(got, want, "it")
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("name", ["one-layer", "two-layer", "smeared keys"])
def test_a_disguised_model_computes_the_same_by_other_numbers(name):
    if name == "smeared keys":
        model = small_model(ModelConfig(n_layers=1, n_heads=4, d_model=8, d_head=2, d_vocab=9, smeared_keys=True), 3)
        model.smear[0] = torch.tensor([-2.0, 0.0, 1.0, 3.0])
    else:
        model = load_model(name, "cpu")
    tokens = drawn_tokens(model.cfg.d_vocab, (2, 40), 0)
    with torch.no_grad():
        want, seen = model.run_with_cache(tokens)
        other, order = disguised(model, 1)
        got, cache = other.run_with_cache(tokens)
    assert (got - want).abs().max() < 1e-4
    heads = list(range(model.cfg.n_heads))
    assert len(order) == model.cfg.n_layers and all(sorted(layer) == heads != layer for layer in order)
    for layer, was in enumerate(order):
        assert (cache.pattern[layer] - seen.pattern[layer][:, was]).abs().max() < 1e-4
    for side in ("W_Q", "W_K", "W_V", "W_O"):
        for layer, was in enumerate(order):
            apart = (getattr(other, side)[layer] - getattr(model, side)[layer, was]).abs()
            assert apart.mean() > getattr(model, side).abs().mean() / 2
    assert disguised(model, 1)[1] == order != disguised(model, 2)[1]
    assert (model(tokens) - want).abs().max() < 1e-4  # the model itself is left as it was
