"""Tokenizers, text, contexts and bigram counts: what ships with the course, read from `course_utils/data`.

The text is real: source code and documentation of open-source Python packages (`data/sources.json` names each with its
licence). `python -m course_utils corpus` builds all of it again from the pinned archives.
"""

import json
import lzma
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Int, Integer
from tokenizers import Tokenizer as _Tokenizer
from torch import Tensor

from course_utils.checked import FILLED, Made, Rule, check, checked, within
from course_utils.errors import CourseError

DATA = Path(__file__).parent / "data"
FULL = DATA / "full"  # built by `python -m course_utils corpus`; not shipped
START = "<|start|>"
VOCABULARIES = (4096, 1024)
SPLITS = ("train", "validation")


def _row(ids) -> Tensor:
    """Ids as a tensor; a list without any has no kind of its own."""
    row = torch.as_tensor(ids)
    return row if row.numel() else row.long()


Ids = Annotated[Integer[Tensor, " n_tokens"], Made(_row), "pass one row of ids, see load_text and Tokenizer.encode"]
Context = Annotated[int, within(2)]  # the start token and one more
Vocabulary = Annotated[Literal[VOCABULARIES], "use one of these sizes"]
Counts = Annotated[
    Integer[scipy.sparse.csr_array, "d_vocab d_vocab"],
    Rule(lambda counts, sizes: counts.sum() > 0, lambda sizes: "with a pair in it"),
    "see bigram_counts and count_bigrams",
]


class Tokenizer:
    """Byte-level byte-pair encoding. `encode` never adds the start token."""

    def __init__(self, inner: _Tokenizer, start: str = START):
        self._inner, self._start = inner, start
        self.d_vocab = inner.get_vocab_size()
        self.start_id = inner.token_to_id(start)

    @checked
    def encode(self, text: Annotated[str, "decode bytes with .decode('utf-8')"]) -> list[int]:
        """Ids of a text; decoding them gives the text back, byte for byte."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            remedy = "read the file with its real encoding, or with errors='replace'"
            raise CourseError(
                f"text with a lone surrogate at {error.start}", "it must be valid Unicode", remedy
            ) from error
        # The start token's name, should somebody type it, is text like any other.
        return [i for part in _split(text, self._start) for i in self._inner.encode(part).ids]

    @checked
    def encode_batch(self, texts: Annotated[Sequence[Any], "pass [text]"]) -> list[list[int]]:
        """`encode` for many texts, on all cores."""
        try:
            if not any(self._start in text for text in texts):
                return [encoding.ids for encoding in self._inner.encode_batch_fast(texts)]
        except TypeError:
            pass  # one of them is no text: `encode` says which and why
        return [self.encode(text) for text in texts]

    @checked
    def decode(self, ids: Annotated[Ids, within(below="d_vocab"), "pass one row of this tokenizer's own ids"]) -> str:
        """The text of some ids; the start token appears by its name."""
        return self._inner.decode(ids.tolist(), skip_special_tokens=False)

    def one(self, text: str) -> int:
        """The id of a text that is a single token."""
        ids = self.encode(text)
        if len(ids) != 1:
            rule = "it must be one token of the vocabulary"
            raise CourseError(f"{text!r}, {len(ids)} tokens", rule, "look at tokenizer.encode(text)")
        return ids[0]

    def context(self, text: str, n_ctx: int | None = None) -> Int[Tensor, "1 pos"]:
        """What a model reads of a text: the start token, then the text's tokens, cut to `n_ctx` in all."""
        return torch.tensor([[self.start_id, *self.encode(text)][:n_ctx]])

    def show(self, token: int) -> str:
        """One token made visible: spaces as ·, line ends as ↵, other control characters by their pictures."""
        return "".join(_visible(c) for c in self.decode([token]))


def _split(text: str, start: str) -> list[str]:
    first, *rest = text.split(start)
    return [first] + [piece for part in rest for piece in (start[:1], start[1:], part)]


def _visible(c: str) -> str:
    named = {" ": "·", "\n": "↵", "\t": "⇥", "\x7f": "␡"}
    if c in named:
        return named[c]
    if ord(c) < 32:
        return chr(0x2400 + ord(c))
    return c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}"


@checked
@cache
def load_tokenizer(d_vocab: Vocabulary = 4096) -> Tokenizer:
    """The shipped tokenizer of 4096 tokens (the shipped models') or of 1024 (for small models that readers train)."""
    return Tokenizer(_Tokenizer.from_str(read(f"tokenizer-{d_vocab}.json").decode("utf-8")))


