"""Bad input, from one table: each gives a clear error of our own that names value, rule and remedy."""

import inspect
import json

import pytest
import torch

from course_utils import (
    checkpoints,
    corpus,
    load_model,
    load_text,
    load_tokenizer,
    losses,
    pick_device,
    scores,
    windows,
)  # fmt: skip
from course_utils.config import ModelConfig, TrainConfig
from course_utils.errors import CourseError
from course_utils.training import train


def test_an_error_says_what_the_rule_and_the_remedy():
    error = CourseError("d_model is -3", "it must be a positive integer", "pass d_model=384")
    assert str(error) == "d_model is -3: it must be a positive integer. Remedy: pass d_model=384."
    assert (error.what, error.rule, error.remedy) == (
        "d_model is -3", "it must be a positive integer", "pass d_model=384"
    )  # fmt: skip
    assert isinstance(error, ValueError)


@pytest.fixture
def model(make_model):
    """Tokens 0 to 16, contexts of 9 at most."""
    return make_model(dtype=torch.float32)


TOKENS = {
    "an id too high": (torch.tensor([[1, 17]]), ["17", "0 to 16"]),
    "an id below 0": (torch.tensor([[1, -1]]), ["-1", "0 to 16"]),
    "a context too long": (torch.zeros(1, 10, dtype=torch.long), ["10", "9"]),
    "no batch axis": (torch.tensor([1, 2]), ["[2]", "[batch, pos]"]),
    "one axis too many": (torch.zeros(1, 1, 2, dtype=torch.long), ["[1, 1, 2]", "[batch, pos]"]),
    "no tokens": (torch.zeros(1, 0, dtype=torch.long), ["[1, 0]", "1 to 9 along pos"]),
    "no rows": (torch.zeros(0, 5, dtype=torch.long), ["[0, 5]", "1 or more along batch"]),
    "numbers with a point": (torch.zeros(1, 2), ["torch.float32", "integer"]),
    "truth values": (torch.zeros(1, 2, dtype=torch.bool), ["torch.bool", "integer"]),
    "a list": ([[1, 2]], ["[[1, 2]]", "a Tensor"]),
    "a text": ("def mean(values):", ["mean(values)", "a Tensor"]),
}


@pytest.mark.parametrize("run", [lambda m, t: m(t), lambda m, t: m.run_with_cache(t)], ids=["forward", "cache"])
@pytest.mark.parametrize("name", TOKENS)
def test_tokens(model, run, name):
    tokens, words = TOKENS[name]
    with pytest.raises(CourseError) as caught:
        run(model, tokens)
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value


def damaged(folder, change):
    """A model in `folder` after `change` was made to its files."""
    checkpoints.save_model(_small(), "small", {}, folder)
    change(folder / "small.safetensors", folder / "small.json")
    return load_model("small", folder=folder)


def _small():
    return checkpoints.AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 8, 4))


def cut(weights, card):
    weights.write_bytes(weights.read_bytes()[:-7])


def another_hash(weights, card):
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": "0" * 64}))


def another_shape(weights, card):
    changed = json.loads(card.read_text())
    changed["config"]["d_vocab"] = 9
    card.write_text(json.dumps(changed))


