"""A prediction: the question before a result, and the guess beside the truth with it (course_utils/predict.py)."""

from course_utils.figures.host import Explorable, words


def predict_figure(asks: dict, truth=None, value=None) -> Explorable:
    """The question that `asks` holds or, with the `truth`, the answer to it; `value` is what was guessed by then."""
    if truth is None:
        return Explorable("predict", {"asks": asks, "value": value}, _plain(asks))
    told = f'<p class="ex-answer">{words(asks["question"])} <b>{words(_told(asks, truth))}</b></p>'
    return Explorable("predict", {"asks": asks, "truth": truth, "value": value}, told)


def _plain(asks: dict) -> str:
    choices = "".join(f"<li>{words(choice)}</li>" for choice in asks.get("choices", ()))
    return f'<p class="ex-question">{words(asks["question"])}</p>' + (f"<ul>{choices}</ul>" if choices else "")


def _told(asks: dict, truth) -> str:
    """The truth in words."""
    kind = asks["kind"]
    if kind == "curve":
        (first, start), (last, end) = truth[0], truth[-1]
        name, over = asks["names"][1], asks["names"][0]
        return f"At {over} {first:.4g} the {name} is {start:.3g}, at {last:.4g} it is {end:.3g}."
    return {
        "choices": lambda: truth,
        "number": lambda: f"{truth:.4g} {asks['unit']}".strip(),
        "cell": lambda: f"{truth[0]}, {truth[1]}",
    }[kind]()
