"""Training: Muon for the heads, AdamW for the rest, resumable to the last bit, on one process or several.

`python -m course_utils train NAME` calls `train` (attention models) or `train_on_bigrams` (the zero-layer model).
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils import bigrams, checkpoints, corpus, roles
from course_utils.checked import check, checked, within
from course_utils.config import RECIPES, Count, ModelConfig, Rate, Step, TrainConfig
from course_utils.device import VARIABLE, choose_device, product_dtype
from course_utils.errors import CourseError
from course_utils.formation import Log, Meter, snapshot_steps
from course_utils.losses import mean_loss, next_token_loss
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import class_of

MATRICES = ("W_Q", "W_K", "W_V", "W_O"), ("W_in", "W_gate"), ("W_out",)  # each of one shape, upright or lying
BACK_ENDS = {"cpu": "gloo", "cuda": "nccl"}  # what several processes talk through


class HeadMuon(torch.optim.Optimizer):
    """`torch.optim.Muon` on every head's matrix at once: parameters [..., rows, columns], a batch of matrices.

    torch's own takes one matrix at a time: on two CPU cores 0.20 s a step for the 96 matrices of the two-layer model,
    as much as the rest of the step; batched 0.015 s. A test holds the two equal.

    On a GPU, where a call costs more than its arithmetic, all parameters share one iteration. On a CPU each has its
    own, which stays in the cache: measured at that model's sizes, half the time.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.1):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            weights = group["params"]
            gradients, means = [p.grad for p in weights], [self._momentum(p) for p in weights]
            torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
            moves = torch._foreach_lerp(gradients, means, group["momentum"])  # Nesterov
            together = all(p.is_cuda for p in weights)
            updates = _orthogonalise_together(moves) if together else [orthogonalise(move) for move in moves]
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for p, update in zip(weights, updates, strict=True):
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape[-2:]) ** 0.5)  # as large as AdamW's updates

    def _momentum(self, p: Tensor) -> Tensor:
        if "momentum" not in self.state[p]:
            self.state[p]["momentum"] = torch.zeros_like(p)
        return self.state[p]["momentum"]


def orthogonalise(X: Float[Tensor, "*batch rows columns"], steps: int = 5) -> Float[Tensor, "*batch rows columns"]:
    """Roughly U Vᵀ of X = U S Vᵀ: every direction alike. Newton-Schulz iteration [jordan2024]."""
    if not isinstance(X, Tensor) or X.ndim < 2:
        raise CourseError(
            f"X of type {type(X).__name__}", "it must be a tensor of matrices", "give it two axes or more"
        )
    a, b, c = 3.4445, -4.775, 2.0315
    shape, tall = X.shape, X.shape[-2] > X.shape[-1]
    X = X.reshape(-1, *shape[-2:])
    X = X.mT if tall else X
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = torch.bmm(X, X.mT)
        X = a * X + torch.bmm(b * A + torch.bmm(c * A, A), X)
    return (X.mT if tall else X).view(shape)


def _orthogonalise_together(batches: list[Tensor]) -> list[Tensor]:
    """`orthogonalise` of each batch, all in one iteration: matrices of one shape, upright in some, lying in others."""
    upright = torch.cat([(X if X.shape[-2] >= X.shape[-1] else X.mT).flatten(0, -3) for X in batches])
    parts = orthogonalise(upright).split([X.shape[:-2].numel() for X in batches])
    return [
        (part if X.shape[-2] >= X.shape[-1] else part.mT).view(X.shape) for X, part in zip(batches, parts, strict=True)
    ]


class Optimiser:
    """Muon, or AdamW, on the matrices of heads and neurons; AdamW on embedding, positions, unembedding and vectors."""

    def __init__(self, model: AttentionOnlyTransformer, cfg: TrainConfig):
        self.cfg, self.model, weights = cfg, model, dict(model.named_parameters())
        kinds = [[weights.pop(name) for name in kind if name in weights] for kind in MATRICES]
        adamw = partial(torch.optim.AdamW, betas=(0.9, 0.98), fused=True)
        optimiser = HeadMuon if cfg.optimiser == "muon" else adamw
        parts = [(optimiser(kind, cfg.lr, weight_decay=cfg.weight_decay), cfg.lr) for kind in kinds if kind]
        self._parts = [*parts, (adamw(list(weights.values()), cfg.lr_adam, weight_decay=0.0), cfg.lr_adam)]

    def step(self, step: int) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for part, lr in self._parts:
            part.param_groups[0]["lr"] = lr * self.cfg.rate(step)
            part.step()
        self.model.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers' memory, flat, by name."""
        return {
            f"{n}/{i}/{name}": torch.as_tensor(value)
            for n, (part, _) in enumerate(self._parts)
            for i, state in part.state_dict()["state"].items()
            for name, value in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        states: list[dict[int, dict]] = [{} for _ in self._parts]
        for key, value in tensors.items():
            n, i, name = key.split("/")
            states[int(n)].setdefault(int(i), {})[name] = value
        for (part, _), state in zip(self._parts, states, strict=True):
            part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})


