"""Sizes of a model and settings of a training run, each with the reason for its default."""

import sys
from dataclasses import asdict, dataclass, fields

from course_utils.errors import CourseError, check_integer


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of an attention-only transformer ([E21], "Model Simplifications")."""

    n_layers: int = 2
    n_heads: int = 12  # per layer; the paper's counts (12, 24, 144) are of 12 heads
    d_model: int = 384  # width of the residual stream = n_heads * d_head, as in the paper
    d_head: int = 32
    d_vocab: int = 4096  # byte-pair tokens, the start token included
    n_ctx: int = 256  # longest context, the start token included
    smeared_keys: bool = False  # each key mixed with the one before it ([O22], "Smeared Keys"): chapter 10 only

    def __post_init__(self):
        if not isinstance(self.smeared_keys, bool):
            rule = "it must be True or False"
            raise CourseError(f"smeared_keys is {self.smeared_keys!r}", rule, "change the configuration")
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            least = 0 if field.name == "n_layers" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise CourseError(
                    f"{field.name} is {value!r}",
                    f"it must be an integer of at least {least}",
                    "change the configuration",
                )

    to_dict = asdict


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Everything depends on the step, nothing on the clock."""

    steps: int
    batch: int = 16  # windows a step
    lr: float = 4e-3  # of Muon (attention matrices), after warm-up
    lr_adam: float = 4e-3  # of AdamW (embedding, positions, unembedding)
    weight_decay: float = 0.1  # of Muon; keeps the heads' matrices, and so the sharpness of attention, in check
    warmup: int = 200
    cooldown: float = 0.4  # last part of the run, over which the rate falls linearly to zero
    seed: int = 0
    positions: float = 0.5  # spread of the initial W_pos: at 1 a previous-token head forms much sooner (chapter 10)
    eval_every: int = 100  # steps between measurements for the log
    d_vocab: int = 4096
    text: str = "full"  # "full": all that `corpus` builds; "shipped": the part that comes with the course

    def __post_init__(self):
        rules = {
            "steps": (int, 1, None), "batch": (int, 1, None), "warmup": (int, 0, None), "seed": (int, 0, None),
            "lr": (float, 0.0, None), "lr_adam": (float, 0.0, None), "cooldown": (float, 0.0, 1.0),
            "weight_decay": (float, 0.0, None), "positions": (float, 0.0, None), "eval_every": (int, 1, None),
        }  # fmt: skip
        for name, (kind, low, high) in rules.items():
            value = getattr(self, name)
            right_kind = isinstance(value, int) or (kind is float and isinstance(value, float))
            highest = sys.float_info.max if high is None else high  # infinity and nan are no settings
            if isinstance(value, bool) or not right_kind or not low <= value <= highest:
                bounds = f"at least {low}" + (f" and at most {high}" if high is not None else "")
                raise CourseError(
                    f"{name} is {value!r}", f"it must be a number ({kind.__name__}), {bounds}", f"change {name}"
                )
        if self.text not in ("full", "shipped"):
            raise CourseError(f"text is {self.text!r}", "it must be 'full' or 'shipped'", "pass --text shipped")

    def rate(self, step: int) -> float:
        """Factor on the learning rate at `step`: warm-up, constant, linear fall."""
        check_integer("step", step)
        fall = max(1, round(self.steps * self.cooldown))
        return min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / fall)

    to_dict = asdict


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
        TrainConfig(**SMALL_RUN | {"steps": 900, "batch": 16, "cooldown": 0.5}),
    ),
}
