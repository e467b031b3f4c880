"""Numbers are read wherever they lie: here on one like Apple's GPU, which has no 64 bits and which no NumPy reads."""

import copy
import inspect

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.overrides import TorchFunctionMode

from course_utils import figures, losses, plots, scores, skip_trigrams
from course_utils.config import PUT_BACK, ModelConfig, TransformerConfig
from course_utils.device import to_numpy
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.figures.host import packed
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import Transformer


class Far(torch.Tensor):
    """Refuses what a tensor on Apple's GPU refuses; what is computed from it is far too, until it comes to the CPU."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.numpy and (kwargs or {}).get("force"):  # by way of the CPU
            return args[0].cpu().numpy()
        if function in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("can't convert mps:0 device type tensor to numpy.")
        result = super().__torch_function__(function, types, args, kwargs or {})
        if function is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        if isinstance(result, cls) and result.dtype in (torch.float64, torch.complex128):
            raise TypeError("the MPS framework doesn't support float64.")
        return result


def far(values):
    """The values, as far as they are tensors, somewhere else."""
    if isinstance(values, dict):
        return {key: far(value) for key, value in values.items()}
    if isinstance(values, tuple | list):
        return type(values)(far(value) for value in values)
    if isinstance(values, FactoredMatrix):
        return FactoredMatrix(far(values.A), far(values.B))
    if isinstance(values, torch.nn.Module):
        moved = copy.deepcopy(values)
        for name, weight in values.named_parameters():
            setattr(moved, name, torch.nn.Parameter(far(weight.detach()), requires_grad=False))
        return moved
    return values.as_subclass(Far) if torch.is_tensor(values) else values


def numbers(*shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


SKIP = lambda tables: figures.skip_trigrams_figure(tables, {3: [5]}, NAMES, COUNTS[:30, :30]).data  # noqa: E731
MODEL = AttentionOnlyTransformer.init(ModelConfig(2, 3, 24, 8, 1024, 128), seed=1).requires_grad_(False)
IDS = torch.arange(18).view(2, 9)
NAMES = [f"t{i}" for i in range(30)]
TABLE = FactoredMatrix(numbers(30, 6), numbers(6, 30))
COUNTS = scipy.sparse.csr_array(np.random.default_rng(0).poisson(1.0, (1024, 1024)))
BY_SIDE = {kind: numbers(4, 4).abs() for kind in "QKV"}
TERMS = {
    "losses": numbers(4).abs() + 1, "other": numbers(3), "layers": {"alone": numbers(2), "beside": numbers(2)},
    "heads": {"direct": numbers(2, 3), "real": numbers(2, 3)}, "virtual": numbers(3, 3),
    "constant": numbers(3, 3) > 0, "apart": numbers(2),
    "paper": {"falls": numbers(3), "alone": numbers(2), "beside": numbers(2)},
}  # fmt: skip
LOSSES = numbers(6, 255).abs()

# What each reads, and how it is read; the result must not depend on where that lies.
READERS = {
    "an array": (numbers(3), to_numpy),
    "packed": (numbers(3), packed),
    "attention": (MODEL, lambda model: figures.attention_figure(model, {"Python": "def read(path):"}).data),
    "residual stream": (MODEL, lambda model: figures.residual_stream_figure(model, "def f(x):\n", offer=["\n"]).data),
    "eigenvalues": ({"a": TABLE}, lambda tables: figures.eigenvalues_figure(tables, tables, NAMES).data),
    "skip-trigrams, factored": ({3: (TABLE, TABLE)}, SKIP),
    "skip-trigrams, tables": ({3: (TABLE.AB, TABLE.AB)}, SKIP),
    "composition": (BY_SIDE, lambda tables: figures.composition_figure(tables, tables, 0.05, 0.001).data),
    "term importance": (TERMS, lambda terms: figures.term_importance_figure(**terms).data),
    "bigrams": (
        numbers(1024, 1024).log_softmax(1), lambda table: figures.bigrams_figure(table, COUNTS, ["("], carried=40).data,
    ),
    "a heatmap": (numbers(3, 3), lambda x: drawn(plots.heatmap(x, ["a"] * 3, ["b"] * 3, label="x"))),
    "tables": ({"a": numbers(3, 3)}, lambda x: drawn(plots.tables(x, ["a"] * 3, label="x"))),
    "patterns": ({"a": numbers(3, 3).softmax(1)}, lambda x: drawn(plots.attention(x))),
    "tokens": (numbers(2, 2), lambda x: figures.token_rows(["a"] * 2, {"a": ([["x", "y"]] * 2, x)}, label="x").data),
    "the complex plane": ({"a": numbers(4)}, lambda x: drawn(plots.complex_plane(x, x))),
    "a histogram": ({"a": numbers(3, 3)}, lambda x: drawn(plots.histogram(x, 4, xlabel="x"))),
    "late less early": (LOSSES, lambda x: scores.late_less_early(x).tolist()),
    "an interval": ((LOSSES[:, 0], torch.arange(6)), lambda x: scores.bootstrap(*x)),
    "prefix matching": (MODEL, lambda model: to_numpy(scores.prefix_matching_scores(model, n=4))),
    "previous token": (MODEL, lambda model: to_numpy(scores.previous_token_scores(model, torch.ones(2, 9).long()))),
    "composition shares": (
        MODEL, lambda model: {kind: to_numpy(x) for kind, x in scores.composition_shares(model, IDS).items()},
    ),
    "skip-trigrams counted": (
        [torch.tensor([0, 5, 6, 7, 5, 6, 7]), *torch.tensor([[5], [6], [7]])],
        lambda x: [to_numpy(found) for found in skip_trigrams.count(*x)],
    ),
    "lift": (
        [torch.tensor([4]), torch.tensor([2]), *torch.tensor([[6], [7]])], lambda x: skip_trigrams.lift(*x).tolist(),
    ),
}  # fmt: skip


def drawn(figure) -> np.ndarray:
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba()).copy()
    plots.plt.close(figure)
    return pixels


@pytest.mark.parametrize("name", READERS)
def test_numbers_are_read_wherever_they_lie(name):
    given, read = READERS[name]
    np.testing.assert_equal(read(far(given)), read(given))


def test_what_plays_another_device_refuses_what_one_refuses():
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(far(numbers(3)))
    with pytest.raises(TypeError, match="float64"):
        far(numbers(3)).double()
    with pytest.raises(TypeError, match="numpy"):
        (far(numbers(3)) + 1).exp().numpy()


class No64(TorchFunctionMode):
    """Refuses to make 64 bits anywhere but on the CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64 and result.device.type != "cpu":
            raise TypeError("the MPS framework doesn't support float64.")
        return result


