"""How fast a training step is, beside TransformerLens 3.9's HookedTransformer of the same shape.

In an environment of its own (benchmarks/README.md):

    python benchmarks/training.py                 # the device that the course would choose
    python benchmarks/training.py --steps 2 --batch 2 --no-file     # a try

All sides compute the same model (checked before anything is timed), on the same windows of the shipped text, with the
same optimisers: Muon, batched over the heads' matrices, and AdamW for the rest. Runs of a few steps take turns, so
that a busy moment of the machine hits all sides alike.
"""

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import corpus
from course_utils.config import ModelConfig, TrainConfig
from course_utils.device import choose_device, product_dtype
from course_utils.interop import to_transformer_lens
from course_utils.losses import next_token_loss
from course_utils.model import AttentionOnlyTransformer
from course_utils.training import HeadMuon, Optimiser, sample_windows

SIZES = ModelConfig(n_layers=2)  # 12 heads of 32, width 384, vocabulary 4096, context 256
WARM_UP, RUN = 3, 5  # steps before timing; timed steps a side before the next one's turn


class HookedOptimiser:
    """What `course_utils.training.Optimiser` does, on HookedTransformer's parameters."""

    def __init__(self, model: nn.Module, cfg: TrainConfig):
        self.cfg = cfg
        heads = [getattr(block.attn, name) for block in model.blocks for name in ("W_Q", "W_K", "W_V", "W_O")]
        tables = [model.embed.W_E, model.pos_embed.W_pos, model.unembed.W_U]
        self.parameters = heads + tables
        self._parts = [
            (HeadMuon(heads, lr=cfg.lr), cfg.lr),
            (torch.optim.AdamW(tables, lr=cfg.lr_adam, betas=(0.9, 0.98), weight_decay=0.0, fused=True), cfg.lr_adam),
        ]

    def step(self, step: int) -> None:
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for part, lr in self._parts:
            part.param_groups[0]["lr"] = lr * self.cfg.rate(step)
            part.step()
            part.zero_grad(set_to_none=True)


def hooked_loss(model: nn.Module, tokens: Tensor, bf16: bool) -> Tensor:
    """The same loss, of all positions but 0, from HookedTransformer's logits."""
    with torch.autocast(tokens.device.type, torch.bfloat16) if bf16 else nullcontext():
        logits = model(tokens)[:, 1:-1]
    return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 2:].flatten())


class Side:
    """One of the things compared: it trains, and its steps are timed."""

    def __init__(self, name: str, model: nn.Module, optimiser, loss: Callable[[Tensor], Tensor]):
        self.name, self.model, self.optimiser, self.loss = name, model, optimiser, loss
        self.taken, self.seconds, self.losses = 0, [], []

    def step(self, tokens: Tensor) -> None:
        synchronise(tokens.device)
        began = time.perf_counter()
        loss = self.loss(tokens)
        loss.backward()
        self.optimiser.step(self.taken)
        synchronise(tokens.device)
        self.seconds.append(time.perf_counter() - began)
        self.losses.append(loss.item())
        self.taken += 1


def sides(cfg: TrainConfig, device: torch.device) -> list[Side]:
    """Ours; HookedTransformer in float32, as one finds it; where bf16 is no emulation, the same under autocast."""
    start = AttentionOnlyTransformer.init(SIZES, cfg.seed).to(device)
    hooked = {bf16: to_transformer_lens(start) for bf16 in {False, product_dtype(device) == torch.bfloat16}}
    tokens = torch.arange(2 * SIZES.n_ctx, device=device).view(2, -1)
    with torch.no_grad():
        torch.testing.assert_close(hooked[False](tokens), start(tokens), rtol=0, atol=1e-3)
    made = [Side("course_utils", start, Optimiser(start, cfg), lambda tokens: next_token_loss(start, tokens))]
    for bf16, model in hooked.items():
        name = "HookedTransformer, " + ("bf16 autocast" if bf16 else "float32")
        loss = lambda tokens, model=model, bf16=bf16: hooked_loss(model, tokens, bf16)  # noqa: E731
        made.append(Side(name, model, HookedOptimiser(model, cfg), loss))
    return made


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def flops_per_step(cfg: ModelConfig, batch: int) -> float:
    """Products of matrices in one training step; the formula is printed with the results."""
    tokens, heads = batch * cfg.n_ctx, cfg.n_heads * cfg.d_head
    projections = cfg.n_layers * 4 * 2 * cfg.d_model * heads  # queries, keys, values, output
    attention = cfg.n_layers * 2 * 2 * cfg.n_ctx * heads  # scores, averages; the masked half is counted
    logits = 2 * cfg.d_model * cfg.d_vocab * (cfg.n_ctx - 2) / cfg.n_ctx
    return 3 * tokens * (projections + attention + logits)


