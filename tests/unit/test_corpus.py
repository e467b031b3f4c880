"""Tokenizers, text, contexts and counts; and what ships in `course_utils/data`."""

import hashlib
import subprocess
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from course_utils import checkpoints, corpus
from course_utils.errors import CourseError
from tools.build_corpus import SOURCES

START = "<|start|>"
PIECES = st.sampled_from([START, "<", "|start|>", "start", "|", ">", " ", "é", "🙂"])
TEXT = st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join)
IDS = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(torch.tensor)  # 0, the start token, comes often
CONTEXT = st.integers(2, 6)


@pytest.fixture(scope="session", params=corpus.VOCABULARIES)
def tokenizer(request):
    return corpus.load_tokenizer(request.param)


# --- tokenizers ---


@given(text=TEXT)
@example(text="")
@example(text="a🙂\x00\x1b[0m\r\n\t\x7f\u200d\ufeff\U0010ffff")
@example(text=f"{START}x{START}{START}")
@example(text=f"<{START}>")
def test_decoding_gives_the_text_back_and_encoding_adds_no_start_token(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(torch.tensor(ids, dtype=torch.long)) == text
    assert tokenizer.start_id not in ids
    assert all(0 < i < tokenizer.d_vocab for i in ids)


@given(texts=st.lists(TEXT, max_size=4))
def test_a_batch_is_encoded_as_its_texts_are(tokenizer, texts):
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_every_token_decodes_and_can_be_shown(tokenizer):
    assert (tokenizer.start_id, tokenizer.decode([0])) == (0, START)
    shown = [tokenizer.show(token) for token in range(tokenizer.d_vocab)]
    assert all(text and text.isprintable() and " " not in text for text in shown)
    assert tokenizer.show(tokenizer.encode(" the")[0]) == "·the"
    assert tokenizer.show(tokenizer.encode("\n")[0]) == "↵"
    assert tokenizer.show(tokenizer.encode("\t")[0]) == "⇥"
    assert tokenizer.show(tokenizer.encode("\x00")[0]) == "␀"


def test_the_vocabularies_have_the_promised_sizes():
    assert corpus.VOCABULARIES == (4096, 1024)
    assert [corpus.load_tokenizer(size).d_vocab for size in corpus.VOCABULARIES] == [4096, 1024]
    assert corpus.load_tokenizer().d_vocab == 4096


# --- documents and contexts ---


def by_hand(ids: torch.Tensor) -> list[list[int]]:
    """Runs between start tokens; what stands before the first one is a document too."""
    runs = [[]]
    for token in ids.tolist():
        if token == 0:
            runs.append([])
        else:
            runs[-1].append(token)
    return runs


@given(texts=st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=5))
def test_documents_are_what_was_joined(texts):
    ids = corpus.join(texts)
    assert ids.dtype == torch.int64
    assert [document.tolist() for document in corpus.documents(ids)] == texts
    assert (ids == 0).sum() == len(texts) and ids[0] == 0


@given(ids=IDS, n_ctx=CONTEXT)
def test_windows_tile_each_document_from_its_beginning(ids, n_ctx):
    length = n_ctx - 1
    expected, documents = [], []
    for number, run in enumerate(by_hand(ids)):
        for a in range(0, len(run) - length + 1, length):
            expected.append([0, *run[a : a + length]])
            documents.append(number - 1)  # documents are counted from the first start token
    if not expected:
        with pytest.raises(CourseError):
            corpus.windows(ids, n_ctx)
        return
    found = corpus.windows(ids, n_ctx)
    assert found.tolist() == expected
    assert found.dtype == torch.int64
    assert (found[:, 0] == 0).all() and (found[:, 1:] != 0).all()
    assert corpus.window_documents(ids, n_ctx).tolist() == documents


@given(ids=IDS, n_ctx=CONTEXT)
def test_window_starts_are_all_places_where_a_context_fits(ids, n_ctx):
    length, row = n_ctx - 1, ids.tolist()
    expected = [i for i in range(len(row) - length + 1) if 0 not in row[i : i + length]]
    starts = corpus.window_starts(ids, n_ctx)
    assert starts.tolist() == expected
    if expected:
        assert corpus.windows(ids, n_ctx, starts).tolist() == [[0, *row[i : i + length]] for i in expected]


