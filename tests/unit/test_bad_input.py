"""Bad input. What a function declares is tried with values made from the declaration; what it can't declare, by hand.

Nothing ends in a library's traceback. Beside it test_errors.py, whose errors say more, and which damages files.
"""

import importlib
import inspect
import math
import os
import pkgutil
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import course_utils
from course_utils import __main__ as commands
from course_utils import (
    bigrams,
    corpus,
)  # fmt: skip
from course_utils.checked import FILLED, FINITE, Made, Rule, along, check, checked, long, within
from course_utils.config import ModelConfig, TrainConfig, TransformerConfig
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.markov import MarkovConfig
from course_utils.model import AttentionOnlyTransformer
from course_utils.predict import Guess
from course_utils.repeats import RepeatsConfig
from course_utils.transformer import Transformer
from tools import notebooks, workshop

# Modules below `checked`, or that make it; and a step of the model.
BY_HAND = ("device", "errors", "checked", "smeared_keys")
# Functions that declare nothing, and why.
UNDECLARED = {
    "checkpoints.write_together": "write_atomically for many files, of paths that it was given",
    "config.ModelConfig.to_dict": "takes nothing of the reader's", "config.TrainConfig.to_dict": "the same",
    "config.TrainConfig.rate": "runs inside a training step",
    "corpus.Tokenizer.show": "decode, of one token, checks it",
    "corpus.Tokenizer.one": "encode checks the text", "corpus.Tokenizer.context": "encode checks the text",
    "interop.from_transformer_lens": "by hand, in test_interop.py",
    "playground.playground": "by hand, in test_playground.py",
    "figures.quiz.quiz": "by hand, in test_quiz.py: the quizzes that there are",
    "plots.titled": "makes a declaration",
    "colours.light": "a name of ours", "colours.style": "the same", "colours.variable": "read from a picture",
    "plots.ramp": "colours of ours", "plots.fit_page": "a hook of matplotlib's",
    "plots.for_both": "shows a figure of ours", "plots.narrow": "the same", "plots.folded": "words of ours",
    "plots.name_lines": "a part of our drawings", "plots.label_cell": "the same", "plots.keep_apart": "the same",
    "plots.box": "a part of our drawings", "plots.arrow": "a part of our drawings",
    "skip_trigrams.pair": "the step that per_source and largest share",
    "factored.FactoredMatrix.take": "by hand: numbers of rows that this matrix has",
    "factored.check_product": "a check", "model.check_place": "a check",
    "losses.next_token_loss": "runs inside a training step, which checks the tokens alone",
    "model.Cache.head_out": "by hand: a head of the model that ran",
    "model.Cache.mlp_out": "by hand: a layer of the model that ran",
    **{
        f"model.AttentionOnlyTransformer.{name}": "runs inside a training step, which checks the tokens alone"
        for name in ("forward", "stream", "run_with_cache", "run", "embed", "unembed", "read", "scores", "write")
    },
    **{
        f"transformer.Transformer.{name}": "the same"
        for name in (
            "run", "embed", "unembed", "read", "write", "pre_activations", "neurons", "write_neurons", "normalised",
        )
    },
    "transformer.rotated": "the same",
    "machine.stops": "what look gives", "machine.tell": "the same",
    "smollm2.load": "pick_device checks the device", "headlines.first_step": "reads the arrays of a log",
    "headlines.population": "reads what ships", "headlines.summary": "reads an entry of it",
    "headlines.final_loss": "the same",
    "figures.population.population_figure": "reads what ships", "figures.quiz.questions": "the same",
    **{
        f"training.{name}": "runs inside a training step"
        for name in ("HeadMuon.step", "Optimiser.step", "orthogonalise", "sample_windows")
    },
    "repeats.SmallConfig.to_dict": "takes nothing of the reader's", "repeats.run": "a part of a run of training",
    "clamping.run": "the same",
    "repeats.losses": "the same", "repeats.by_copy": "the same", "repeats.head_scores": "the same",
    "repeats.train": "the same", "markov.distance": "of what predictors gives",
    **{
        name: "a part of a run of training"
        for name in ("training.Optimiser.load", "training.make_card", "formation.Log.save", "formation.Meter.measure")
    },
    **{
        f"figures.{name}": "a part of a figure, on data that the figure has checked"
        for name in (
            "attention.looks", "composition.edges", "eigenvalues.number", "formation.running_mean",
            "formation.goal_cells", "host.visible", "host.text_ids", "host.joined", "host.code", "host.table",
            "host.words", "residual_stream.contributions", "term_importance.strongest", "public_heads.successors",
            "public_heads.patterns", "population.axis", "predict.predict_figure",
        )
    },
    **{
        f"grading.{name}": "a step of grading, between processes that take each other for hostile: in test_grading.py"
        for name in (
            "as_csv", "as_text", "answer.definitions", "answer.load", "confine.seal", "confine.limit", "confine.works",
            "judge.Answer.call", "judge.checkers", "judge.judge", "wire.pack", "wire.unpack", "wire.copy_back",
            "wire.send", "wire.receive",
        )
    },
    **{
        f"figures.induction_lab.{name}": "a part of the lab, for tests and the site's build"
        for name in ("ship", "whole_words", "repeated_pairs", "text_losses")
    },
}  # fmt: skip
# Arguments of which a declaration says nothing, and why.
ANYTHING = {
    "predict.reveal.truth": "by hand: one of the answers to its question",
    "claims.claim.value": "by hand: numbers, or tensors of them", "claims.claim.paper": "recorded as it is",
    "figures.attention.attention_figure.model": "by hand: its card is read by its name first",
    "figures.attention.attention_figure.head": "by hand: a head of this model, in three ways to write it",
    "figures.residual_stream.residual_stream_figure.tokens": "by hand: a text or ids, as long as this model reads",
    "figures.eigenvalues.eigenvalues_figure.first": "by hand: one of the heads given",
    "figures.skip_trigrams.skip_trigrams_figure.counts": "by hand: an array or a sparse table over the names",
}  # fmt: skip