def sample_windows(ids: Tensor, starts: Tensor, n_ctx: int, cfg: TrainConfig, step: int) -> Int[Tensor, "batch n_ctx"]:
    """The windows of one step: a function of seed and step alone."""
    check("the number of starts", len(starts), Count)
    generator = torch.Generator().manual_seed(cfg.seed * 1_000_003 + step)
    return corpus.windows(ids, n_ctx, starts[torch.randint(len(starts), (cfg.batch,), generator=generator)])


Sizes, Settings = Annotated[ModelConfig, "see RECIPES"], Annotated[TrainConfig, "see RECIPES"]


@checked
def train(
    name: checkpoints.Name, model_cfg: Sizes, cfg: Settings, out: checkpoints.Folder, resume: bool = False,
    save_every: Count = 250, stop_at: Step | None = None, command: str = "", watch: Callable | None = None,
) -> AttentionOnlyTransformer:  # fmt: skip
    """Train an attention model and write `name.safetensors`, its card and its log into `out`.

    Every `save_every` steps the whole state goes to `name.state.safetensors`, atomically; with `resume` the run goes
    on from there to the result that an uninterrupted run gives, on the CPU bit for bit (with the same number of
    threads). With more steps than before it becomes a longer run, whose rate rises again where the shorter one's had
    fallen, and whose weight decay may be another. `stop_at` ends early, as an interruption would. `watch` is called
    with the model whenever its state has been kept. Under torchrun each process takes its part of each batch.
    """
    check("n_layers", model_cfg.n_layers, Count)  # the zero-layer model has a way of its own
    check("n_ctx", model_cfg.n_ctx, Annotated[int, within(3)])  # the start token's prediction is left out
    state_path = out / f"{name}.state.safetensors"
    checkpoints.check_writable(out)
    device, reason = choose_device()
    with _processes(device) as (rank, world, device):
        if cfg.batch % world:
            raise CourseError(f"batch {cfg.batch}", f"it must divide by the {world} processes", "change --batch")
        ids = corpus.load_text("train", cfg.d_vocab, full=cfg.text == "full")
        starts = corpus.window_starts(ids, model_cfg.n_ctx)
        if not len(starts):
            rule = f"no document in it has the {model_cfg.n_ctx - 1} that one context needs"
            raise CourseError(f"a text of {len(ids)} tokens", rule, "use a longer text or a smaller n_ctx")
        model = class_of(model_cfg).init(model_cfg, cfg.seed, cfg.positions).to(device)
        optimiser, log, first, seconds, commands = Optimiser(model, cfg), Log(), 0, 0.0, [command]
        if resume and state_path.exists():
            log, about = _load_state(state_path, model, optimiser, cfg)
            first, seconds, commands = about["step"], about["seconds"], about["commands"]
            if cfg.steps > about["training"]["steps"]:
                tqdm.write(f"The run is made longer: {cfg.steps} steps in place of {about['training']['steps']}.")
                commands = [*commands, f"{command} --resume"]
        meter = Meter(model, cfg)
        eval_steps = set(range(0, cfg.steps, cfg.eval_every)) | {cfg.steps}
        snap_steps = snapshot_steps(cfg.steps)
        began, recent = time.perf_counter() - seconds, []
        bar = tqdm(range(first, cfg.steps), desc=name, initial=first, total=cfg.steps, disable=rank > 0, unit="step")
        if rank == 0:
            bar.write(f"training {name} on {reason}")
        for step in range(first, cfg.steps + 1):
            # What was measured at the step of the saved state is in its log.
            if rank == 0 and (step in eval_steps or step in snap_steps) and (step > first or first == 0):
                meter.measure(log, step, step in eval_steps, step in snap_steps)
            if rank == 0 and step > first and (step % save_every == 0 or step in (cfg.steps, stop_at)):
                about = {"step": step, "seconds": time.perf_counter() - began, "commands": commands}
                _save_state(state_path, model, optimiser, cfg, log, about)
                if watch:
                    with torch.no_grad():
                        watch(model)
            if step in (cfg.steps, stop_at):
                break
            tokens = sample_windows(ids, starts, model_cfg.n_ctx, cfg, step)[rank::world]
            loss = next_token_loss(model, tokens)
            loss.backward()
            if world > 1:
                loss = _average(model, loss.detach(), world)
            optimiser.step(step)
            if step % 10 == 0:
                recent.append(loss.item())
                log.step.append(step), log.loss.append(recent[-1])
                rate = (
                    (step + 1 - first)
                    * cfg.batch
                    * (model_cfg.n_ctx - 1)
                    / max(1e-9, time.perf_counter() - began - seconds)
                )
                bar.set_postfix(
                    loss=f"{np.mean(recent[-10:]):.3f}", tokens_s=f"{rate:.0f}", **meter.last, refresh=False
                )
            bar.update()
        bar.close()
        if rank == 0 and stop_at is None:
            log.save(out / f"{name}.log.npz", cfg.batch * (model_cfg.n_ctx - 1))
            card = make_card(model, cfg, time.perf_counter() - began, reason, "; ".join(commands))
            checkpoints.save_model(model, name, card, out)
        return model


