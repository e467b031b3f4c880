"""Skip-trigrams "source … destination → out": read from a head's tables, and counted in the text.

[E21], "Interpretation as Skip-Trigrams": the QK circuit says which destinations attend to a source, the OV circuit
which next tokens a source makes likelier. A skip-trigram's value is the product of the two entries, both centred, both
positive. Its lift is what it does in the text: P(out | destination, source among the 255 tokens before) over
P(out | destination).
"""

import copy
import json
from typing import Annotated, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, Num
from torch import Tensor

from course_utils import corpus
from course_utils.checked import check, checked, long, within
from course_utils.circuits import ov_circuit, qk_circuit
from course_utils.config import AnyModel, HeadNumber, Layer
from course_utils.device import to_numpy
from course_utils.errors import CourseError
from course_utils.factored import BLOCK, FactoredMatrix

SPAN = 255  # how many tokens before the destination the source may stand
SHIPPED = "skip-trigrams.json"
Size = Annotated[int, within(1)]
Column = Annotated[Integer[Tensor, " n"], within(0, 4095), "pass a tensor of ids, one for each skip-trigram"]
Numbers = Annotated[Num[Tensor, " n"], "see count"]


class SkipTrigrams(NamedTuple):
    """Values, and three tokens for each: fields of one shape, the largest values first."""

    values: Float[Tensor, "..."]  # 0: no further pair of positive entries
    source: Int[Tensor, "..."]
    destination: Int[Tensor, "..."]
    out: Int[Tensor, "..."]


@checked
def of_head(model: AnyModel, layer: Layer, head: HeadNumber, k: Size) -> SkipTrigrams:
    """The k skip-trigrams of largest value of one head, over the common tokens; QK entries as scores (over √d_head)."""
    qk, ov, tokens = circuits_of_common_tokens(model, layer, head)
    values, *places = largest(qk, ov, k)
    return SkipTrigrams(values, *(tokens[place] for place in places))


@checked
def circuits_of_common_tokens(
    model: AnyModel, layer: Layer, head: HeadNumber
) -> tuple[FactoredMatrix, FactoredMatrix, Int[Tensor, " n"]]:
    """QK circuit [destination, source], as scores, and OV circuit [source, out], of the common tokens; and these."""
    tokens = corpus.common_tokens(model.cfg.d_vocab).to(model.W_E.device)
    qk = qk_circuit(model, layer, head, centred=True).take(tokens, tokens)
    ov = ov_circuit(model, layer, head, centred=True).take(tokens, tokens)
    return FactoredMatrix(qk.A / model.cfg.d_head**0.5, qk.B), ov, tokens


@checked
@torch.no_grad()
def per_source(qk: FactoredMatrix, ov: FactoredMatrix, k: Size) -> SkipTrigrams:
    """For each source, its k skip-trigrams of largest value, fields [source, k]. Exact, without either table whole.

    qk: [destination, source]; ov: [source, out].
    """
    _check_tables(qk, ov)
    looked, outs = (m.row_topk(min(k, m.shape[1])) for m in (qk.T, ov))
    return pair(torch.arange(len(ov.A), device=ov.A.device), looked, outs, k)