def undeclared(module: types.ModuleType) -> Iterator[str]:
    """The public functions of a module, and the methods of its classes, that take something and declare nothing."""
    for name, value in vars(module).items():
        if name[0] == "_" or getattr(value, "__module__", "") != module.__name__:
            continue
        methods = {f"{name}.{key}": method for key, method in vars(value).items()} if inspect.isclass(value) else {}
        for each, function in (methods or {name: value}).items():
            if not inspect.isfunction(function) or "._" in each or hasattr(function, "declared"):
                continue
            if set(inspect.signature(function).parameters) - {"self", "cls"}:
                yield each


def modules() -> dict[str, types.ModuleType]:
    """The package's modules by their names in it; checkers have messages of their own, tests for them too."""
    found = (each.name for each in pkgutil.walk_packages(course_utils.__path__, "course_utils."))
    names = (name.removeprefix("course_utils.") for name in found)
    names = (name for name in names if name.split(".")[0] not in ("checks", "__main__", *BY_HAND))
    return {name: importlib.import_module(f"course_utils.{name}") for name in names}


MODULES = modules()
DECLARED = {
    f"{place}.{name}": function
    for place, module in MODULES.items()
    for owner in [module, *filter(inspect.isclass, vars(module).values())]
    if owner is module or owner.__module__ == module.__name__
    for key, function in vars(owner).items()
    for name in [key if owner is module else f"{owner.__name__}.{key}"]
    for function in [getattr(function, "__func__", function)]
    if hasattr(function, "declared") and function.__module__ == module.__name__ and key[0] != "_"
}


def test_every_public_function_declares_what_it_takes_or_there_is_a_reason():
    found = {f"{place}.{name}" for place, module in MODULES.items() for name in undeclared(module)}
    assert found == set(UNDECLARED)
    hints = {f"{name}.{key}": hint for name, each in DECLARED.items() for key, hint in each.declared.items()}
    assert [name for name, hint in hints.items() if hint is inspect.Parameter.empty] == []
    assert {name for name, hint in hints.items() if hint is Any} == set(ANYTHING)
    assert len(DECLARED) > 60


def test_a_function_that_declares_nothing_is_found():
    def bare(k):
        return k

    @checked
    def declares(k: int):
        return k

    def nothing():
        pass

    module = types.ModuleType("new")
    for function in (bare, declares, nothing):
        function.__module__ = "new"
        setattr(module, function.__name__, function)
    module.Thing = type("Thing", (), {"__module__": "new", "of": bare, "made": declares})
    assert list(undeclared(module)) == ["bare", "Thing.of"]


