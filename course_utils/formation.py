"""How heads form: what a training run records as it goes, losses, scores, patterns and composition (chapter 10)."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils import checkpoints, circuits, corpus, losses, scores
from course_utils.checked import checked
from course_utils.config import Count, TrainConfig
from course_utils.device import fast_products
from course_utils.model import AttentionOnlyTransformer

# The text whose attention patterns are kept through training: names come back, so there is something to induce.
FIXED_TEXT = """def mean(values):
    total = sum(values)
    return total / len(values)

def spread(values):
    centre = mean(values)
    return max(values) - centre
"""
FIXED_LENGTH = 48


@dataclass
class Log:
    """What a run records as it goes, in plain arrays; `save` writes it as one .npz without pickles."""

    step: list[int] = field(default_factory=list)  # training loss, one entry every 10 steps
    loss: list[float] = field(default_factory=list)
    eval_step: list[int] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)  # on 96 windows
    in_context: list[float] = field(default_factory=list)  # on the same windows: noisier than the final score
    prefix_matching: list[Tensor] = field(default_factory=list)  # [n_layers, n_heads]
    previous_token: list[Tensor] = field(default_factory=list)
    snap_step: list[int] = field(default_factory=list)  # logarithmic steps
    pattern: list[Tensor] = field(default_factory=list)  # [n_layers, n_heads, 48, 48], 255 is an attention of 1
    composition: list[Tensor] = field(default_factory=list)  # [3 (K, Q, V), earlier head, later head], no baseline

    def tensors(self) -> dict[str, Tensor]:
        plain = {
            key: torch.tensor(value) for key, value in vars(self).items() if not (value and torch.is_tensor(value[0]))
        }
        return plain | {key: torch.stack(value) for key, value in vars(self).items() if key not in plain}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Log":
        return cls(**{key: list(value) if value.ndim > 1 else value.tolist() for key, value in tensors.items()})

    def save(self, path: Path, tokens_per_step: int) -> None:
        arrays = {key: value.numpy() for key, value in self.tensors().items()}
        file = io.BytesIO()
        np.savez_compressed(file, tokens_per_step=tokens_per_step, **arrays)
        checkpoints.write_atomically(path, file.getvalue())


@checked
def snapshot_steps(steps: Count, n: Count = 40) -> set[int]:
    """Some 40 steps, closer together early in the run."""
    return {0, *np.unique(np.geomspace(1, steps, n).round().astype(int)).tolist()}


class Meter:
    """Measures scores during training, on few windows: the log shows when things happen, not their final values."""

    def __init__(self, model: AttentionOnlyTransformer, cfg: TrainConfig):
        self.model, self.last = model, {}
        text = corpus.load_text("validation", cfg.d_vocab)
        self.windows = corpus.spread(corpus.windows(text, model.cfg.n_ctx), 96)
        ids = corpus.load_tokenizer(cfg.d_vocab).encode(FIXED_TEXT)
        self.fixed = torch.tensor([[0, *ids][: min(FIXED_LENGTH, model.cfg.n_ctx)]], device=model.W_E.device)

    def measure(self, log: Log, step: int, evaluate: bool, snap: bool) -> None:
        if evaluate:
            with fast_products(self.fixed.device):
                each = losses.loss_by_position(self.model, self.windows)
            long_enough = each.shape[1] >= scores.LATE.stop
            in_context = scores.late_less_early(each).mean().item() if long_enough else float("nan")
            prefix = scores.prefix_matching_scores(self.model, n=32)
            previous = scores.previous_token_scores(self.model, self.windows[:16])
            log.eval_step.append(step), log.validation_loss.append(each[:, 1:].mean().item())
            log.in_context.append(in_context), log.prefix_matching.append(prefix), log.previous_token.append(previous)
            self.last = {"prefix": f"{prefix.max():.2f}", "previous": f"{previous.max():.2f}"}
        if snap:
            with torch.no_grad():
                pattern = self.model.run_with_cache(self.fixed)[1].pattern[:, 0]
                log.snap_step.append(step), log.pattern.append((pattern * 255).round().byte().cpu())
                if self.model.cfg.n_layers == 2:
                    by_kind = circuits.composition_scores(self.model)
                    log.composition.append(torch.stack([by_kind[kind] for kind in "KQV"]).cpu())