@checked
def train_zero_layer(cfg: Settings, out: checkpoints.Folder, command: str = "") -> AttentionOnlyTransformer:
    """The shipped zero-layer model: fitted to the bigram counts of the whole training text, in minutes.

    Its number of steps was chosen on a part of the training text that was held out; chapter 2 shows how.
    """
    checkpoints.check_writable(out)
    began = time.perf_counter()
    print(f"training zero-layer on {choose_device().reason}")
    model, _ = train_on_bigrams(RECIPES["zero-layer"][0].d_model, cfg.steps, cfg.lr_adam, cfg.seed)
    model.W_pos.data.zero_()  # without heads nothing reads positions
    card = make_card(model, cfg, time.perf_counter() - began, choose_device().reason, command)
    checkpoints.save_model(model, "zero-layer", card, out)
    return model


@checked
def train_on_bigrams(
    d_model: Count, steps: Count, rate: Rate = 0.02, seed: Step = 0, holdout: corpus.Counts | None = None,
    counts: corpus.Counts | None = None, check_every: Count = 20,
) -> tuple[AttentionOnlyTransformer, list[tuple[int, float]]]:  # fmt: skip
    """A zero-layer model of rank `d_model` fitted to the bigram counts themselves, all of them at each step.

    A zero-layer model sees a text only through its bigrams, so this is the same training without sampling noise. The
    rate falls to zero as a cosine. With `holdout` (a count table kept out of `counts`) its loss is recorded every
    `check_every` steps. Returns the model on the CPU and that record of (step, loss).
    """
    counts = corpus.bigram_counts() if counts is None else counts
    check("holdout", holdout, corpus.Counts | None, {"d_vocab": counts.shape[0]})
    device = choose_device().device
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=0, d_model=d_model, d_vocab=counts.shape[0]), seed)
    model = model.to(device)
    text = torch.from_numpy(counts.astype(np.float32).toarray()).to(device)
    text /= text.sum()
    optimiser = torch.optim.AdamW([model.W_E, model.W_U], lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    model.W_E.grad, model.W_U.grad = torch.zeros_like(model.W_E), torch.zeros_like(model.W_U)
    record = []
    for step in tqdm(range(steps), desc=f"rank {d_model}", unit="step", leave=False):
        if holdout is not None and step % check_every == 0:
            record.append((step, bigrams.loss(bigrams.zero_layer(model), holdout)))
        optimiser.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / steps)) * min(1, (step + 1) / 10)
        _bigram_gradient(model, text)
        optimiser.step()
    if holdout is not None:
        record.append((steps, bigrams.loss(bigrams.zero_layer(model), holdout)))
    return model.cpu(), record