def bad(hint, good, sizes: set[str] = frozenset()) -> Iterator:
    """Values that a declaration refuses, made from it and from a good value; `sizes`: axes that are known elsewhere."""
    if type(None) in get_args(hint):
        yield from (value for value in bad(get_args(hint)[0], good, sizes) if value is not None)
        return
    hint, extras = (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
    kind, inner = get_origin(hint) or hint, get_args(hint)
    made = any(isinstance(each, Made) for each in extras)
    if hint is Any:
        return
    if not any(kind is each for each in (int, float, str, Literal)):
        yield object()
    if kind in (int, float, bool):
        yield from {int: (1.5, "1", True, None), float: ("1", math.nan, math.inf, True), bool: (1, "yes")}[kind]
    elif kind in (str, bytes):
        yield from (7, ["a"]) if kind is str else ("text",)
    elif kind is Literal:
        yield from ("no such thing", -1, None, [1])
    elif hasattr(hint, "dim_str"):
        yield from bad_arrays(hint, good, sizes, made)
    elif is_typeddict(hint):
        fields = get_type_hints(hint, include_extras=True)
        for key, each in fields.items():
            yield {name: value for name, value in good.items() if name != key}
            yield from (good | {key: value} for value in bad(each, good[key]))
    elif inner and kind is Mapping:
        key, value = next(iter(good.items()))
        yield from ({**good, key: each} for each in bad(inner[1], value, sizes))
        yield from ({each: value} for each in bad(inner[0], key) if not isinstance(each, list))
    elif inner and kind is tuple:
        yield good[:-1]
        for i, each in enumerate(inner):
            yield from ((*good[:i], value, *good[i + 1 :]) for value in bad(each, good[i], sizes))
    elif inner and kind in (Sequence, Iterable):
        yield "abc"
        yield from ([*good[:-1], value] for value in bad(inner[0], good[-1], sizes))
    for name, *given in (rule.of for rule in extras if isinstance(rule, Rule) and rule.of):
        if name is within and kind in (int, float):
            least, most, below = given
            yield from (least - 1, *([10**9] if most < 10**9 or (below and sizes >= LIMITS) else []))
        elif name is within and kind is not Any:
            yield np.full_like(good, given[0] - 1) if made and isinstance(good, list | np.ndarray) else good * 0 - 10**6
        elif name is FINITE.of[0]:
            yield np.full(np.shape(good), math.nan) if made else torch.full_like(good, math.nan)
        elif name is FILLED.of[0]:
            yield good[:0] if not isinstance(good, Mapping) else {}
        elif name is along:
            yield [*good, good[-1]]
        elif name is long:
            axis, least, most = given
            place = hint.dim_str.split().index(axis)
            yield np.take(good, range(least - 1), place) if made else good.narrow(place, 0, least - 1)


def bad_arrays(hint, good, sizes: set[str], made: bool) -> Iterator:
    yield "abc"
    axes = hint.dim_str.split()
    if scipy.sparse.issparse(good):
        yield from (good[:-1], good.astype(float), good.toarray(), good * 0)
    elif isinstance(good, Tensor):
        yield from (other for other in (good.bool(), good.float(), good.long()) if _dtype(other) not in hint.dtypes)
    if isinstance(good, Tensor) and axes and axes[0][0] not in "*.":
        yield from (good[None], good.flatten()[0])
    elif not scipy.sparse.issparse(good) and axes != ["..."]:
        yield from ([[[[good]]]], [["u"]])
    for place, axis in enumerate(axes, -len(axes)):
        if (axis in sizes or axes.count(axis) > 1 or axis.isdigit()) and not scipy.sparse.issparse(good):
            yield (
                torch.cat([good, good.narrow(place, 0, 1)], place)
                if isinstance(good, Tensor)
                else np.concatenate([np.asarray(good), np.take(good, [0], place)], place)
            )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


MODEL = AttentionOnlyTransformer.init(ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=9))
PUT_BACK = Transformer.init(TransformerConfig(norm="layer", n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=9))
LARGER = AttentionOnlyTransformer.init(ModelConfig(n_layers=1, n_heads=2, d_model=8, d_head=4, d_vocab=1024, n_ctx=128))
ROW, WIDE = torch.tensor([1, 2, 3]), FactoredMatrix(torch.ones(4, 2), torch.ones(2, 4))
TABLE = scipy.sparse.csr_array(np.ones((5, 5), dtype=np.int64) + np.diag([1, 1, 2, 3, 0]))
TOKENS, NAMES = torch.arange(8).view(2, 4), ["a", "b"]
LIMITS = set(vars(MODEL.cfg))  # known in a call with a model
CACHE, STREAM = MODEL.run_with_cache(TOKENS)[1], torch.ones(2, 4, 12)
SQUARE = [[0.1, 0.2], [0.3, 0.4]]
PAIRS = {kind: SQUARE for kind in "QKV"}
STEP = {"at": 1, "look": [(0, 0.5)], "carried": [(1, 0, 0.5)], "copied": "a", "right": True, "caption": "One."}
LOG = {
    "tokens_per_step": 9, "eval_step": [0, 1], "validation_loss": [3, 2], "in_context": [0, 0],
    "previous_token": np.ones((2, 1, 2)), "prefix_matching": np.ones((2, 1, 2)), "snap_step": [0],
    "pattern": np.ones((1, 1, 2, 2, 2)),
}  # fmt: skip
# A good value of each argument, by its name; of a function's own, by the function's.
GOOD = {
    "model": MODEL, "layer": 0, "head": 0, "k": 1, "ids": torch.tensor([0, 1, 2, 3, 0, 4, 5]), "n_ctx": 3,
    "starts": torch.tensor([1]), "start_id": 0, "text": "a text", "texts": ["a text"], "d_vocab": 1024, "full": False,
    "check": False,
    "split": "validation", "encoded": [[1, 2], [3]], "least": 100, "counts": TABLE, "name": "mine", "raw": b"raw",
    "discounts": (0.5, 0.5, 0.5), "log_probs": bigrams.uniform(5), "A": torch.ones(5, 2), "B": torch.ones(2, 5),
    "matrix": torch.ones(4, 4), "rank": 2, "seed": 0, "qk": WIDE, "ov": WIDE, "source": ROW, "destination": ROW,
    "span": 2, "occasions": ROW, "hits": ROW, "windows": TOKENS, "tokens": TOKENS, "batch": 2, "n": 2,
    "shortest": 4, "longest": 9, "losses": torch.zeros(2, 255), "document": [0, 1], "draws": 5, "values": [1.0, 2.0],
    "seconds": 1.0, "memory": 1.0, "jobs": 1, "trust": False,
    "device": None, "folder": "nowhere", "path": "nothing", "card": {}, "sha256": None, "tensors": {}, "metadata": None,
    "label": "x", "rows": NAMES, "columns": NAMES, "centred": False, "ax": None, "names": NAMES, "top": 1.0,
    "groups": {"g": ([["x"], ["y"]], [[1.0], [2.0]])}, "eigenvalues": {"a": [1, 1j]}, "baseline": {"a": [1j]},
    "bins": 5, "xlabel": "x", "ylabel": "y", "colours": None, "n_heads": 2, "width": 1.0, "height": 1.0,
    "patterns": {"a": SQUARE}, "key": "02.x", "tolerance": 0.0, "says": "so", "bits": 8, "files": "../lab",
    "steps": [STEP], "interesting": [" def"], "carried": 5, "mode": "effect", "token": 1, "last": 4, "at": 1,
    "offer": [" self"], "outputs": torch.ones(2, 3),
    "scores": {"prefix_matching": torch.ones(2, 3), "previous_token": torch.ones(2, 3)},
    "measure": PAIRS, "effect": PAIRS, "spread": 0.1, "trained": {"a": WIDE}, "random": {"a": WIDE},
    "logs": {"a": LOG}, "circuits": {3: (SQUARE, SQUARE)}, "sources": {3: [0]}, "other": [1, 2, 3],
    "layers": {"alone": [1, 2], "beside": [1, 2]}, "heads": {"direct": SQUARE, "real": SQUARE}, "virtual": SQUARE,
    "cache": CACHE, "x": STREAM, "stream": STREAM, "pattern": CACHE.pattern, "resid_parts": {"a": STREAM}, "dim": 0,
    "earlier": (0, 0), "later": (1, 0), "side": "K", "paths": [((0, 0), (1, 0), "K")], "means": torch.ones(2, 3, 4),
    "first": WIDE, "then": WIDE, "logits": torch.ones(2, 4, 17), "role": "induction", "row_topk": WIDE.row_topk(1),
    "model_cfg": MODEL.cfg, "cfg": TrainConfig(1), "out": "nowhere", "resume": False, "save_every": 1, "stop_at": None,
    "command": "", "d_model": 2, "rate": 0.1, "holdout": TABLE, "check_every": 1, "reason": "so", "positions": 0.5,
    "pool": ROW, "ablated": [(0, 0)], "most": 2, "kept": {"k": [1]}, "order": torch.tensor([1, 0]), "edit": None,
    "counted": TOKENS > 0, "rungs": {"a": {"k": [1]}}, "resamples": 1, "whole": [1.0, 2.0], "scrubbed": [3.0, 4.0],
    "rung": [2.0, 3.0], "sums": [1.0, 2.0], "sizes": [3, 4], "resid": CACHE.resid, "instead": "zero",
    "part_of": STREAM, "settings": RepeatsConfig(),
    "constant": SQUARE, "apart": [1, 2], "paper": {"falls": [1, 2, 3], "alone": [1, 2], "beside": [1, 2]},
}  # fmt: skip
OWN = {
    **{f"interventions.{name}": {"heads": [(0, 0)]} for name in ("ablate", "run_without")},
    "interventions.pattern_without": {"earlier": [(0, 0)]}, "interventions.path_effects": {"layer": 1},
    "circuits.composition.composition_scores": {"layer": 1},
    "circuits.positivity.positivity": {"eigenvalues": ROW + 0.5},
    "circuits.qk_ov.centre": {"values": STREAM}, "circuits.kronecker.through_head": {"pattern": CACHE.pattern[0, :, 0]},
    **{f"repeats.{name}": {"stream": 1} for name in ("uniform", "sequences")},
    "repeats.train_on_repeats": {"steps": 1, "every": 1, "stop": True},
    "markov.chains": {"settings": MarkovConfig(), "stream": 1},
    "markov.predictors": {"settings": MarkovConfig(d_vocab=17)},
    "markov.train_on_chains": {"settings": MarkovConfig(n_ctx=8, batch=2), "steps": 1, "every": 1},
    "continuations.continue_greedily": {"steps": 1}, "transformer.fold_norms": {"model": PUT_BACK},
    "formation.snapshot_steps": {"steps": 1}, "training.train_on_bigrams": {"steps": 1},
    "model.AttentionOnlyTransformer.init": {"cfg": MODEL.cfg}, "transformer.class_of": {"cfg": MODEL.cfg},
    **{f"skip_trigrams.{name}": {"out": ROW} for name in ("count", "lift", "control_sources")},
    "claims.claim": {"value": 1.0, "paper": None}, "bigrams.uniform": {"d_vocab": 5},
    "bigrams.table": {"d_vocab": 5}, "corpus.count_bigrams": {"d_vocab": 9},
    "plots.heatmap": {"values": SQUARE}, "plots.tables": {"values": {"a": SQUARE}},
    "plots.histogram": {"values": {"a": [1.0, 2.0]}}, "plots.attention": {"columns": 1},
    "plots.complex_plane": {"columns": 1}, "plots.largest_terms": {"values": SQUARE, "count": 1},
    "scores.bootstrap": {"document": [0, 1]},
    "scores.in_context_score": {"document": ROW[:2]}, "scores.prefix_matching_scores": {"model": LARGER},
    "scores.composition_shares": {"layer": 1},
    "causal_scrubbing.scrub": {"layer": 1, "heads": [0]}, "causal_scrubbing.ladder": {"heads": [0]},
    "figures.attention.attention_figure": {"model": LARGER, "texts": {"a": "text"}},
    "figures.residual_stream.residual_stream_figure": {"model": LARGER, "tokens": "a text", "at": 0},
    "figures.bigrams.bigrams_figure": {"log_probs": torch.ones(5, 5)},
    "roles.heads_by": {"table": torch.tensor([[0.1, 0.5]]), "least": 0.3},
    "figures.composition.composition_figure": {"baseline": 0.1, "least": 0.1},
    "figures.term_importance.term_importance_figure": {"losses": [4, 3, 2, 1]},
    "figures.formation.formation_figure": {"tokens": {"a": NAMES}},
    "figures.induction_at_work.induction_at_work_figure": {"tokens": NAMES, "start": 0},
    "figures.shaded.shaded_texts": {
        "panels": {"a": {"tokens": NAMES, "values": [0.0] * len(NAMES), "query": 0, "looks": {1: 0.5}, "says": "x"}},
        "most": 1,
    },
    "figures.skip_trigrams.skip_trigrams_figure": {"counts": np.ones((2, 2))},
    "figures.eigenvalues.eigenvalues_figure": {"first": None},
    "predict.predict": {
        "key": "02.q", "question": "Which?", "choices": NAMES, "number": (0, 1), "unit": "nats", "step": 0.1,
        "curve": ("step", "loss"), "x": (0, 1), "y": (0, 1), "cell": (NAMES, NAMES),
    },
    "predict.reveal": {"guess": Guess({"key": "02.q", "kind": "choices", "choices": NAMES}), "truth": "a"},
}  # fmt: skip


