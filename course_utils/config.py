"""Sizes of a model and settings of a training run, each with the reason for its default; and what has a model's sizes.

The latter are declarations for `checked`: in a call with a model, its sizes hold.
"""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal, Protocol, runtime_checkable

from jaxtyping import Float, Integer
from torch import Tensor

from course_utils.checked import check_fields, long, within
from course_utils.errors import CourseError

Count = Annotated[int, within(1)]
Step = Annotated[int, within(0)]
Rate = Annotated[float, within(0)]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of an attention-only transformer ([E21], "Model Simplifications")."""

    n_layers: Annotated[int, within(0)] = 2
    n_heads: Count = 12  # per layer; the paper's counts (12, 24, 144) are of 12 heads
    d_model: Count = 384  # width of the residual stream = n_heads * d_head, as in the paper
    d_head: Count = 32
    d_vocab: Count = 4096  # byte-pair tokens, the start token included
    n_ctx: Count = 256  # longest context, the start token included
    smeared_keys: bool = False  # each key mixed with the one before it ([O22], "Smeared Keys"): chapter 10 only

    __post_init__ = check_fields
    to_dict = asdict


@dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """Sizes of a transformer with what the paper leaves out put back: each by itself, or together (chapter 11)."""

    norm: Literal["none", "layer", "rms"] = "none"  # before the heads, before the MLP and before the unembedding
    biases: bool = False
    mlp: Literal["none", "gelu", "gated"] = "none"  # "gated": SwiGLU
    d_mlp: Count = 1024  # neurons of a layer
    positions: Literal["read", "stream", "rotary"] = "read"  # "read": by queries and keys, as in the paper
    rotary_base: Annotated[float, within(1)] = 10_000.0
    norm_eps: Rate = 1e-5
    n_key_heads: Count | None = None  # so many different W_K and W_V in a layer, each written out for its query heads

    def __post_init__(self) -> None:
        check_fields(self)
        if self.positions == "rotary" and self.d_head % 2:
            raise CourseError(
                f"d_head is {self.d_head}", "rotary positions turn pairs of coordinates", "use an even one"
            )


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Everything depends on the step, nothing on the clock."""

    steps: Count
    batch: Count = 16  # windows a step
    optimiser: Literal["muon", "adamw"] = "muon"  # of the matrices of heads and neurons; the rest is AdamW's
    lr: Rate = 4e-3  # of the matrices of heads and neurons, after warm-up
    lr_adam: Rate = 4e-3  # of the rest (embedding, positions, unembedding, biases, norms)
    weight_decay: Rate = 0.1  # of these matrices; keeps the heads', and so the sharpness of attention, in check
    warmup: Step = 200
    cooldown: Annotated[float, within(0, 1)] = 0.4  # last part of the run, over which the rate falls linearly to zero
    seed: Step = 0
    positions: Rate = 0.5  # spread of the initial W_pos: at 1 a previous-token head forms much sooner (chapter 10)
    eval_every: Count = 100  # steps between measurements for the log
    windows: Count = 1_000_000  # of validation text, at most, by which the card's loss is measured
    d_vocab: Count = 4096
    text: Literal["full", "shipped"] = "full"  # "full": all that `corpus` builds; "shipped": what comes with the course

    __post_init__ = check_fields

    def rate(self, step: int) -> float:
        """Factor on the learning rate at `step`: warm-up, constant, linear fall."""
        fall = max(1, round(self.steps * self.cooldown))
        return min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / fall)

    to_dict = asdict


@runtime_checkable
class Model(Protocol):
    """Whatever has the sizes of a model."""

    cfg: ModelConfig


AnyModel = Annotated[Model, "pass what load_model gives"]
Tokens = Annotated[
    Integer[Tensor, "batch pos"],
    long("batch"),
    long("pos", 1, "n_ctx"),
    within(below="d_vocab"),
    "pass torch.tensor(tokenizer.encode(text))[None], or cut it with course_utils.windows",
]
Stream = Annotated[Float[Tensor, "batch pos d_model"], long("pos", 1, "n_ctx"), "take one of cache.resid"]
Layer, HeadNumber = (Annotated[int, within(below=size), "choose one of these"] for size in ("n_layers", "n_heads"))
Later = Annotated[int, within(1, below="n_layers"), "use a model of two layers and layer=1"]  # with a layer before it
Head = Annotated[tuple[Layer, HeadNumber], "write (layer, head), e.g. (1, 6)"]
Side = Annotated[Literal["Q", "K", "V"], "use 'Q', 'K' or 'V': queries, keys or values"]
Pattern = Annotated[Float[Tensor, "n_layers batch n_heads pos pos"], "take cache.pattern of run_with_cache"]

SMALL = {"n_heads": 4, "d_model": 256, "d_head": 64, "d_vocab": 1024}
SMALL_RUN = {
    "steps": 2_000, "batch": 8, "lr": 6e-3, "lr_adam": 6e-3, "weight_decay": 0.0, "positions": 1.0, "eval_every": 50,
    "d_vocab": 1024, "text": "shipped",
}  # fmt: skip
RECIPES = {
    "zero-layer": (ModelConfig(n_layers=0), TrainConfig(steps=200, lr_adam=0.02)),
    "one-layer": (ModelConfig(n_layers=1), TrainConfig(steps=4_000)),
    "two-layer": (ModelConfig(n_layers=2), TrainConfig(steps=10_000)),
    # Chapter 10 compares these, which differ in what stands in their names alone.
    "small-two-layer": (ModelConfig(n_layers=2, **SMALL), TrainConfig(**SMALL_RUN)),
    "small-one-layer": (ModelConfig(n_layers=1, **SMALL), TrainConfig(**SMALL_RUN)),
    "small-smeared-keys": (ModelConfig(n_layers=1, **SMALL, smeared_keys=True), TrainConfig(**SMALL_RUN)),
    # What a reader trains in chapter 10: an induction head as soon as possible (benchmarks/induction_speedrun.py).
    "live": (
        ModelConfig(n_layers=2, **SMALL, n_ctx=128),
        # At a constant rate one seed of three ran away after 800 steps; falling from half-way on, all three are stable.
        TrainConfig(**SMALL_RUN | {"steps": 700, "batch": 16, "warmup": 100, "cooldown": 0.5}),
    ),
}
# Chapter 11: the same, a little longer, with one of the paper's assumptions dropped, or all as in Pythia.
PUT_BACK = {
    "plain": {},
    "norm": {"norm": "layer"},
    "biases": {"biases": True},
    "mlp": {"mlp": "gelu"},
    "stream": {"positions": "stream"},
    "rotary": {"positions": "rotary"},
    "all": {"norm": "layer", "biases": True, "mlp": "gelu", "positions": "rotary"},
}
RECIPES |= {
    f"live-{name}": (
        TransformerConfig(**asdict(RECIPES["live"][0]), **put_back, d_mlp=512),
        replace(RECIPES["live"][1], steps=900, windows=200),
    )
    for name, put_back in PUT_BACK.items()
}