INPUT = {
    "an unknown model": (lambda _: load_model("three-layer"), ["three-layer"]),
    "a truncated checkpoint": (lambda folder: damaged(folder, cut), ["small.safetensors"]),
    "a checkpoint with another hash": (lambda folder: damaged(folder, another_hash), ["small.safetensors", "SHA-256"]),
    "a checkpoint of another shape": (lambda folder: damaged(folder, another_shape), ["W_E", "[8, 4]", "[9, 4]"]),
    "a folder without models": (lambda folder: load_model("mine", folder=folder), ["'mine'", "['smollm2-135m']"]),
    "a device by number": (lambda _: pick_device("cuda:9"), ["cuda:9"]),
    "a device by name": (lambda _: pick_device("banana"), ["banana"]),
    "an unknown split": (lambda _: load_text("test"), ["'test'", "validation"]),
    "an unknown vocabulary": (lambda _: load_tokenizer(2048), ["2048", "1024"]),
    "text as bytes": (lambda _: load_tokenizer().encode(b"caf\xc3\xa9"), ["bytes", "str"]),
    "text that is no Unicode": (lambda _: load_tokenizer().encode("caf\udce9"), ["surrogate", "3"]),
    "texts that are no Unicode": (lambda _: load_tokenizer().encode_batch(["a", "caf\udce9"]), ["surrogate", "3"]),
    "no text": (lambda _: load_tokenizer().encode(None), ["None", "string"]),
    "an id that no token has": (lambda _: load_tokenizer(1024).decode([5, 1024]), ["1024", "1023"]),
    "an id below 0": (lambda _: load_tokenizer().decode([-1]), ["-1", "4095"]),
    "windows of an empty text": (lambda _: windows(torch.tensor([], dtype=torch.long), 8), ["0 tokens", "7"]),
    "windows of an empty list": (lambda _: windows(load_tokenizer().encode(""), 8), ["0 tokens", "7"]),
    "windows of a short text": (lambda _: windows(torch.tensor([0, 1, 2, 0, 3]), 4), ["5 tokens", "3"]),
    "windows of one token": (lambda _: windows(torch.arange(9), 1), ["n_ctx is 1"]),
    "windows of rows": (lambda _: windows(torch.ones(2, 9, dtype=torch.long), 4), ["[2, 9]"]),
    "windows of numbers with a point": (lambda _: windows(torch.ones(9), 4), ["torch.float32"]),
    "windows that begin where no context fits": (
        lambda _: windows(torch.tensor([0, 1, 2, 0, 3]), 3, starts=torch.tensor([2])), ["2", "start"],
    ),
    "windows that begin beyond the end": (
        lambda _: windows(torch.tensor([0, 1, 2, 0, 3]), 3, starts=torch.tensor([4])), ["4", "start"],
    ),
    "losses of no windows": (
        lambda _: losses.loss_by_position(_small(), torch.zeros(0, 4, dtype=torch.long)), ["[0, 4]"],
    ),
    "losses of one window without its axis": (
        lambda _: losses.mean_loss(_small(), torch.zeros(4, dtype=torch.long)), ["[4]"],
    ),
    "an in-context score of short windows": (
        lambda _: scores.in_context_score(torch.zeros(5, 127), torch.arange(5)), ["127", "256"],
    ),
    "repeats of nothing": (lambda _: scores.repeated_tokens(1024, shortest=0), ["shortest is 0", "1"]),
    "repeats the wrong way round": (lambda _: scores.repeated_tokens(1024, shortest=9, longest=5), ["9 to 5"]),
    "a size below 1": (lambda _: ModelConfig(d_head=0), ["d_head is 0", "1"]),
    "a size that is no integer": (lambda _: ModelConfig(n_heads=1.5), ["n_heads is 1.5", "integer"]),
    "steps below 1": (lambda _: TrainConfig(steps=0), ["steps is 0"]),
    "a rate that is no number": (lambda _: TrainConfig(steps=1, lr=float("nan")), ["lr is nan"]),
    "an unknown text to train on": (lambda _: TrainConfig(steps=1, text="mine"), ["'mine'", "shipped"]),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUT)
def test_input(tmp_path, name):
    build, words = INPUT[name]
    with pytest.raises(CourseError) as caught:
        build(tmp_path)
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value


def test_the_full_text_before_it_was_built(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "FULL", tmp_path)
    with pytest.raises(CourseError, match="full training text.*Remedy:.*course_utils corpus"):
        inspect.unwrap(corpus.load_text)("train", 4096, True)


def test_a_shipped_file_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "DATA", tmp_path)
    with pytest.raises(CourseError, match="manifest.json.*Remedy:"):
        corpus.manifest()


@pytest.mark.parametrize("change", ["cut", "damaged"])
def test_a_shipped_text_that_is_damaged(monkeypatch, tmp_path, change):
    raw = bytearray((corpus.DATA / "validation.u16.xz").read_bytes())
    if change == "cut":
        raw = raw[: len(raw) // 2]
    else:
        raw[5000] ^= 255
    (tmp_path / "validation.u16.xz").write_bytes(raw)
    monkeypatch.setattr(corpus, "DATA", tmp_path)
    monkeypatch.setattr(corpus, "load_tokenizer", lambda d_vocab: None)
    with pytest.raises(CourseError, match="validation.u16.xz.*Remedy:"):
        inspect.unwrap(corpus.load_text)("validation")


def test_a_training_state_of_another_kind(tmp_path, text_is_small):
    sizes, cfg = ModelConfig(1, 1, 8, 8, 1024, 64), TrainConfig(steps=2, batch=2, d_vocab=1024, text="shipped")
    (tmp_path / "mine.state.safetensors").write_bytes(b"not a state")
    with pytest.raises(CourseError, match="mine.state.safetensors.*Remedy:"):
        train("mine", sizes, cfg, tmp_path, resume=True)


def test_an_error_of_another_process_is_the_same_error():
    error = CourseError("d_model is -3", "it must be positive", "pass 384")
    make, given = error.__reduce__()
    assert str(make(*given)) == str(error) and make(*given).remedy == "pass 384"