OWNERS = {"Tokenizer": corpus.load_tokenizer(), "FactoredMatrix": WIDE, "AttentionOnlyTransformer": MODEL}


def axes_of(hint) -> set[str]:
    """The named axes of the arrays in a declaration."""
    own = {axis for axis in getattr(hint, "dim_str", "").split() if axis[0] not in "*._"}
    rules = (each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Rule))
    lists = (each.of[1] for each in rules if each.of[:1] == (along,))
    inner = (*get_args(hint), *(get_type_hints(hint, include_extras=True).values() if is_typeddict(hint) else ()))
    return own.union(lists, *(axes_of(each) for each in inner))


@pytest.mark.parametrize("name", DECLARED)
def test_values_that_a_declaration_refuses_are_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, tried = DECLARED[name], 0
    good = {key: OWN.get(name, {}).get(key, GOOD.get(key)) for key in function.declared}
    owner = (OWNERS[name.split(".")[-2]],) if {"self", "cls"} & set(inspect.signature(function).parameters) else ()
    model = next((each for each in (*owner, good.get("model")) if hasattr(each, "cfg")), None)
    known = dict(vars(model.cfg)) if model else {"d_vocab": 4096} if "decode" in name else {}
    for key, hint in function.declared.items():
        check(key, good[key], hint, known)  # so that what is refused below is refused for the value tried
    for key, hint in function.declared.items():
        others = set().union(*(axes_of(each) for other, each in function.declared.items() if other != key))
        sizes = others | (LIMITS if model else set())
        for value in bad(hint, good[key], sizes):
            tried += 1
            with pytest.raises(CourseError) as caught:
                function(*owner, **good | {key: value})
            said = caught.value
            shares = [other for other, each in function.declared.items() if axes_of(each) & axes_of(hint)]
            assert any(said.what.removeprefix("a name in ").startswith(each) for each in [key, *shares]), (value, said)
            assert len(said.rule) > 5 and len(said.remedy) > 5 and str(said).count("\n") == 0
    assert tried or all(hint is Any or get_args(hint)[:1] == (Any,) for hint in function.declared.values())


