"""What the unit tests share: small models with random weights, and a small text."""

import collections
import json

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from jupyter_client.manager import start_new_kernel

from course_utils import corpus
from course_utils.config import PUT_BACK, ModelConfig, TransformerConfig
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import Transformer

# What can be put back, each by itself and together: those of chapter 11, and others that the code knows.
TRANSFORMERS = PUT_BACK | {
    "rms": {"norm": "rms"},
    "rms and gated": {"norm": "rms", "mlp": "gated"},
    "layer, biases and gated": {"norm": "layer", "biases": True, "mlp": "gated"},
    "as Llama": {"norm": "rms", "mlp": "gated", "positions": "rotary"},
    "as GPT-2": {"norm": "layer", "biases": True, "mlp": "gelu", "positions": "stream"},
    "norm, its biases, smeared keys": {"norm": "layer", "biases": True, "smeared_keys": True},
}

# The machine is shared and slow at times: no deadlines. Few examples of small shapes find what there is to find.
settings.register_profile(
    "course", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("course")


@pytest.fixture
def made_of_missing(tmp_path, monkeypatch):
    """A function that has a command train the one run that a record of many lacks, and gives what is recorded of it."""

    def train(command, names: list[str], missing: str, steps: int) -> dict:
        record, path = {name: {"kept": name} for name in names if name != missing}, tmp_path / "record.json"
        assert len(record) == len(names) - 1
        path.write_text(json.dumps(record), "utf-8")
        monkeypatch.setattr("sys.argv", ["command", "--record", str(path), "--steps", str(steps), "--jobs", "1"])
        command.main()
        found = json.loads(path.read_text("utf-8"))
        made = found.pop(missing)
        assert found == record
        return made

    return train


@pytest.fixture(scope="session")
def in_a_kernel():
    """A function that runs a cell in a notebook's kernel, with a reader or without, and gives its messages by kind."""

    def run(cell: str, reader: bool) -> dict[str, list[dict]]:
        manager, client = start_new_kernel(kernel_name="python3")
        said = collections.defaultdict(list)
        try:
            hear = lambda message: said[message["msg_type"]].append(message["content"])  # noqa: E731
            client.execute_interactive(cell, allow_stdin=reader, output_hook=hear, timeout=120)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        return said

    return run


@pytest.fixture(scope="session")
def make_model():
    """A function that gives a model in float64 whose heads look at some tokens much more than at others."""

    def make(seed: int = 0, dtype=torch.float64, **sizes) -> AttentionOnlyTransformer:
        standard = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 4, "d_vocab": 17, "n_ctx": 9}
        model = AttentionOnlyTransformer.init(ModelConfig(**standard | sizes), seed).to(dtype)
        with torch.no_grad():
            for weight in (model.W_Q, model.W_K, model.W_V, model.W_O):
                weight *= 2
        return model.requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def make_transformer():
    """A function that gives such a model with something put back, its norms' weights and its biases drawn, too."""

    def make(seed: int = 0, dtype=torch.float64, **settings) -> Transformer:
        standard = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 4, "d_vocab": 17, "n_ctx": 9, "d_mlp": 10}
        model = Transformer.init(TransformerConfig(**standard | settings), seed).to(dtype).requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.named_parameters():
            if name in ("W_Q", "W_K", "W_V", "W_O"):
                weight *= 2
            elif not name.startswith("W_"):
                weight += torch.randn(weight.shape, generator=generator) / 3
        return model

    return make


@pytest.fixture(params=TRANSFORMERS)
def put_back(request):
    """The settings of each kind of model in turn."""
    return TRANSFORMERS[request.param]


@pytest.fixture(scope="session")
def model_sizes():
    """A hypothesis strategy for the sizes of small models, zero layers and one-token vocabularies included."""
    return st.fixed_dictionaries(
        {
            "n_layers": st.integers(0, 3),
            "n_heads": st.integers(1, 3),
            "d_model": st.integers(1, 8),
            "d_head": st.integers(1, 5),
            "d_vocab": st.integers(1, 9),
            "n_ctx": st.integers(1, 7),
        }
    )


@pytest.fixture(scope="session")
def tokens_for():
    """A function that draws random tokens for a model, as long as its context unless told otherwise."""

    def draw(model: AttentionOnlyTransformer, seed: int = 0, batch: int = 2, pos: int | None = None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(model.cfg.d_vocab, (batch, pos or model.cfg.n_ctx), generator=generator)

    return draw


@pytest.fixture(scope="session")
def small_texts():
    """A few shipped documents, as strings."""
    tokenizer = corpus.load_tokenizer()
    return [tokenizer.decode(ids) for ids in corpus.documents(corpus.load_text("validation"))[:30]]


@pytest.fixture(scope="session")
def small_text(small_texts):
    """The same as token ids of vocabulary 1024, each document after a start token."""
    return corpus.join(corpus.load_tokenizer(1024).encode_batch(small_texts))


@pytest.fixture
def text_is_small(monkeypatch, small_text):
    """Training and measuring read the small text: loading the shipped one takes seconds."""
    monkeypatch.setattr(corpus, "load_text", lambda split, d_vocab=4096, full=False: small_text)