FORMULA = (
    "FLOP a step = 3 × tokens × (layers × (8 × d_model × heads × d_head + 4 × n_ctx × heads × d_head)"
    " + 2 × d_model × d_vocab × (n_ctx − 2) / n_ctx): forward once, backward twice; the optimiser is not counted"
)


def product_rate(device: torch.device, dtype: torch.dtype, size: int, seconds: float = 1.0) -> float:
    """The machine's own rate of matrix products, in FLOP/s: the best of many products of large squares."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    c, best, until = a @ b, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        synchronise(device)
        began = time.perf_counter()
        torch.mm(a, b, out=c)
        synchronise(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def measure(cfg: TrainConfig, steps: int, device: torch.device) -> list[Side]:
    """Run all sides in turns and return them with their timings."""
    ids = corpus.load_text("train")
    starts = corpus.window_starts(ids, SIZES.n_ctx)
    compared = sides(cfg, device)
    turns = [WARM_UP] + [min(RUN, steps - done) for done in range(0, steps, RUN)]
    for turn in turns:
        for side in compared:
            for _ in range(turn):
                side.step(sample_windows(ids, starts, SIZES.n_ctx, cfg, side.taken).to(device))
    for side in compared:
        side.seconds = side.seconds[WARM_UP:]
    return compared


def report(compared: list[Side], cfg: TrainConfig, device: torch.device, reason: str) -> str:
    """The results as Markdown."""
    size = 8192 if device.type == "cuda" else 2048
    fp32, bf16 = (product_rate(device, dtype, size) for dtype in (torch.float32, torch.bfloat16))
    tokens, flops = cfg.batch * SIZES.n_ctx, flops_per_step(SIZES, cfg.batch)
    rows = []
    for side in compared:
        middle, low, high = statistics.median(side.seconds), min(side.seconds), max(side.seconds)
        times, rate = middle / statistics.median(compared[0].seconds), flops / middle
        rows.append(
            f"| {side.name} | {tokens / middle:,.0f} | {1000 * middle:,.1f} ({1000 * low:,.1f} to {1000 * high:,.1f})"
            f" | {times:.1f} | {rate / 1e12:.3f} | {100 * rate / bf16:.0f} % | {side.losses[-1]:.3f} |"
        )
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB; {reason}"
    lines = [
        "# Training: tokens per second",
        "",
        f"* Command: `{shlex.join(['python', 'benchmarks/training.py', *sys.argv[1:]])}`",
        f"* Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"* Machine: {machine}; {torch.get_num_threads()} threads; load while measuring {os.getloadavg()[0]:.1f}",
        f"* Versions: torch {torch.__version__}, transformer-lens {version('transformer-lens')}, "
        f"Python {platform.python_version()}",
        f"* Model: {SIZES.n_layers} layers of {SIZES.n_heads} heads of {SIZES.d_head}, width {SIZES.d_model}, "
        f"vocabulary {SIZES.d_vocab}, context {SIZES.n_ctx}; {cfg.batch} windows a step",
        f"* Median of {len(compared[0].seconds)} steps a side, in turns of {RUN}; least and most in brackets.",
        f"* Measured rate of matrix products ({size} × {size}): {bf16 / 1e12:.3f} TFLOP/s in bf16, "
        f"{fp32 / 1e12:.3f} in float32.",
        f"* {FORMULA}.",
        "",
        "| | tokens/s | ms a step | times our step | TFLOP/s | share of the bf16 rate | loss of the last step |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="timed steps a side")
    parser.add_argument("--batch", type=int, default=16, help="windows a step")
    parser.add_argument("--no-file", action="store_true", help="print the results and write no file")
    options = parser.parse_args()
    device, reason = choose_device()
    cfg = TrainConfig(steps=WARM_UP + options.steps, batch=options.batch, text="shipped")
    text = report(measure(cfg, options.steps, device), cfg, device, reason)
    sys.stdout.reconfigure(errors="namereplace")  # into a pipe whose alphabet has no minus sign
    print(text)
    if not options.no_file:
        (Path(__file__).parent / f"results-training-{device.type}.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
