"""Figures that answer to the reader: a Python module, a JavaScript module and a style for each, by the same name."""

from course_utils.explorables.attention import attention
from course_utils.explorables.bigrams import bigrams
from course_utils.explorables.composition import composition
from course_utils.explorables.eigenvalues import eigenvalues
from course_utils.explorables.formation import formation
from course_utils.explorables.host import HERE, Explorable, visible
from course_utils.explorables.induction_at_work import induction_at_work
from course_utils.explorables.induction_lab import induction_lab
from course_utils.explorables.quiz import quiz
from course_utils.explorables.residual_stream import residual_stream
from course_utils.explorables.skip_trigrams import skip_trigrams
from course_utils.explorables.term_importance import term_importance

__all__ = [
    "Explorable",
    "HERE",
    "attention",
    "bigrams",
    "composition",
    "eigenvalues",
    "formation",
    "induction_at_work",
    "induction_lab",
    "quiz",
    "residual_stream",
    "skip_trigrams",
    "term_importance",
    "visible",
]