CALLS = {
    # models
    "load_model('two-layer', folder=tmp / 'no')": "model 'two-layer'",
    "load_model('zero-layer', device='gpu')": "device 'gpu'",
    # devices
    "pick_device(3)": "device 3",
    "pick_device('cuda:x')": "device 'cuda:x'",
    "pick_device(['cpu'])": "device ['cpu']",
    "pick_device('meta')": "device 'meta'",
    # text
    "load_tokenizer().encode_batch(['a', None])": "text is None",
    "load_tokenizer().show('a')": "ids is ['a']",
    "load_tokenizer().show(9999)": "from 9999 to 9999",
    "corpus.documents(torch.arange(1, 4))": "a text of 3 tokens",
    "corpus.count_bigrams(tensor([1, 9]), 4)": "from 1 to 9",
    "corpus.count_bigrams(tensor([1, -2, 3]), 9)": "from -2 to 3",
    "corpus.count_bigrams(tensor([1, 2]), 0)": "d_vocab is 0",
    "corpus.read('nothing')": "nothing",
    "corpus.read('.')": ".",
    # sizes and models
    "AttentionOnlyTransformer({'n_layers': 1})": "cfg is {'n_layers': 1}",
    "AttentionOnlyTransformer(None)": "cfg is None",
    "model.attention_scores(torch.ones(1, 10, 12), 0)": "x of shape [1, 10, 12]",
    "cache.head_out(2, 0)": "head[0] is 2",
    "cache.head_out(0, 5)": "head[1] is 5",
    "cache.head_out(0, -1)": "head[1] is -1",
    "cache.head_out('0', 0)": "head[0] is '0'",
    "cache.mlp_out(0)": "the output of an MLP",
    "with_mlps.mlp_out(1)": "layer is 1",
    "transformer.class_of('two-layer')": "cfg is 'two-layer'",
    "transformer.fold_norms(model)": "model is AttentionOnlyTransformer()",
    "load_model('smollm2-135m', device='gpu')": "device 'gpu'",
    # files of weights
    "checkpoints.load_card('nope')": "nope.json",
    "checkpoints.read_tensors('nope')": "nope",
    "checkpoints.read_about('nope')": "nope",
    "checkpoints.read_about(checkpoints.WEIGHTS / 'two-layer.safetensors')": "two-layer.safetensors",
    "checkpoints.write_tensors(tmp / 'a', {'a': 3})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens, 'b': tokens})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens.T})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens.clone()}, {'x': 3})": "tensors for a",
    "checkpoints.save_model(model, 'x', {'a': object()}, tmp)": "the card of x",
    # circuits
    "circuits.qk_circuit(headless, 0, 0)": "layer is 0",
    "circuits.centre(torch.ones(2), 1)": "dim is 1",
    "circuits.stream_parts(model, cache, 3)": "layer is 3",
    "circuits.stream_parts(model, cache, -1)": "layer is -1",
    "circuits.composition_baseline(headless)": "layer is 1",
    "circuits.composition(wide, wide)": "a product of shapes [4, 3] and [4, 3]",
    # scores and interventions
    "scores.prefix_matching_scores(model)": "d_vocab is 17",
    "interventions.run_without(model, tokens, (0, 1))": "heads[0] is 0",
    "interventions.run_without(model, tokens, paths=[((1, 0), (0, 0), 'K')])": "a path from layer 1 to layer 0",
    "interventions.run_without(model, torch.ones(1, 12, dtype=torch.long))": "tokens of shape [1, 12]",
    # low-rank matrices
    "FactoredMatrix(torch.ones(3), torch.ones(3))": "A of shape [3]",
    "FactoredMatrix([1], [2])": "A is [1]",
    "FactoredMatrix(torch.ones(2, 2), torch.ones(2, 2).double()).AB": "factors of torch.float32 and torch.float64",
    "wide @ wide": "a product of shapes [4, 3] and [4, 3]",
    "wide @ [1]": "a side of a product is [1]",
    "torch.ones(3, 3) @ wide": "a product of shapes [3, 3] and [4, 3]",
    "wide.trace()": "a matrix of shape [4, 3]",
    "wide.eigenvalues()": "a matrix of shape [4, 3]",
    "wide.take(tensor([9]))": "rows of shape [1], torch.int64, from 9 to 9",
    "wide.take([0, 9])": "rows is [0, 9]",
    "wide.take(columns=tensor([7]))": "columns of shape [1]",
    "wide.largest(99)": "k is 99",
    # skip-trigrams
    "skip_trigrams.of_head(model, 0, 0, 5)": "d_vocab is 17",
    "skip_trigrams.per_source(wide, wide, 2)": "tables of shapes [4, 3] and [4, 3]",
    "skip_trigrams.largest(wide, wide, 2)": "tables of shapes [4, 3] and [4, 3]",
    "skip_trigrams.control_sources(tensor([0]), tensor([1]), tensor([2]))": "source 0",
    "skip_trigrams.listed(headless, torch.arange(5), 3)": "n_layers is 0",
    # bigrams
    "bigrams.kneser_ney(counts)": "25, 0 and 0 such pairs",
    "bigrams.truncated_svd(torch.ones(4, 4), 9)": "rank is 9",
    "bigrams.table(bigrams.uniform(5), 6)": "a bigram model of 5 tokens",
    "bigrams.loss(bigrams.uniform(4), counts)": "a bigram model of 4 tokens",
    # pictures
    "plots.tables({'a': [[float('nan')]]}, ['a'], label='x')": "tables without a finite number",
    "figures.token_rows(['a'], {'g': ([['x']], [[1, 2]])}, label='x')": "groups['g'][0]",
    "plots.complex_plane({'a': [1]}, {'b': [1]})": "a baseline without 'a'",
    "plots.histogram({'a': [1]}, 0, xlabel='x')": "bins is 0",
    # claims
    "claim('02.x', float('nan'), tolerance=0, says='x')": "02.x is nan",
    "claim('02.x', 1, tolerance=0, says='x')": "02.x",
    "claim('02.x', 'abc', tolerance=0, says='x')": "02.x is 'abc'",
    "claim('02.x', None, tolerance=0, says='x')": "02.x is None",
    "claim('02.loss.zero_layer', [], tolerance=1, says='x')": "02.loss.zero_layer is []",
    "claim('02.loss.zero_layer', 1j, tolerance=1, says='x')": "02.loss.zero_layer is 1j",
    "claim('02.x', [[1], [1, 2]], tolerance=1, says='x')": "02.x is [[1], [1, 2]]",
    # training
    "training.train('a/b', None, None, tmp)": "name is 'a/b'",
    "training.train('a', headless.cfg, TrainConfig(1), tmp)": "n_layers is 0",
    "training.sample_windows(tokens[0], tokens[0, :0], 4, TrainConfig(1), 0)": "the number of starts is 0",
    "skip_trigrams.circuits_of_common_tokens(model, 0, 0)": "d_vocab is 17",
    "training.train_on_bigrams(2, 1, counts=counts, holdout=counts[:2, :2])": "counts of shape [5, 5]",
    "losses.next_token_loss(model, tokens[:, :2])": "tokens of shape [2, 2]",
    "losses.next_token_loss(model, tokens, 0)": "chunk is 0",
    "training.orthogonalise(torch.ones(3))": "X of type Tensor",
    "training.orthogonalise([1])": "X of type list",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> dict:
    """What the calls in the table are made of."""
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=9))
    tokens = torch.arange(8).view(2, 4)
    return {
        **{name: getattr(course_utils, name) for name in course_utils.__all__},
        **{name: importlib.import_module(f"course_utils.{name}") for name in (*MODULES, *BY_HAND)},
        "TrainConfig": TrainConfig, "FactoredMatrix": FactoredMatrix, "torch": torch, "tensor": torch.tensor, "np": np,
        "model": model, "tokens": tokens, "cache": model.run_with_cache(tokens)[1],
        "with_mlps": Transformer.init(TransformerConfig(1, 3, 12, 4, 17, 9, mlp="gelu")).run_with_cache(tokens)[1],
        "headless": AttentionOnlyTransformer.init(ModelConfig(0, 3, 12, 4, 17, 9)),
        "wide": FactoredMatrix(torch.ones(4, 2), torch.ones(2, 3)),
        "square": FactoredMatrix(torch.ones(4, 2), torch.ones(2, 4)),
        "counts": scipy.sparse.csr_array(np.ones((5, 5), dtype=np.int64)),
        "tmp": tmp_path_factory.mktemp("bad"),
    }  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_call_with_bad_input_says_what_is_wrong(call, names):
    with pytest.raises(CourseError) as caught:
        eval(call, names)
    error = caught.value
    plt.close("all")
    assert CALLS[call] in error.what, error
    assert len(error.rule) > 5 and len(error.remedy) > 5 and str(error).count("\n") == 0


