"""Seconds, and tokens, from random weights to an induction head: a best prefix-matching score of 0.4.

    python benchmarks/induction_speedrun.py                  # the recipe "live" of chapter 10, on the device at hand
    python benchmarks/induction_speedrun.py --seed 1 --no-file

Trained on real text alone (the shipped part): repeated random tokens are measured, never trained on. The clock runs
while training and stands while measuring; loading the text is told apart. To set a new record, change the recipe in
`course_utils/config.py`.
"""

import argparse
import datetime
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import torch
from tqdm.auto import tqdm

from course_utils import corpus, scores
from course_utils.config import RECIPES
from course_utils.device import choose_device
from course_utils.model import AttentionOnlyTransformer
from course_utils.training import Optimiser, machine, next_token_loss, sample_windows

GOAL, EVERY = 0.4, 25  # prefix-matching score; steps between two measurements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of weights and order of the text")
    parser.add_argument("--steps", type=int, help="length of the run, in place of the recipe's")
    parser.add_argument("--no-file", action="store_true", help="print only")
    options = parser.parse_args()
    model_cfg, cfg = RECIPES["live"]
    cfg = replace(cfg, seed=options.seed, steps=options.steps or cfg.steps)
    device, reason = choose_device()

    began = time.perf_counter()
    ids = corpus.load_text("train", cfg.d_vocab)
    starts = corpus.window_starts(ids, model_cfg.n_ctx)
    loading = time.perf_counter() - began
    model = AttentionOnlyTransformer.init(model_cfg, cfg.seed, cfg.positions).to(device)
    optimiser, seconds, rows = Optimiser(model, cfg), 0.0, []
    for step in (bar := tqdm(range(cfg.steps + 1), desc="speedrun", unit="step")):
        if step % EVERY == 0:
            prefix = scores.prefix_matching_scores(model).max().item()
            rows.append((step, seconds, prefix))
            bar.set_postfix(prefix=f"{prefix:.2f}", seconds=f"{seconds:.0f}")
            if prefix >= GOAL or step == cfg.steps:
                break
            began = time.perf_counter()
        loss = next_token_loss(model, sample_windows(ids, starts, model_cfg.n_ctx, cfg, step).to(device))
        loss.backward()
        optimiser.step(step)
        if (step + 1) % EVERY == 0:
            loss.item()  # on a GPU: wait for it
            seconds += time.perf_counter() - began
    bar.close()

    each = cfg.batch * (model_cfg.n_ctx - 1)
    step, seconds, prefix = rows[-1]
    reached = f"{seconds:.0f} s, {step * each / 1e6:.2f} M tokens, {step} steps" if prefix >= GOAL else "not reached"
    lines = [
        f"# Induction speedrun, {device.type}",
        "",
        f"{datetime.date.today()}, `{shlex.join(['python', 'benchmarks/induction_speedrun.py', *sys.argv[1:]])}`",
        "",
        f"**From random weights to a best prefix-matching score of {GOAL}: {reached}.**",
        "",
        f"Machine: {machine(reason)}; {torch.get_num_threads()} threads; torch {torch.__version__}; load of the last "
        f"minute {os.getloadavg()[0]:.1f}; {psutil.Process().memory_info().rss / 2**20:.0f} MiB. Loading the text: "
        f"{loading:.0f} s.",
        "",
        f"Model: {model_cfg}",
        "",
        f"Run: {cfg}",
        "",
        "| step | M tokens | seconds | prefix matching |",
        "|---|---|---|---|",
        *(f"| {step} | {step * each / 1e6:.2f} | {at:.0f} | {score:.3f} |" for step, at, score in rows[::2]),
    ]
    print("\n".join(lines))
    if not options.no_file:
        path = Path(__file__).with_name(f"results-induction-speedrun-{device.type}.md")
        path.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
