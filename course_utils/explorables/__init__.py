"""Figures that answer to the reader: a Python module, a JavaScript module and a style for each, by the same name."""

from course_utils.explorables.attention import attention
from course_utils.explorables.host import HERE, Explorable, visible
from course_utils.explorables.induction_at_work import induction_at_work
from course_utils.explorables.quiz import quiz

__all__ = ["HERE", "Explorable", "attention", "induction_at_work", "quiz", "visible"]
