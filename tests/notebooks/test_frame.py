"""Every chapter has the same frame: its head, its end, and what an exercise says of itself."""

import re

import nbformat
import pytest

from tools import notebooks

CHAPTERS = [path for path in notebooks.chapters() if re.match(r"\d\d_", path.name)]
LEADS = ["What you will learn.", "What you need.", "Time.", "The question.", "In the paper."]
END = ["Playground", "Exercises", "Quiz", "Take-aways", "Where to read on"]
DIFFICULTIES = ["easy", "medium", "hard"]
FIRST_EDITION = [path for path in CHAPTERS if path.stem[:2] in ("01", "02", "03", "04", "05", "06", "07", "08", "10")]
# What no reader should meet unexplained: at first it is a link to the glossary, or in *italics* and explained there.
STRANGE = ["prefix[- ]matching", "cross-entropy", "Kullback", "Shapley", "bootstrap", "Wilson", "Pearson"]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem, scope="module")
def cells(request) -> list:
    return nbformat.read(request.param, as_version=4).cells


@pytest.fixture(scope="module")
def text(cells) -> str:
    """The chapter's Markdown, without code."""
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def length(cells: list) -> tuple[int, int]:
    """How many words, and how many lines of code that is not folded, stand before the exercises."""
    words = lines = 0
    for cell in cells:
        if re.search("^## Exercises", cell.source, re.M):
            break
        if cell.cell_type == "markdown":
            words += len(re.sub("<!--.*?-->", "", cell.source, flags=re.S).split())
        elif not notebooks.FOLDED & set(cell.metadata.get("tags", [])):
            lines += sum(bool(line.strip()) for line in cell.source.split("\n"))
    return words, lines


def exercises(text: str) -> list[dict]:
    """Number, title, difficulty and minutes of each exercise, and whether its hint is folded."""
    parts = re.split(r"^### (?=Exercise )", text.split("\n## Quiz")[0], flags=re.M)[1:]
    found = []
    for part in parts:
        head = re.match(r"Exercise (\d+): (.+)\n+\*Difficulty: (\w+) · (\d+) minutes\.\*\n", part)
        assert head, f"not of the form '### Exercise N: title', '*Difficulty: easy · 5 minutes.*': {part[:120]!r}"
        hint = re.search(r"^:::\{dropdown\} Hint$.+?^:::$", part, re.M | re.S)
        found.append({"number": int(head[1]), "difficulty": head[3], "minutes": int(head[4]), "hint": bool(hint)})
    return found


def test_the_head_says_what_for_what_with_how_long_and_why(text):
    head = text.split("\n## ")[0]
    assert re.search(r"^\*\*After this chapter you can .+?\*\*$", head, re.M | re.S)
    box = re.search(r"^:::\{admonition\} This chapter at a glance\n(.+?)^:::$", head, re.M | re.S)[1]
    assert [lead.replace("notes and in the ", "") for lead in re.findall(r"^\*\*(.+?)\*\*", box, re.M)] == LEADS
    question = re.search(r"\*\*The question\.\*\*(.+?)\n\n", box, re.S)[1]
    assert "?" in question


def test_readers_predict_and_are_told_of_a_mistake(cells, text):
    acts = sum(len(re.findall(r"= predict\(", cell.source)) for cell in cells if cell.cell_type == "code")
    assert acts + text.count(":::{admonition} Predict\n") >= 2
    assert text.count(":::{admonition} The mistake people make\n") >= 1


# A prediction about what comes later than the next numbers.
LATER = {"11.predict.cut"}


def test_nothing_is_printed_between_a_prediction_and_its_result(cells):
    """The cell that shows the result is the one that is veiled until the reader has guessed."""
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    for i, source in enumerate(code):
        for name, key in re.findall(r"(\w+) = predict\(\s*\"([^\"]+)", source):
            [there] = [j for j in range(i, len(code)) if re.search(rf"reveal\(\s*{name}\b", code[j])]
            early = [code[j] for j in range(i + 1, there) if "print(" in code[j] and key not in LATER]
            assert early == [], key
            assert re.search(r"print\(|plt\.|plots\.|_figure\(|scatter\(|ax\.", code[there]), (
                f"{key}: nothing is veiled"
            )


def test_the_end_has_its_parts_in_order(text):
    parts = re.findall(r"^## (.+)$", text, re.M)
    assert parts[-len(END) :] == END
    ends = dict(zip(parts, re.split(r"^## .+$", text, flags=re.M)[1:], strict=True))
    assert ends["Take-aways"].count("\n* ") >= 3 and ends["Where to read on"].count("\n* ") >= 2


