"""The one kind of error that the course raises on purpose."""

import operator


class CourseError(ValueError):
    """A mistake that the reader can mend: it names the value, the rule and the remedy.

    >>> raise CourseError("d_model is -3", "it must be a positive integer", "pass e.g. d_model=384")
    Traceback (most recent call last):
    course_utils.errors.CourseError: d_model is -3: it must be a positive integer. Remedy: pass e.g. d_model=384.
    """

    def __init__(self, what: str, rule: str, remedy: str):
        super().__init__(f"{what}: {rule}. Remedy: {remedy}.")
        self.what, self.rule, self.remedy = what, rule, remedy

    def __reduce__(self) -> tuple:  # as it is made again where another process raised it
        return type(self), (self.what, self.rule, self.remedy)


def is_integer(value) -> bool:
    """Whether `value` is an integer of Python, NumPy or PyTorch; truth values are none."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def check_finite(name: str, value) -> None:
    """Raise CourseError if a tensor has entries that are not finite: `torch.linalg.eigvals` of a nan ends Python."""
    wrong = value.numel() - int(value.isfinite().sum())
    if wrong:
        rule = f"{wrong} of its {value.numel()} entries are not finite numbers"
        raise CourseError(name, rule, "look where it was made for a division by zero or for a number too large")
