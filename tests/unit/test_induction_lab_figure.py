"""The induction lab: what Python puts on the page and beside it. (What it computes there: tests/browser.)"""

import base64
import json
import re
import zlib
from types import SimpleNamespace

import pytest
import torch
from bs4 import BeautifulSoup

from course_utils.checkpoints import SHIPPED, WEIGHTS, load_model
from course_utils.corpus import load_tokenizer
from course_utils.errors import CourseError
from course_utils.figures import induction_lab
from course_utils.figures.induction_lab import (
    CODE,
    PART,
    PROSE,
    repeated_pairs,
    ship,
    tokenizer_data,
    whole_words,
    worker_source,
)  # fmt: skip
from course_utils.roles import heads_of


@pytest.fixture(scope="module")
def figure():
    return induction_lab("lab")


def test_the_weights_are_written_whole_and_in_parts(tmp_path):
    ship(tmp_path / "lab")
    for name in SHIPPED:
        weights = (WEIGHTS / f"{name}.safetensors").read_bytes()
        assert (tmp_path / "lab" / f"{name}.safetensors").read_bytes() == weights
        parts = b""
        for number in range(-(-len(weights) // PART)):
            script = (tmp_path / "lab" / f"{name}-{number}.js").read_text("ascii")
            found = re.fullmatch(rf'courseLab\("{name}",{number},"([A-Za-z0-9+/=]+)"\);\n', script)
            parts += base64.b64decode(found[1], validate=True)
        assert parts == weights
        assert len(weights) <= 9e6


def test_weights_that_are_there_are_not_written_again(tmp_path):
    ship(tmp_path)
    (tmp_path / "two-layer-0.js").write_text("kept")
    (tmp_path / "one-layer.safetensors").write_bytes(b"broken off")
    (tmp_path / "one-layer-0.js").write_text("old")
    ship(tmp_path)
    assert (tmp_path / "two-layer-0.js").read_text() == "kept"
    assert (tmp_path / "one-layer-0.js").read_text().startswith("courseLab")


def test_the_data_say_what_the_weights_are(figure):
    for about in figure.data["models"]:
        cfg = load_model(about["name"], "cpu").cfg
        assert (about["layers"], about["heads"], about["context"]) == (cfg.n_layers, cfg.n_heads, cfg.n_ctx)
        weights = (WEIGHTS / f"{about['name']}.safetensors").read_bytes()
        parts = [weights[start : start + PART] for start in range(0, len(weights), PART)]
        assert about["bytes"] == len(weights) and about["sums"] == [zlib.crc32(part) for part in parts]
    assert [about["name"] for about in figure.data["models"]] == ["two-layer", "one-layer", "zero-layer"]


def test_the_heads_that_are_marked_are_those_of_the_cards(figure):
    kinds = {about["name"]: about["kinds"] for about in figure.data["models"]}
    assert kinds["zero-layer"] == {} and kinds["one-layer"] == {"0.8": "previous"}
    for name, marked in kinds.items():
        for role in ("induction", "previous"):
            assert {head for head, its in marked.items() if its == role} == {
                f"{a}.{b}" for a, b in heads_of(name, role)
            }
    previous, induction = figure.data["path"]
    assert (kinds["two-layer"][previous], kinds["two-layer"][induction]) == ("previous", "induction")


def test_the_tokenizer_is_all_there():
    data, tokenizer = tokenizer_data(), load_tokenizer()
    assert len(set(data["bytes"])) == 256 and 1 + 256 + len(data["merges"]) == tokenizer.d_vocab
    spelled = {token: bytes([byte]) for byte, token in enumerate(data["bytes"])}
    for left, right in data["merges"]:  # a pair is known before it is joined
        spelled[len(spelled) + 1] = spelled[left] + spelled[right]
    wrong = [t for t, b in spelled.items() if b.decode("utf-8", "replace") != tokenizer.decode([t])]
    assert wrong == []


def test_each_word_is_one_token():
    tokenizer, words = load_tokenizer(), whole_words()
    assert len(set(words)) == len(words) >= 100
    assert tokenizer.encode("".join(f" {word}" for word in words)) == [tokenizer.encode(f" {w}")[0] for w in words]


def test_the_texts_fit_the_context():
    assert all(20 <= len(load_tokenizer().encode(text)) <= 80 for text in (CODE, PROSE))


def test_the_worker_is_one_script_without_imports():
    source = worker_source()
    assert not re.search(r"^\s*(import|export)\b", source, re.M)
    for name in ("class Tokenizer", "class Model", "class Run", "page.onmessage"):
        assert source.count(name) == 1


def test_the_module_holds_each_of_its_parts_once(figure):
    parts = ("make", "keep", "found", "partsOf", "headsView", "resultsView", "render")
    for name in (*(f"function {part}(" for part in parts), "class Session ", "const headsOf ="):
        assert figure.module.count(name) == 1, name
    assert not re.search(r"^ *(//|/\*\*\n)", figure.module, re.M), "comments stay in the repository"


def test_pairs_that_stood_before():
    assert repeated_pairs([0, 5, 6, 7, 5, 6, 6, 7, 6]) == [False] * 5 + [True, False, True, False]


def test_the_plain_version_has_the_losses(figure):
    soup = BeautifulSoup(figure.plain, "html.parser")
    rows = [[float(cell.get_text()) for cell in row.select("td")] for row in soup.select("tbody tr")]
    model, tokenizer = load_model("two-layer", "cpu"), load_tokenizer()
    ids = torch.tensor([[tokenizer.start_id, *tokenizer.encode(figure.data["text"])]])
    logits = model(ids)[0]
    each = torch.nn.functional.cross_entropy(logits[1:-1], ids[0, 2:], reduction="none")
    assert rows[0][0] == pytest.approx(each.mean().item(), abs=0.006)
    assert rows[0][1] == pytest.approx(each[20:].mean().item(), abs=0.006)  # the second copy but for its first word
    assert len(rows) == 4 and rows[1][1] > rows[3][1] > rows[0][1] + 0.5
    assert soup.select_one("code").get_text() == figure.data["text"]


def test_the_still_is_a_token_whose_next_one_the_previous_token_head_is_needed_for(figure):
    still, words = figure.data["still"], figure.data["text"].split()
    assert [token.strip("\u00b7 ") for token in still["tokens"]] == words
    here, looks = still["here"], still["looks"]
    assert here >= 20 and looks.index(max(looks)) == here - 19 and max(looks) > 0.5
    on, off = still["right"]
    assert on > 20 * off > 0


def test_size_and_form(figure):
    html = figure._repr_html_()
    script = re.search(r'<script type="application/json">(.*)</script>', html)
    assert json.loads(script[1]) == figure.data and len(script[1]) < 200_000
    assert html == induction_lab("lab")._repr_html_()
    assert "<" not in script[1]


@pytest.mark.parametrize("files", ["", None, 3, b"lab"])
def test_bad_input(files):
    with pytest.raises(CourseError):
        induction_lab(files)


def test_the_extension_ships_weights_only_with_the_lab(course_site, tmp_path):
    def app(*pages):
        env = SimpleNamespace(found_docs=set(pages))
        return SimpleNamespace(builder=SimpleNamespace(name="html"), env=env, outdir=str(tmp_path))

    course_site.ship_weights(app("book/intro"), None)
    course_site.ship_weights(app("book/induction_lab"), RuntimeError())
    assert list(tmp_path.iterdir()) == []
    course_site.ship_weights(app("book/intro", "book/induction_lab"), None)
    assert (tmp_path / "_static" / "lab" / "two-layer.safetensors").exists()