def test_the_end_comes_back_to_the_opening(text):
    asked = re.escape("**What of the [opening](intro.md), six random words that come twice, can you now explain?**")
    [said] = re.findall(f"^{asked}(.+?)\n\n", text, re.M | re.S)
    assert 2 <= len(re.findall(r"[.:?](?=\s|$)", said)) <= 5, said
    assert text.index(said) > text.index("## Take-aways")


def test_a_chapter_can_be_read_at_one_sitting(cells):
    words, lines = length(cells)
    assert 500 < words <= 3000 and 0 < lines <= 200


def test_the_first_nine_chapters_are_shorter_than_they_were():
    words = sum(length(nbformat.read(path, as_version=4).cells)[0] for path in FIRST_EDITION)
    assert len(FIRST_EDITION) == 9 and words <= 20_500


def test_the_changelog_says_how_long_chapters_are_now(root):
    """To a twentieth: a sentence more or less need not be told."""
    table = (root / "CHANGELOG.md").read_text("utf-8").split("| chapter | words before |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| \S+ \| (\d+) \| \S+ \| (\d+) \|$", table, re.M)
    told = {int(chapter): (int(words), int(lines)) for chapter, words, lines in rows}
    counted = {int(path.stem[:2]): length(nbformat.read(path, as_version=4).cells) for path in CHAPTERS}
    assert set(told) == set(counted)
    far = {
        n: (told[n], counted[n])
        for n in told
        if abs(told[n][0] / counted[n][0] - 1) > 0.05 or abs(told[n][1] - counted[n][1]) > 5
    }
    assert far == {}


def test_words_and_lines_are_counted_up_to_the_exercises():
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# A title\n\n4.2<!-- 02.loss -->"), v4.new_code_cell("a = 1\n\nb = 2")]
    cells += [v4.new_code_cell("c = 3", metadata={"tags": [tag]}) for tag in ("hide-input", "hide-cell")]
    cells += [v4.new_markdown_cell("## Exercises\n\nMany words."), v4.new_code_cell("d = 4")]
    assert length(cells) == (4, 2)


@pytest.mark.parametrize("word", STRANGE)
def test_a_strange_word_is_explained_where_it_comes_first(text, word):
    prose = re.sub(r"<!--.*?-->|^```.*?^```", "", text, flags=re.S | re.M)
    if first := re.search(word, prose, re.I):
        around = [*re.finditer(r"\{term\}`[^`]+`|(?<!\*)\*(?![*\s])[^*]+\*", prose)]
        assert any(place.start() <= first.start() < place.end() for place in around), prose[first.start() - 80 :][:160]


def test_exercises_say_how_hard_and_how_long_and_have_a_folded_hint(text):
    found = exercises(text)
    assert [exercise["number"] for exercise in found] == list(range(1, len(found) + 1)) and len(found) >= 4
    assert all(exercise["hint"] for exercise in found), found
    assert all(1 <= exercise["minutes"] <= 45 for exercise in found), found
    ranks = [DIFFICULTIES.index(exercise["difficulty"]) for exercise in found]
    assert ranks == sorted(ranks) and len(set(ranks)) >= 2, "in rising difficulty"


def test_the_time_told_at_the_head_is_that_of_the_parts(text):
    read, whole = map(
        int, re.search(r"\*\*Time\.\*\* (\d+) minutes[^.]*?,? (\d+)\s+with\s+the\s+exercises", text).groups()
    )
    assert whole == read + sum(exercise["minutes"] for exercise in exercises(text))


def test_each_guess_has_a_cell_and_a_name_of_its_own_and_is_shown_beside_the_truth(cells, request):
    number = next(path.name[:2] for path in CHAPTERS if path.stem in request.node.callspec.id)
    guesses: dict[str, str] = {}
    for cell in cells:
        for name in re.findall(r"^(\w+) = predict\(", cell.source, re.M):
            [(key, _)] = re.findall(r'^\w+ = predict\(\s*"([^"]+)"((?s:.)*)\)$', cell.source, re.M)
            assert "hide-input" in cell.metadata.get("tags", []) and key.startswith(f"{number}.predict."), key
            assert name not in guesses and key not in guesses.values()
            guesses[name] = key
        assert set(re.findall(r"^reveal\((\w+),", cell.source, re.M)) <= set(guesses), "shown after it was asked for"
    shown = re.findall(r"^reveal\((\w+),", "\n".join(cell.source for cell in cells), re.M)
    assert set(shown) == set(guesses)