def test_windows_of_real_text_stay_in_one_document(small_text):
    n_ctx, joined = 32, []
    for number, document in enumerate(corpus.documents(small_text)):
        whole = document[: len(document) // (n_ctx - 1) * (n_ctx - 1)]
        joined += [(number, row) for row in whole.view(-1, n_ctx - 1).tolist()]
    found = corpus.windows(small_text, n_ctx)
    assert found[:, 1:].tolist() == [row for _, row in joined]
    assert corpus.window_documents(small_text, n_ctx).tolist() == [number for number, _ in joined]


# --- bigrams ---


@given(ids=IDS)
def test_bigram_counts_against_a_loop(ids):
    row = ids.tolist()
    expected = Counter(pair for pair in zip(row, row[1:], strict=False) if 0 not in pair)
    found = corpus.count_bigrams(ids, d_vocab=5).toarray()
    assert {pair: n for pair, n in np.ndenumerate(found) if n} == dict(expected)


def test_shipped_bigram_counts_are_of_more_text_than_ships():
    whole, excerpt = corpus.bigram_counts(), corpus.count_bigrams(corpus.load_text("train"), 4096)
    assert whole.shape == (4096, 4096) and whole.dtype == np.int64
    assert whole.sum() > 2 * excerpt.sum()
    difference = whole - excerpt
    assert difference.min() >= 0
    assert whole[[0]].sum() == whole[:, [0]].sum() == 0


def test_packed_bigrams_come_back(monkeypatch, tmp_path):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4096, (500,), generator=generator)
    counts = corpus.count_bigrams(ids, 4096)
    (tmp_path / "bigrams-4096.i32.xz").write_bytes(corpus.pack_bigrams(counts))
    monkeypatch.setattr(corpus, "DATA", tmp_path)
    assert (corpus.bigram_counts.__wrapped__() != counts).nnz == 0


def test_token_counts_agree_with_bigram_counts():
    tokens, pairs = corpus.token_counts().numpy(), corpus.bigram_counts()
    assert tokens.shape == (4096,)
    assert tokens[0] == corpus.manifest()["documents"]["train"]  # one start token a document
    # Each token but a document's last is the first of a pair, each but a document's first the second of one.
    for side in (0, 1):
        missing = tokens[1:] - pairs.sum(side)[1:]
        assert (missing >= 0).all() and missing.sum() == tokens[0]
    assert tokens.sum() == corpus.manifest()["tokens"]["train, 4096"]
    assert corpus.token_counts(1024).shape == (1024,)
    assert corpus.token_counts(1024).sum() == corpus.manifest()["tokens"]["train, 1024"]


def test_common_tokens_are_those_seen_often():
    counts = corpus.token_counts()
    common = corpus.common_tokens()
    assert counts[0] >= 100  # the start token is frequent, and no token of a text
    assert set(common.tolist()) == {token for token, n in enumerate(counts.tolist()) if n >= 100 and token}
    assert len(common) > 3500


# --- what ships ---

# It changes only with its recorded hashes, which every run compares: what is read whole is for `make test-release`.

