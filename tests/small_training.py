"""A training run of seconds on a small text; in a process of its own, torchrun starts it.

python small_training.py OUT TEXT.npy STEPS
"""

import sys
from pathlib import Path

import numpy as np
import torch

from course_utils import corpus
from course_utils.config import PUT_BACK, ModelConfig, TrainConfig, TransformerConfig
from course_utils.training import train

MODEL = ModelConfig(n_layers=2, n_heads=2, d_model=32, d_head=16, d_vocab=1024, n_ctx=64)
ALL_PUT_BACK = TransformerConfig(**MODEL.to_dict(), **PUT_BACK["all"], d_mlp=48)
STANDARD = {"batch": 4, "eval_every": 5, "lr": 0.02, "lr_adam": 0.03, "warmup": 2, "d_vocab": 1024, "text": "shipped"}


def settings(steps: int = 12, **changes) -> TrainConfig:
    return TrainConfig(**{**STANDARD, "steps": steps, **changes})


if __name__ == "__main__":
    out, text, steps = sys.argv[1:]
    torch.set_num_threads(1)
    ids = torch.from_numpy(np.load(text))
    corpus.load_text = lambda split, d_vocab=4096, full=False: ids
    train("small", MODEL, settings(int(steps)), Path(out))