COMMANDS = {
    "train one-layer --steps 0": "steps is 0",
    "train one-layer --batch -4": "batch is -4",
    "train one-layer --seed -1": "seed is -1",
    "train two-layer --lr nan": "lr is nan",
    "train two-layer --lr-adam inf": "lr_adam is inf",
    "train two-layer --weight-decay -1": "weight_decay is -1",
    "train one-layer --text shipped --save-every 0": "save_every is 0",
    "train one-layer --text shipped --out {file}": "{file}",
    "train zero-layer --out {file}/below": "{file}",
    "train one-layer --text full --out {folder}/new": "full training text",
    "workshop --out {file}": "{file}",
    "workshop --out {full}": "{full}",
    "progress": "progress.json",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_bad_input_says_so_in_one_line(command, tmp_path, monkeypatch, capsys):
    places = {"file": tmp_path / "file", "folder": tmp_path, "full": tmp_path / "full"}
    places["file"].write_text("a file")
    places["full"].mkdir()
    (places["full"] / "mine.txt").write_text("not to be deleted")
    (tmp_path / "progress.json").write_text("{}")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(corpus, "FULL", tmp_path / "nothing")
    (tmp_path / "_build/html").mkdir(parents=True)
    (tmp_path / "_build/html/index.html").write_text("<!doctype html>")
    if command.startswith("workshop"):
        monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    assert commands.main(command.format(**places).split()) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("Error: ") and "Remedy:" in said[-1] and not any("Traceback" in line for line in said)
    assert COMMANDS[command].format(**places) in said[-1]
    assert (places["full"] / "mine.txt").exists()


@pytest.mark.parametrize(("device", "word"), [("banana", "banana"), ("cuda:99", "cuda:99"), ("meta", "meta")])
def test_a_bad_device_in_the_environment(device, word, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DEVICE", device)
    assert commands.main(["train", "one-layer", "--text", "shipped", "--out", str(tmp_path)]) == 1
    assert word in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_chapter_that_is_no_notebook(tmp_path):
    path = tmp_path / "01.ipynb"
    path.write_text("{")
    for what in (lambda: notebooks.normalise([path]), lambda: notebooks.problems(path)):
        with pytest.raises(CourseError, match="01.ipynb"):
            what()
    with pytest.raises(CourseError, match="_toc.yml"):
        notebooks.pages(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="there is no built site"):
        workshop.build(tmp_path / "out", tmp_path / "nowhere")