# Written in pieces, so that this file names no registry's host itself.
HOSTS = [
    f"{name}.{end}"
    for name, ends in {
        "py" + "pi": ("org", "python.org"), "python" + "hosted": ("org",), "npm" + "js": ("com", "org"),
        "crates": ("io",), "ruby" + "gems": ("org",), "pack" + "agist": ("org",), "deb" + "ian": ("org",),
        "ana" + "conda": ("org", "com"), "yarn" + "pkg": ("com",), "repo1.ma" + "ven": ("org",),
        "nu" + "get": ("org",), "proxy.go" + "lang": ("org",),
    }.items()
    for end in ends
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    """Every shipped document as a string, by split."""
    decode = corpus.load_tokenizer()._inner.decode_batch  # many at once: seconds in place of a minute
    rows = {split: corpus.documents(corpus.load_text(split)) for split in corpus.SPLITS}
    return {split: decode([ids.tolist() for ids in row], skip_special_tokens=False) for split, row in rows.items()}


@pytest.mark.release
def test_the_shipped_text_is_long_enough_and_whole(shipped):
    sizes = {split: sum(len(text.encode()) for text in texts) for split, texts in shipped.items()}
    assert sizes["train"] >= 24_000_000
    assert len(corpus.load_text("validation")) >= 500_000
    recorded = corpus.manifest()
    assert sizes["train"] / 1e6 == pytest.approx(recorded["megabytes"]["train, shipped"], abs=0.006)
    assert sizes["validation"] / 1e6 == pytest.approx(recorded["megabytes"]["validation"], abs=0.006)
    assert recorded["megabytes"]["train"] >= 80
    assert len(shipped["train"]) == recorded["documents"]["train, shipped"]
    assert len(shipped["validation"]) == recorded["documents"]["validation"]
    assert "\ufffd" not in "".join(text[:1] + text[-1:] for text in shipped["train"] + shipped["validation"])


@pytest.mark.release
def test_no_document_is_in_both_splits_nor_twice_in_one(shipped):
    keys = [" ".join(text.split()) for texts in shipped.values() for text in texts]
    assert len(keys) == len(set(keys))


@pytest.mark.release
def test_no_shipped_document_names_a_registrys_host(shipped):
    found = []
    for split, texts in shipped.items():
        for number, text in enumerate(texts):
            lowered = text.lower()
            found += [f"{split} {number}: {host}" for host in HOSTS if host in lowered]
    assert found == []


@pytest.mark.release
def test_no_shipped_document_names_the_start_token(shipped):
    assert not any(START in text or "\0" in text for texts in shipped.values() for text in texts)


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_load_text_gives_one_row_of_ids_that_begins_with_a_start_token(split):
    ids = corpus.load_text(split)
    assert ids.ndim == 1 and ids.dtype == torch.int64
    assert ids[0] == 0 and ids[-1] != 0
    assert 0 <= ids.min() and ids.max() < 4096
    assert len(ids) == corpus.manifest()["tokens"][f"{split}, shipped"]
    assert ((ids[1:] == 0) & (ids[:-1] == 0)).sum() == 0  # no document is empty


@pytest.mark.release
def test_the_small_vocabulary_has_the_same_documents(shipped):
    tokenizer = corpus.load_tokenizer(1024)
    documents = corpus.documents(corpus.load_text("validation", 1024))
    assert len(documents) == len(shipped["validation"])
    for number in (0, len(documents) // 2, -1):
        assert tokenizer.decode(documents[number]) == shipped["validation"][number]


def test_every_shipped_file_has_the_recorded_hash():
    recorded = corpus.manifest()["files"]
    for name, entry in recorded.items():
        raw = (corpus.DATA / name).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha256"], name
        assert len(raw) == entry["bytes"], name
    data = {path.name for path in corpus.DATA.iterdir() if path.suffix in (".json", ".xz")} - {"manifest.json"}
    assert data == set(recorded)  # no text, tokenizer or count ships without its hash


def test_what_ships_is_small(root):
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "course_utils"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    if tracked.returncode == 0:
        paths = [root / name for name in tracked.stdout.split("\0") if name]
    else:  # a copy without git
        paths = [path for path in (root / "course_utils").rglob("*") if corpus.FULL not in path.parents]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    weights = sum(path.stat().st_size for path in checkpoints.WEIGHTS.iterdir())
    assert weights < size < 52_000_000


def test_every_source_is_named_with_a_permissive_licence_and_a_pinned_archive():
    table = (corpus.DATA / "README.md").read_text("utf-8")
    assert len(SOURCES) >= 5
    for source in SOURCES:
        assert source["license"] in {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"}
        assert len(source["sha256"]) == 64
        assert source["archive"] == f"{source['name']}-{source['version']}.tar.gz"
        row = next(line for line in table.splitlines() if line.startswith(f"| {source['name']} |"))
        assert source["version"] in row and source["license"] in row
        assert (corpus.DATA / "licenses" / f"{source['name']}.txt").stat().st_size > 500