@checked
@cache
def load_text(split: Literal[SPLITS], d_vocab: Vocabulary = 4096, full: bool = False) -> Int[Tensor, " n_tokens"]:
    """Token ids of the shipped text, int64, each document preceded by one start token.

    `split` is "train" or "validation"; a document is in one of them, whole. With `full=True` all training text,
    which must have been built by `python -m course_utils corpus`.
    """
    tokenizer = load_tokenizer(d_vocab)
    if full and split == "train":
        path = FULL / f"train-{d_vocab}.npy"
        if not path.exists():
            remedy = (
                "run `python -m course_utils corpus` (it downloads 42 MB), or use the shipped text (--text shipped)"
            )
            raise CourseError("the full training text", "it is not in this folder", remedy)
        return torch.from_numpy(np.load(path).astype(np.int64))
    ids = np.frombuffer(_decompress(f"{split}.u16.xz"), dtype="<u2").astype(np.int64)
    if d_vocab == VOCABULARIES[0]:
        return torch.from_numpy(ids)
    shipped = load_tokenizer(VOCABULARIES[0])
    texts = [shipped.decode(document) for document in documents(torch.from_numpy(ids))]
    # Lists of ids take much room: a few documents at a time.
    parts = (texts[at : at + 128] for at in range(0, len(texts), 128))
    return torch.cat([join(tokenizer.encode_batch(part), tokenizer.start_id) for part in parts])


@checked
def join(
    encoded: Annotated[Sequence[Annotated[Integer[Tensor, " _"], Made(_row)]], FILLED, "see Tokenizer.encode_batch"],
    start_id: int = 0,
) -> Int[Tensor, " n_tokens"]:
    """Documents' ids in one tensor, each preceded by the start token."""
    start = torch.tensor([start_id])
    return torch.cat([part.long() for ids in encoded for part in (start, ids)])


@checked
def documents(ids: Ids, start_id: int = 0) -> list[Int[Tensor, " length"]]:
    """The documents of a text, without their start tokens."""
    starts = (ids == start_id).nonzero().flatten().tolist()
    if len(ids) and not starts:
        raise CourseError(f"a text of {len(ids)} tokens", "no document begins in it", "put start tokens before them")
    ends = [*starts[1:], len(ids)]
    return [ids[a + 1 : b] for a, b in zip(starts, ends, strict=True)]


@checked
def window_starts(ids: Ids, n_ctx: Context, start_id: int = 0) -> Int[Tensor, " n"]:
    """Every position at which n_ctx - 1 consecutive tokens of one document begin."""
    length = n_ctx - 1
    if len(ids) < length:
        return ids.new_zeros(0)
    boundary = torch.nn.functional.pad((ids == start_id).long().cumsum(0), (1, 0))
    return ((boundary[length:] - boundary[:-length]) == 0).nonzero().flatten()


@checked
def windows(
    ids: Ids,
    n_ctx: Context,
    starts: Annotated[Integer[Tensor, " n"], Made(_row), "take them from window_starts"] | None = None,
    start_id: int = 0,
) -> Int[Tensor, "n n_ctx"]:
    """Contexts: the start token, then n_ctx - 1 consecutive tokens of one document. The only way to make them.

    Without `starts` the documents are cut one after the other into windows that do not overlap, and tails too short
    for a window are left out. With `starts` (from `window_starts`) the windows begin there.

    Raises CourseError when no document is long enough.
    """
    length = n_ctx - 1
    starts = _tile(ids, length, start_id) if starts is None else starts
    if not len(starts):
        rule = f"no document in it has the {length} that one context needs"
        raise CourseError(f"a text of {len(ids)} tokens", rule, "use a longer text or a smaller n_ctx")
    fits = 0 <= starts.min() and starts.max() <= len(ids) - length
    text = ids[starts[:, None] + torch.arange(length)] if fits else None
    if text is None or (text == start_id).any():
        rule = f"from each of them {length} tokens of one document must follow, and the text has {len(ids)} in all"
        raise CourseError(f"starts from {starts.min()} to {starts.max()}", rule, "take them from window_starts")
    return torch.cat([text.new_full((len(text), 1), start_id), text], dim=1)


