"""Random tokens that repeat, and small models that learn to continue them: in PyTorch what a page of the book trains.

A sequence is the start token, n random tokens, and the same again and again to the end of the context. Numbers that
look random come from a generator that the page's script shares to the last bit: a seed gives the same weights and the
same batches here and there.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_utils import clamping, scores
from course_utils.checked import check_fields, checked, within
from course_utils.config import Count, Rate, Step, TransformerConfig
from course_utils.errors import CourseError
from course_utils.model import Cache
from course_utils.transformer import Transformer

WEIGHTS, FRESH, BATCHES = 0, 1, 2  # streams of random numbers; batch i is drawn from stream BATCHES + i
ORDERS = 2**31  # added to a batch's stream: of the orders in which shuffled copies come
TURNED = 0.5  # prefix matching of the best head, on fresh sequences, from which on a model has turned


@dataclass(frozen=True)
class SmallConfig:
    """A small model and how it learns. What it learns is added below, and in `course_utils.markov`."""

    n_layers: Annotated[int, within(1, 2)] = 2
    n_heads: Count = 4
    d_head: Count = 16  # the stream is n_heads · d_head wide
    d_vocab: Annotated[int, within(2)] = 24  # the start token, 0, included
    n_ctx: Annotated[int, within(8)] = 32
    smeared_keys: bool = False
    positions: Literal["read", "stream", "none"] = "read"  # "read": by queries and keys, as in the paper
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: Rate = 3e-3
    batch: Count = 16
    seed: Step = 0

    __post_init__ = check_fields
    to_dict = asdict

    @property
    def spread(self) -> dict[str, float]:
        """Of first weights; of the others it is 1 / √(numbers that they read)."""
        return {"W_E": 0.5, "W_pos": 1.0}

    @property
    def held(self) -> tuple[clamping.Part, ...]:
        """Parts of the circuit that are held (`course_utils.clamping`)."""
        return ()


@dataclass(frozen=True)
class RepeatsConfig(SmallConfig):
    """A model, its task and how it learns it."""

    shortest: Annotated[int, within(2)] = 5  # n is uniform from here
    longest: Annotated[int, within(2)] = 15  # to here; the same twice: one fixed length
    clamped: bool = False  # head 0.0 looks at the token before, from the start and for ever

    @property
    def held(self) -> tuple[clamping.Part, ...]:
        return ("previous",) if self.clamped else ()

    @property
    def shuffled(self) -> bool:
        """Whether, in training, each later copy has its own order: tokens come again, what followed them doesn't."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shortest <= self.longest <= (self.n_ctx - 1) // 2:
            rule = f"shortest ≤ longest ≤ {(self.n_ctx - 1) // 2} must hold: two copies have to fit in n_ctx"
            raise CourseError(f"repeats of {self.shortest} to {self.longest}", rule, "use 5 and 15 with n_ctx=32")


@checked
def uniform(seed: Step, stream: Step, n: Step) -> np.ndarray:
    """`n` numbers from 0 to 1, 1 left out: the generator "mulberry32", which counts and mixes the count's bits."""
    start = (seed * 0x9E3779B1 + stream * 0x85EBCA6B) % 2**32
    with np.errstate(over="ignore"):  # it is meant to wrap
        a = np.uint32(start) + np.uint32(0x6D2B79F5) * np.arange(1, n + 1, dtype=np.uint32)
        t = (a ^ a >> np.uint32(15)) * (a | np.uint32(1))
        t = (t + (t ^ t >> np.uint32(7)) * (t | np.uint32(61))) ^ t
    return (t ^ t >> np.uint32(14)) / 2**32


