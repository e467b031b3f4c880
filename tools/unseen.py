"""Models that no page shows, for *Find it yourself*: trained from seeds of their own, then disguised.

    nice python -m tools.unseen          # one run after the other; one that was cut off goes on

Heads change places within their layers, and the stream and every head's inner spaces get other bases: what a model
computes stays, and its weights look like nobody's. One of them has its stream stretched, too, so that norms mislead.
Their cards say neither how they were trained nor what their heads do.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from course_utils import AttentionOnlyTransformer, load_model, load_text, training, windows
from course_utils.checkpoints import UNSEEN, WEIGHTS, save_model
from course_utils.checks.base import disguised
from course_utils.config import RECIPES
from course_utils.corpus import spread
from course_utils.interventions import path_effects
from course_utils.scores import prefix_matching_scores, repeated_tokens

COMMAND = "python -m tools.unseen"
STRETCH = 6.0  # by which a write space grows whose norms are to mislead


class Run(NamedTuple):
    seed: int
    steps: int
    misleads: bool = False

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-{self.steps}-steps"


RUNS = [Run(101, 1500), Run(104, 1500), Run(105, 2500, misleads=True)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("trained/unseen"), metavar="FOLDER", help="for runs")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER", help="for the models that ship")
    options = parser.parse_args(arguments)
    order = torch.randperm(len(RUNS), generator=torch.Generator().manual_seed(RUNS[0].seed)).tolist()
    for place, run in zip(order, RUNS, strict=True):
        model, name = trained(run, options.out).double(), UNSEEN[place]
        other = stretched(model, feeding_head(model), STRETCH) if run.misleads else model
        other = rescaled(disguised(other, run.seed)[0], run.seed)
        check_same(model, other, 1e-9)
        save_model(other, name, {"command": COMMAND, "torch": torch.__version__}, options.weights)
        check_same(model, load_model(name, "cpu", options.weights).double(), 0.1)  # what 16 bits leave


def trained(run: Run, out: Path) -> AttentionOnlyTransformer:
    """The model of a run, trained now unless it is there."""
    if not (out / f"{run.name}.json").exists():
        sizes, recipe = RECIPES["live"]
        cfg = replace(recipe, steps=run.steps, seed=run.seed, windows=200)
        training.train(run.name, sizes, cfg, out, resume=True, command=COMMAND)
        (out / f"{run.name}.state.safetensors").unlink()
    return load_model(run.name, "cpu", out)


@torch.no_grad()
def rescaled(model: AttentionOnlyTransformer, seed: int) -> AttentionOnlyTransformer:
    """In place: of each head the dimensions in which queries meet keys, or values pass, get other sizes."""
    random, shape = torch.Generator().manual_seed(seed), (*model.W_Q.shape[:2], 1, model.cfg.d_head)
    meet, carry = (2 ** (2 * torch.rand(shape, dtype=torch.float64, generator=random) - 1) for _ in range(2))
    model.W_Q *= meet
    model.W_K /= meet
    model.W_V *= carry
    model.W_O /= carry.mT
    return model


@torch.no_grad()
def stretched(model: AttentionOnlyTransformer, head: tuple[int, int], times: float) -> AttentionOnlyTransformer:
    """A model that computes the same, in which all that `head` writes is so much longer, and read so much less."""
    written = torch.linalg.qr(model.W_O[head].mT)[0]  # an orthonormal basis of its write space, as columns
    inside, whole = written @ written.mT, torch.eye(model.cfg.d_model, dtype=written.dtype)
    into, back = whole + (times - 1) * inside, whole + (1 / times - 1) * inside
    other = AttentionOnlyTransformer(model.cfg).to(into.dtype).requires_grad_(False)
    for name, weight in model.state_dict().items():
        getattr(other, name).copy_(weight @ into if name in ("W_E", "W_pos", "W_O") else back @ weight)
    return other


def feeding_head(model: AttentionOnlyTransformer) -> tuple[int, int]:
    """The head of layer 0 on which the keys of the strongest induction head hang most."""
    tokens, _ = repeated_tokens(model.cfg.d_vocab, 16, 63, 63)
    later = int(prefix_matching_scores(model, 16)[1].argmax())
    return 0, int(path_effects(model, tokens[:, : model.cfg.n_ctx])["K"][:, later].argmax())


@torch.no_grad()
def check_same(model: AttentionOnlyTransformer, other: AttentionOnlyTransformer, tolerance: float) -> None:
    """Both models give the same logits of a text."""
    text = spread(windows(load_text("validation", model.cfg.d_vocab), model.cfg.n_ctx), 8)
    far = (model(text) - other(text)).abs().max().item()
    assert far <= tolerance, f"logits differ by {far:.2g}"


if __name__ == "__main__":
    main()
