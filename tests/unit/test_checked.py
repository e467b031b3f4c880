"""Declarations: what is refused and in which words, what is made of a value, which sizes hold in a call.

That every declaration of the package is held is tested in test_bad_input.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from course_utils.checked import FILLED, FINITE, along, check, checked, long, numbers, within
from course_utils.config import AnyModel, Head, ModelConfig, Pattern, Stream, Tokens
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer

MODEL = AttentionOnlyTransformer(ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=9))
SIZES = vars(MODEL.cfg)
Table = Float[Tensor, "rows columns"]
REFUSED = {
    "an integer": (1.5, Annotated[int, within(1, 3)], "x is 1.5: it must be an integer from 1 to 3. Remedy: change x."),
    "below a size": (2, Annotated[int, within(below="n_layers"), "choose one"],
                     "x is 2: it must be an integer from 0 to 1. Remedy: choose one."),
    "truth values are no numbers": (True, float, "x is True: it must be a finite number. Remedy: change x."),
    "a literal": ("c", Literal["a", "b"], "x is 'c': it must be one of ['a', 'b']. Remedy: change x."),
    "no list of strings": ("abc", Sequence[str], "x is 'abc': it must be a list. Remedy: change x."),
    "an entry": (["a", 1], Sequence[str], "x[1] is 1: it must be a string. Remedy: change x."),
    "an entry deep down": ({"a": (1, 2)}, Annotated[Mapping[str, tuple[int, str]], "r"],
                           "x['a'][1] is 2: it must be a string. Remedy: r."),
    "a pair of three": ((1, 2, 3), tuple[int, int], "x is (1, 2, 3): it must be a tuple of 2. Remedy: change x."),
    "a key too few": ({"a": 1}, TypedDict("D", {"a": int, "b": int}),
                      "x is {'a': 1}: it must be a dict with ['a', 'b']. Remedy: change x."),
    "an empty dict": ({}, Annotated[Mapping[str, int], FILLED],
                      "x is {}: it must be a dict that is not empty. Remedy: change x."),
    "dtype": (torch.ones(2, 2).long(), Table,
              "x of shape [2, 2], torch.int64, from 1 to 1: it must be a Tensor of float numbers [rows, columns]. "
              "Remedy: change x."),
    "a size of the model": (torch.ones(1, 2, 11), Stream,
                            "x of shape [1, 2, 11], torch.float32, from 1.0 to 1.0: it must be a Tensor of float "
                            "numbers [batch, pos, d_model = 12] with 1 to 9 along pos. Remedy: take one of cache."),
    "an id": (torch.tensor([[3, 17]]), Tokens, "from 3 to 17: it must be a Tensor of integer numbers [batch, pos] with "
              "1 or more along batch, with 1 to 9 along pos, from 0 to 16. Remedy: pass torch.tensor("),
    "a head": ((1, 3), Head, "x[1] is 3: it must be an integer from 0 to 2. Remedy: choose one of these."),
    "no pattern": (torch.ones(2, 1, 3, 4, 5), Pattern, "[n_layers = 2, batch, n_heads = 3, pos, pos]"),
    "no model": ("two-layer", AnyModel, "x is 'two-layer': it must be a Model. Remedy: pass what load_model gives."),
    "no numbers": ([["u"]], numbers("rows _"), "x is [['u']]: it must be float numbers [rows, _]. Remedy: change x."),
    "NaN": (torch.tensor([1, torch.nan]).bfloat16(), Annotated[Float[Tensor, " n"], FINITE], "that are finite"),
    "what is long": (list(range(99)), int, "x of type list: it must be an integer. Remedy: change x."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_names_the_value_the_rule_and_the_remedy(case):
    value, hint, words = REFUSED[case]
    with pytest.raises(CourseError, match=re.escape(words)):
        check("x", value, hint, dict(SIZES))


ACCEPTED = {
    "NumPy's integers": (np.int64(2), Annotated[int, within(0, 2)]), "integers are numbers": (3, float),
    "nothing": (None, Annotated[int, within(1)] | None), "a protocol": (SimpleNamespace(cfg=1), AnyModel),
    "16-bit ids": (torch.zeros(1, 2, dtype=torch.uint16), Tokens), "no axis": (np.float64(1), numbers("")),
    "leading axes": (torch.ones(2, 3, 4), Float[Tensor, "*batch rows columns"]),
    "no leading axis": (torch.ones(3, 4), Float[Tensor, "... rows columns"]),
    "a size in digits": ([[1, 2]], numbers("1 2")), "a head": ([1, 2], Head), "an empty list": ([], Sequence[str]),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_good_values_pass(case):
    check("x", *ACCEPTED[case], dict(SIZES))


def test_the_function_gets_what_is_made_of_a_value():
    @checked
    def given(table: numbers("rows columns"), names: Iterable[str] = ()):
        return table, names

    table, names = given(torch.ones(2, 2, requires_grad=True), (name for name in "ab"))
    assert isinstance(table, np.ndarray) and table.dtype == np.float64 and names == ["a", "b"]


def test_an_axis_has_one_size_in_a_call_and_another_in_the_next():
    @checked
    def product(a: Table, b: Float[Tensor, "columns rows"], names: Annotated[Sequence[str], along("rows")]):
        return a @ b

    for rows in (2, 3):
        assert product(torch.ones(rows, 5), torch.ones(5, rows), ["n"] * rows).shape == (rows, rows)
    with pytest.raises(CourseError, match=r"^b of shape \[5, 3\].*\[columns = 5, rows = 2\]"):
        product(torch.ones(2, 5), torch.ones(5, 3), ["n"] * 2)
    with pytest.raises(CourseError, match="^names is .*one for each of the 2 rows"):
        product(torch.ones(2, 5), torch.ones(5, 2), ["n"])


def test_a_model_in_a_call_gives_the_sizes():
    @checked
    def head_of(model: AnyModel, later: Head, x: Annotated[Stream, long("batch", 2)], *, rest: Any = None):
        return later

    x = torch.ones(2, 3, 12)
    assert head_of(MODEL, [1, 2], x) == (1, 2)
    for later, name in (((2, 0), "later[0] is 2"), ((0, -1), "later[1] is -1"), (1, "later is 1"), ("10", "later['")):
        with pytest.raises(CourseError, match=re.escape(name) if name != "later['" else "later"):
            head_of(MODEL, later, x)
    with pytest.raises(CourseError, match="x of shape"):
        head_of(MODEL, (0, 0), x[:1])
    with pytest.raises(TypeError):
        head_of(MODEL)


def test_the_name_the_text_and_the_arguments_of_a_function_stay():
    @checked
    def f(k: Annotated[int, within(1)] = 3) -> int:
        """What it does."""
        return k

    assert (f.__name__, f.__doc__, f(), f(k=2), list(f.declared)) == ("f", "What it does.", 3, 2, ["k"])


def test_arrays_of_several_shapes_may_stand_in_one_dict_if_their_axis_has_no_name():
    two = {"a": [1, 2], "b": [1, 2, 3]}
    assert len(check("x", two, Mapping[str, numbers("_")])["b"]) == 3
    with pytest.raises(CourseError, match="x\\['b'\\]"):
        check("x", two, Mapping[str, numbers("n")])
    assert check("ids", torch.tensor([1, 2]), Integer[Tensor, " n"]).tolist() == [1, 2]