@checked
def spread(windows: Annotated[Integer[Tensor, "n pos"], "use windows()"], most: Annotated[int, within(1)]) -> Tensor:
    """At most so many of the windows, as far apart as whole steps allow."""
    return windows[:: max(1, len(windows) // most)][:most]


@checked
def window_documents(ids: Ids, n_ctx: Context, start_id: int = 0) -> Int[Tensor, " n"]:
    """For each window of `windows(ids, n_ctx)`, the number of the document that it was cut from."""
    return (ids == start_id).long().cumsum(0)[_tile(ids, n_ctx - 1, start_id)] - 1


@checked
def middle_windows(ids: Ids, n_ctx: Context) -> Int[Tensor, "n n_ctx"]:
    """Of `windows(ids, n_ctx)` one of each document: that in its middle."""
    every, document = windows(ids, n_ctx), window_documents(ids, n_ctx)
    places = [(document == number).nonzero().flatten() for number in document.unique()]
    return every[torch.stack([each[len(each) // 2] for each in places])]


def _tile(ids: Int[Tensor, " n_tokens"], length: int, start_id: int) -> Int[Tensor, " n"]:
    """Where windows begin that lie side by side in each document."""
    marks = (ids == start_id).nonzero().flatten().tolist()
    begins, ends = [0] + [mark + 1 for mark in marks], [*marks, len(ids)]
    fitting = [(a, b - length + 1) for a, b in zip(begins, ends, strict=True) if b - a >= length]
    return torch.cat([torch.arange(a, b, length) for a, b in fitting] or [ids.new_zeros(0)])


@checked
@cache
def token_counts(d_vocab: Vocabulary = 4096) -> Int[Tensor, " d_vocab"]:
    """How often each token occurs in the whole training text."""
    return torch.tensor(json.loads(read("token-counts.json"))[str(d_vocab)])


@checked
def common_tokens(d_vocab: Vocabulary = 4096, least: Annotated[int, within(0)] = 100) -> Int[Tensor, " n"]:
    """The tokens seen at least 100 times in training, the start token left out: what scores and tables draw from."""
    common = (token_counts(d_vocab) >= least).nonzero().flatten()
    return common[common != load_tokenizer(d_vocab).start_id]


@cache
def bigram_counts() -> scipy.sparse.csr_array:
    """How often each token (row) was followed by each other (column) in the whole training text, as int64.

    Pairs with the start token are left out. The whole text is larger than the part that ships.
    """
    counts = np.frombuffer(_decompress("bigrams-4096.i32.xz"), dtype="<i4")
    lengths, columns, data = np.split(counts, [4096, 4096 + (len(counts) - 4096) // 2])
    return scipy.sparse.csr_array((data.astype(np.int64), columns, np.append(0, lengths.cumsum())), shape=(4096, 4096))


@checked
def pack_bigrams(counts: Counts) -> bytes:
    """The file that `bigram_counts` reads: entries a row, their columns, their counts, as 32-bit integers."""
    counts.sort_indices()
    parts = np.diff(counts.indptr), counts.indices, counts.data
    return lzma.compress(np.concatenate(parts).astype("<i4").tobytes(), preset=9)


@checked
def count_bigrams(ids: Ids, d_vocab: Annotated[int, within(1)], start_id: int = 0) -> scipy.sparse.csr_array:
    """Bigram counts [present token, next token] of a text, pairs with the start token left out."""
    check("ids", ids, Annotated[Ids, within(0, d_vocab - 1)])
    now, after = ids[:-1].numpy(), ids[1:].numpy()
    keep = (now != start_id) & (after != start_id)
    ones = np.ones(keep.sum(), dtype=np.int64)
    return scipy.sparse.coo_array((ones, (now[keep], after[keep])), shape=(d_vocab, d_vocab)).tocsr()


@checked
def read(name: Annotated[str, "pass the name of a file"]) -> bytes:
    """A shipped file of `data/`, by name."""
    path = DATA / name
    if not path.is_file():
        raise CourseError(f"{name}", f"it should be in {DATA.name}/ and is not", "fetch the repository again")
    return path.read_bytes()


def _decompress(name: str) -> bytes:
    try:
        return lzma.decompress(read(name))
    except lzma.LZMAError as error:
        raise CourseError(name, f"it is damaged ({error})", "fetch the repository again") from error


def manifest() -> dict:
    """What ships in `data/`: for each file its SHA-256 and size; the sources and their licences."""
    return json.loads(read("manifest.json"))
