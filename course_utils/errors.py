"""The one kind of error that the course raises on purpose."""


class CourseError(ValueError):
    """A mistake that the reader can mend: it names the value, the rule and the remedy.

    >>> raise CourseError("d_model is -3", "it must be a positive integer", "pass e.g. d_model=384")
    Traceback (most recent call last):
    course_utils.errors.CourseError: d_model is -3: it must be a positive integer. Remedy: pass e.g. d_model=384.
    """

    def __init__(self, what: str, rule: str, remedy: str):
        super().__init__(f"{what}: {rule}. Remedy: {remedy}.")
        self.what, self.rule, self.remedy = what, rule, remedy
