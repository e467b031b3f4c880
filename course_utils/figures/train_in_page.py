"""A two-layer model that trains in the page, from random weights to induction: the data of the figure."""

from functools import cache

from course_utils.figures.host import EXPORT, Explorable, joined, table
from course_utils.repeats import TURNED, RepeatsConfig, train_on_repeats
from course_utils.roles import LEAST

STEPS, EVERY = 400, 50  # of the run that stands there without JavaScript
# What is changed, and what then happens (tests/unit/test_train_in_page_figure.py holds them to it).
PRESETS = {
    "The paper’s story: two layers": {},
    "One layer": {"n_layers": 1},
    "One layer, smeared keys": {"n_layers": 1, "smeared_keys": True},
    "A fixed length": {"shortest": 8, "longest": 8},
}
# The prediction before it, which the runs answer.
TRUTH = "Keys that know the letter before: from a second layer, or smeared"
ASKS = {
    "key": "10.predict.turn",
    "question": "A model has turned when a head finds what followed its letter before. What must be there for that?",
    "kind": "choices",
    "choices": [
        "Time: one layer will do, if it trains long enough",
        "A head that looks one back: one layer will do, if it is given one",
        TRUTH,
    ],
}


def train_in_page_figure() -> Explorable:
    """Train a small model in the page itself, and watch its heads."""
    data = {
        "settings": RepeatsConfig().to_dict(),
        "presets": [[name, change] for name, change in PRESETS.items()],
        "turned": TURNED,
        "roles": {role: least for role, (_, least) in LEAST.items()},
        "worker": train_worker(),
    }
    return Explorable("train_in_page", data, _plain())


def train_worker() -> str:
    """train/worker.js as a classic script, for a worker."""
    return EXPORT.sub("", joined("train/worker.js"))


@cache
def _plain() -> str:
    """The run of the first preset, in rows."""
    record = train_on_repeats(RepeatsConfig(), STEPS, EVERY)[1]
    rows = [
        [str(step), *(f"{value:.2f}" for value in (first, later, previous.max(), prefix.max()))]
        for step, first, later, previous, prefix in zip(
            *(record[name] for name in ("step", "first", "later", "previous", "prefix")), strict=True
        )
    ]
    heads = ["step", "loss, first copy", "loss, later copies", "best previous-token score", "best prefix matching"]
    return (
        "<p>With JavaScript, a two-layer model trains here, in the page, on random tokens that repeat. This is the "
        "same run, made by Python: a head learns to look at the token before, another comes to use what it wrote, "
        "and the loss on what is known already falls.</p>\n" + table(heads, rows, "Losses in nats, scores from 0 to 1")
    )