def test_a_model_with_all_put_back_runs_without_64_bits():
    """On "meta", which computes nothing and has every operation."""
    for settings in (PUT_BACK["all"], {"norm": "rms", "mlp": "gated", "positions": "rotary"}):
        model = Transformer.init(TransformerConfig(2, 3, 24, 8, 64, 9, **settings)).to("meta")
        x = torch.zeros(1, 9, 24, device="meta")
        with No64():
            assert model.unembed(model.run(x, model._attend_fast)).shape == (1, 9, 64)
            with pytest.raises(TypeError, match="float64"):
                x.double()


def test_tokens_elsewhere_than_the_model_are_named():
    tokens = torch.ones(1, 5, dtype=torch.long)
    for run in (MODEL, MODEL.stream, MODEL.run_with_cache):
        with pytest.raises(CourseError, match=r"tokens on meta: the model is on cpu. Remedy: .*\.to\("):
            run(tokens.to("meta"))
    losses.next_token_loss(MODEL, tokens)  # which sends them there itself
    with pytest.raises(CourseError, match="tokens on cpu: the model is on meta"):
        copy.deepcopy(MODEL).to("meta")(tokens)
    with pytest.raises(CourseError, match="tokens on meta: the model is on cpu"):
        inspect.unwrap(losses.stream_loss)(MODEL, torch.ones(1, 5, 24), tokens.to("meta"))