@checked
@torch.no_grad()
def largest(qk: FactoredMatrix, ov: FactoredMatrix, k: Size) -> SkipTrigrams:
    """The k skip-trigrams of largest value of all, fields [k]. Exact.

    No skip-trigram of a source is above the product of its two largest entries: sources are taken in the order of that
    bound, until it falls below the k-th value found.
    """
    _check_tables(qk, ov)
    bound = (qk.T.row_topk(1)[0].clamp(min=0) * ov.row_topk(1)[0].clamp(min=0)).flatten()
    found, least = [], 0.0
    for source in bound.argsort(descending=True).split(BLOCK // 4):
        if found and bound[source[0]] < least:
            break
        looked = qk.T.take(source).row_topk(min(k, qk.shape[0]))
        outs = ov.take(source).row_topk(min(k, ov.shape[1]))
        rows = pair(source, looked, outs, min(k, looked[0].shape[1] * outs[0].shape[1]))
        found.append(SkipTrigrams(*(field.flatten() for field in rows)))
        every = SkipTrigrams(*(torch.cat(fields) for fields in zip(*found, strict=True)))
        top = every.values.topk(min(k, len(every.values)))
        found = [SkipTrigrams(top.values, *(field[top.indices] for field in every[1:]))]
        least = top.values[-1] if len(top.values) == k else 0.0
    return found[0]


def pair(source: Tensor, looked: tuple[Tensor, Tensor], outs: tuple[Tensor, Tensor], k: int) -> SkipTrigrams:
    """Of each source: the k largest products of a QK entry and an OV entry, both positive, from `row_topk` of each."""
    fields = []
    for part in torch.arange(len(source)).split(BLOCK // 4):
        product = looked[0][part].clamp(min=0)[:, :, None] * outs[0][part].clamp(min=0)[:, None]
        values, place = product.flatten(1).topk(min(k, product[0].numel()))
        width = product.shape[2]
        destination, out = looked[1][part].gather(1, place // width), outs[1][part].gather(1, place % width)
        fields.append((values, source[part, None].expand_as(place), destination, out))
    return SkipTrigrams(*(torch.cat(field) for field in zip(*fields, strict=True)))


@checked
def count(
    ids: Annotated[corpus.Ids, long("n_tokens"), within(0, 2**16 - 1)],
    source: Annotated[Column, long("n")],
    destination: Column,
    out: Column,
    span: Size = SPAN,
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Occasions of each skip-trigram in a text, and how many of them `out` followed.

    An occasion: `destination`, with `source` among the `span` tokens before it in the same document, and any token
    after it but a start token.
    """
    ids = to_numpy(ids, int)
    order = np.argsort(ids.astype(np.uint16), kind="stable")  # positions, token by token
    ends = np.cumsum(np.bincount(ids, minlength=1 + max(int(t.max()) for t in (source, destination))))
    document = np.maximum.accumulate(np.where(ids == 0, np.arange(len(ids)), 0))  # where its start token stands

    def positions(token: int) -> np.ndarray:
        return order[ends[token - 1] if token else 0 : ends[token]]

    followers, occasions, hits = {}, [], []
    for a, b, c in zip(*(t.tolist() for t in (source, destination, out)), strict=True):
        if (a, b) not in followers:
            here, sources = positions(b), positions(a)
            here = here[here + 1 < len(ids)]
            here = here[ids[here + 1] != 0]
            before = np.searchsorted(sources, here) - 1  # the nearest source before each destination
            last = np.where(before >= 0, sources[np.maximum(before, 0)] if len(sources) else -1, -1)
            followers[a, b] = np.bincount(ids[here[last >= np.maximum(here - span, document[here])] + 1])
        after = followers[a, b]
        occasions.append(after.sum()), hits.append(after[c] if c < len(after) else 0)
    return torch.tensor(np.array(occasions, dtype=np.int64)), torch.tensor(np.array(hits, dtype=np.int64))


@checked
def lift(occasions: Numbers, hits: Numbers, destination: Column, out: Column) -> Float[Tensor, " n"]:
    """P(out | destination, source before) / P(out | destination), the latter from the whole training text.

    NaN without an occasion, and where `out` never follows `destination` at all.
    """
    bigrams, rows, columns = corpus.bigram_counts(), to_numpy(destination, int).copy(), to_numpy(out, int).copy()
    base = bigrams[rows, columns] / bigrams.sum(1)[rows]
    return (hits.cpu() / occasions.cpu()) / torch.as_tensor(base)


@checked
def control_sources(source: Column, destination: Column, out: Column) -> Int[Tensor, " n"]:
    """For each skip-trigram another source of like frequency: the next in rank that is none of its three tokens."""
    counts, tokens = corpus.token_counts(), corpus.common_tokens()
    ranked = tokens[counts[tokens].argsort(stable=True)].tolist()
    rank = {token: place for place, token in enumerate(ranked)}
    if rare := sorted(set(source.tolist()) - set(rank)):
        raise CourseError(f"source {rare[0]}", "it was seen less than 100 times in training", "see common_tokens")
    swapped = []
    for three in zip(*(t.tolist() for t in (source, destination, out)), strict=True):
        place = rank[three[0]]
        near = ranked[place + 1 : place + 4] + ranked[place - 3 : place][::-1]
        swapped.append(next(token for token in near if token not in three))
    return torch.tensor(swapped)


@checked
def listed(model: AnyModel, ids: corpus.Ids, k: Size) -> dict[str, list]:
    """The k largest skip-trigrams of each head of layer 0, their controls, and the counts of both in a text."""
    check("n_layers", model.cfg.n_layers, Size)
    model = copy.deepcopy(model).cpu().double()  # so that the order is the same on every machine
    heads = [of_head(model, 0, head, k) for head in range(model.cfg.n_heads)]
    values, source, destination, out = (torch.cat(fields) for fields in zip(*heads, strict=True))
    control = control_sources(source, destination, out)
    occasions, hits = count(ids, source, destination, out)
    control_occasions, control_hits = count(ids, control, destination, out)
    return {
        "head": [head for head in range(model.cfg.n_heads) for _ in range(k)],
        "value": [float(f"{value:.5g}") for value in values.tolist()],
        "source": source.tolist(), "destination": destination.tolist(), "out": out.tolist(),
        "occasions": occasions.tolist(), "hits": hits.tolist(),
        "control": control.tolist(),
        "control_occasions": control_occasions.tolist(), "control_hits": control_hits.tolist(),
    }  # fmt: skip


def shipped() -> dict[str, Tensor]:
    """The 200 largest skip-trigrams of each head of the one-layer model, counted in the whole training text.

    Columns of equal length: head, value, source, destination, out, occasions, hits, and the same for the control,
    which is the same skip-trigram with its source swapped for a token of like frequency.
    """
    return {name: torch.tensor(column) for name, column in json.loads(corpus.read(SHIPPED)).items()}


def _check_tables(qk: FactoredMatrix, ov: FactoredMatrix) -> None:
    if qk.shape[1] != ov.shape[0]:
        rule = "they must be [destination, source] and [source, out] over the same sources"
        raise CourseError(f"tables of shapes {list(qk.shape)} and {list(ov.shape)}", rule, "check their order")