@checked
def sequences(settings: RepeatsConfig, stream: Step, n: Count = 1) -> tuple[Int[Tensor, "n pos"], Int[Tensor, " n"]]:
    """`n` sequences, and how many tokens each repeats. Stream `FRESH`: to measure on; its lengths differ always."""
    fixed = RepeatsConfig()
    low, high = (
        (fixed.shortest, (settings.n_ctx - 1) // 2) if stream == FRESH else (settings.shortest, settings.longest)
    )
    drawn = uniform(settings.seed, stream, n * (1 + high)).reshape(n, 1 + high)
    lengths = low + (drawn[:, 0] * (high - low + 1)).astype(int)
    once = 1 + (drawn[:, 1:] * (settings.d_vocab - 1)).astype(int)
    rows = np.array([[0, *np.resize(tokens[:N], settings.n_ctx - 1)] for tokens, N in zip(once, lengths, strict=True)])
    if settings.shuffled and stream != FRESH:
        keys = uniform(settings.seed, ORDERS + stream, rows.size).reshape(rows.shape)
        copy = (np.arange(settings.n_ctx) - 1) // lengths[:, None]
        rows = np.take_along_axis(rows, (copy + keys * (copy > 0)).argsort(axis=1, kind="stable"), axis=1)
    return torch.tensor(rows), torch.tensor(lengths)


@checked
def initial(settings: SmallConfig) -> Transformer:
    """The model before its first step. (Uniform numbers, which are the same in every language.)"""
    cfg = TransformerConfig(
        n_layers=settings.n_layers, n_heads=settings.n_heads, d_model=settings.n_heads * settings.d_head,
        d_head=settings.d_head, d_vocab=settings.d_vocab, n_ctx=settings.n_ctx, smeared_keys=settings.smeared_keys,
        positions="stream" if settings.positions == "stream" else "read",
    )  # fmt: skip
    model = Transformer(cfg).double()
    weights = {name: weight for name, weight in model.named_parameters() if name.startswith("W_")}
    sizes = [weight.numel() for weight in weights.values()]
    drawn = torch.tensor(uniform(settings.seed, WEIGHTS, sum(sizes))).split(sizes)
    with torch.no_grad():
        for (name, weight), numbers in zip(weights.items(), drawn, strict=True):
            spread = settings.spread.get(name, cfg.d_model**-0.5 / (2 if name == "W_O" else 1))
            weight.copy_(((2 * numbers - 1) * 3**0.5 * spread).view_as(weight))
        if settings.positions == "none":
            model.W_pos.requires_grad_(False).zero_()
    return model


def run(model: Transformer, settings: SmallConfig, tokens: Tensor) -> tuple[Tensor, Cache]:
    """Logits and cache, with what the settings hold held."""
    return clamping.run(model, tokens, settings.held)


def losses(model: Transformer, settings: SmallConfig, tokens: Tensor) -> Float[Tensor, "batch predictions"]:
    """The loss of each prediction made from position 1 on."""
    logits = run(model, settings, tokens)[0] if settings.held else model(tokens)
    return F.cross_entropy(logits[:, 1:-1].mT, tokens[:, 2:], reduction="none")


def by_copy(losses: Tensor, lengths: Tensor) -> tuple[float, float]:
    """Mean loss on the tokens of the first copy, and on those that are known. (The second copy's first is neither.)"""
    at = torch.arange(1, 1 + losses.shape[1])
    first, later = at < lengths[:, None], at > lengths[:, None]
    return losses[first].mean().item(), losses[later].mean().item()


@torch.no_grad()
def head_scores(
    model: Transformer, settings: RepeatsConfig, tokens: Tensor, lengths: Tensor
) -> tuple[Float[Tensor, "n_layers n_heads"], Float[Tensor, "n_layers n_heads"]]:
    """Previous-token score and, over the second copy, prefix-matching score of every head."""
    pattern = run(model, settings, tokens)[1].pattern
    at = torch.arange(tokens.shape[1])
    query = (at > lengths[:, None]) & (at <= 2 * lengths[:, None])
    target = (scores.successors(tokens) & query[:, :, None]).to(pattern)
    prefix = torch.einsum("lbhqk,bqk->lh", pattern, target) / query.sum()
    return pattern.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:].mean((1, 3)), prefix


@torch.enable_grad()
def train(
    settings: SmallConfig, steps: int, every: int, batch: Callable, measure: Callable,
    enough: Callable = lambda found: False,
) -> tuple[Transformer, dict[str, np.ndarray]]:  # fmt: skip
    """The model after `steps` steps, or when it is `enough`, and what was measured on the way.

    `batch(step)` gives tokens and what else is known of them. Every so many steps stand in the record the mean loss of
    the batch that comes next and what `measure` says of the model, of these losses and of what else is known.
    """
    model = initial(settings)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = (
        torch.optim.SGD(weights, settings.lr, momentum=0.9)
        if settings.optimiser == "sgd"
        else torch.optim.AdamW(weights, settings.lr, betas=(0.9, 0.99))
    )
    record = []
    for step in range(steps + 1):
        tokens, *known = batch(step)
        each = losses(model, settings, tokens)
        if step % every == 0:
            found = {"step": step, "loss": each.mean().item(), **measure(model, each.detach(), *known)}
            record.append(found)
            if enough(found):
                break
        if step < steps:
            optimiser.zero_grad()
            each.mean().backward()
            optimiser.step()
    return model, {name: np.array([found[name] for found in record]) for name in record[0]}


@checked
def train_on_repeats(
    settings: RepeatsConfig, steps: Step, every: Count = 20, stop: bool = False
) -> tuple[Transformer, dict[str, np.ndarray]]:
    """The model after `steps` steps, and what was measured on the way: step, loss, first, later, previous, prefix.

    Measured every so many steps: the mean loss, and that on first and later copies, of the batch that comes next; the
    heads' scores on 32 fresh sequences. `stop`: when it has turned.
    """
    fresh = sequences(settings, FRESH, 32)

    def measure(model: Transformer, each: Tensor, lengths: Tensor) -> dict:
        first, later = by_copy(each, lengths)
        previous, prefix = head_scores(model, settings, *fresh)
        return {"first": first, "later": later, "previous": previous.numpy(), "prefix": prefix.numpy()}

    batch = lambda step: sequences(settings, BATCHES + step, settings.batch)  # noqa: E731
    turned = lambda found: stop and found["prefix"].max() >= TURNED  # noqa: E731
    return train(settings, steps, every, batch, measure, turned)
