"""Figures that answer to the reader: a Python module, a JavaScript module and a style for each, by the same name."""

from course_utils.figures.attention import attention_figure
from course_utils.figures.bigrams import bigrams_figure
from course_utils.figures.composition import composition_figure
from course_utils.figures.eigenvalues import eigenvalues_figure
from course_utils.figures.formation import formation_figure
from course_utils.figures.host import HERE, Explorable, visible
from course_utils.figures.induction_at_work import induction_at_work_figure
from course_utils.figures.induction_lab import induction_lab
from course_utils.figures.opening import opening_figure
from course_utils.figures.population import population_figure
from course_utils.figures.predict import predict_figure
from course_utils.figures.public_heads import public_heads_figure
from course_utils.figures.quiz import quiz
from course_utils.figures.residual_stream import residual_stream_figure
from course_utils.figures.shaded import shaded_texts
from course_utils.figures.skip_trigrams import skip_trigrams_figure
from course_utils.figures.term_importance import term_importance_figure
from course_utils.figures.token_rows import token_rows
from course_utils.figures.train_in_page import train_in_page_figure

__all__ = [
    "Explorable",
    "HERE",
    "attention_figure",
    "bigrams_figure",
    "composition_figure",
    "eigenvalues_figure",
    "formation_figure",
    "induction_at_work_figure",
    "induction_lab",
    "opening_figure",
    "population_figure",
    "predict_figure",
    "public_heads_figure",
    "quiz",
    "residual_stream_figure",
    "shaded_texts",
    "skip_trigrams_figure",
    "term_importance_figure",
    "token_rows",
    "train_in_page_figure",
    "visible",
]