@torch.no_grad()
def _bigram_gradient(model: AttentionOnlyTransformer, text: Float[Tensor, "d_vocab d_vocab"]) -> None:
    """Gradient of the mean loss on a table of bigram frequencies, in closed form: twice as fast as through autograd."""
    dtype = product_dtype(text.device)
    U = model.W_U.to(dtype)
    model.W_U.grad.zero_()
    for says, rows, gradient in zip(*(each.split(512) for each in (text, model.W_E, model.W_E.grad)), strict=True):
        E = rows.to(dtype)
        # With respect to the logits it is what the model says less what the text says.
        error = (E @ U).softmax(1, dtype=torch.float32).mul_(says.sum(1, keepdim=True)).sub_(says).to(dtype)
        gradient.copy_(error @ U.T)
        model.W_U.grad.add_(E.T @ error)


@torch.no_grad()
def make_card(model: AttentionOnlyTransformer, cfg: TrainConfig, seconds: float, reason: str, command: str) -> dict:
    """How a model came to be: what `load_card` reads."""
    windows = corpus.windows(corpus.load_text("validation", cfg.d_vocab), model.cfg.n_ctx)
    loss = mean_loss(model, corpus.spread(windows, cfg.windows))
    tokens = cfg.steps * cfg.batch * (model.cfg.n_ctx - 1) if model.cfg.n_layers else int(corpus.bigram_counts().sum())
    return {
        "command": command,
        "training": cfg.to_dict(),
        "tokens": tokens,  # seen in training; of the zero-layer model: pairs counted
        "seconds": round(seconds),
        "machine": machine(reason),
        "validation_loss": round(loss, 4),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **(roles.measure(model) if model.cfg.n_layers else {}),
    }


@checked
def machine(reason: str) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB; {reason}"


def _save_state(path: Path, model, optimiser: Optimiser, cfg: TrainConfig, log: Log, about: dict) -> None:
    tensors = {f"model/{key}": value.detach() for key, value in model.state_dict().items()}
    tensors |= {f"optimiser/{key}": value for key, value in optimiser.tensors().items()}
    tensors |= {f"log/{key}": value for key, value in log.tensors().items()}
    about |= {"threads": torch.get_num_threads(), "training": cfg.to_dict(), "config": model.cfg.to_dict()}
    checkpoints.write_tensors(path, {k: v.cpu().contiguous() for k, v in tensors.items()}, {"about": json.dumps(about)})


def _load_state(path: Path, model, optimiser: Optimiser, cfg: TrainConfig) -> tuple[Log, dict]:
    tensors, about = checkpoints.read_tensors(path), checkpoints.read_about(path)
    training = cfg.to_dict()
    if cfg.steps > about["training"]["steps"]:
        for key in ("steps", "weight_decay"):  # what a run that is made longer may change
            training[key] = about["training"].get(key)
    for part, mine in {"config": model.cfg.to_dict(), "training": training}.items():
        other = {key: (about[part].get(key), value) for key, value in mine.items() if about[part].get(key) != value}
        if other:
            key, (was, now) = next(iter(other.items()))
            remedy = f"use the same value, or delete {path.name} to begin again"
            raise CourseError(f"{key} is {now}", f"the interrupted run had {was}", remedy)
    if about["threads"] != torch.get_num_threads():
        now = torch.get_num_threads()
        print(f"The interrupted run used {about['threads']} threads, this one {now}: last bits may differ.")

    def section(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(name + "/"): value for key, value in tensors.items() if key.startswith(name + "/")}

    with torch.no_grad():
        for key, value in section("model").items():
            model.state_dict()[key].copy_(value)
    optimiser.load(section("optimiser"))
    return Log.from_tensors(section("log")), about


@contextmanager
def _processes(device: torch.device) -> Iterator[tuple[int, int, torch.device]]:
    """(rank, number of processes, this one's device): 0, 1 and the device as it is unless torchrun started us."""
    if "RANK" not in os.environ:
        yield 0, 1, device
        return
    if device.type not in BACK_ENDS:
        rule = f"processes talk to each other on {' or '.join(BACK_ENDS)} only"
        raise CourseError(f"torchrun on {device.type}", rule, f"start one process, or set {VARIABLE}=cpu")
    if device.type == "cuda":  # a card for each
        device = choose_device(f"cuda:{os.environ['LOCAL_RANK']}").device
        torch.cuda.set_device(device)
    dist.init_process_group(BACK_ENDS[device.type])
    try:
        yield dist.get_rank(), dist.get_world_size(), device
    finally:
        dist.destroy_process_group()


def _average(model: AttentionOnlyTransformer, loss: Tensor, world: int) -> Tensor:
    for tensor in [loss, *(p.grad for p in model.parameters())]:
        dist.all_reduce(tensor)
        tensor /= world
    return loss
