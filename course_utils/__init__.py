"""The helper package of the course: the model, its circuits, what heads do, and their pictures."""

from course_utils.checkpoints import load_model
from course_utils.claims import claim
from course_utils.config import ModelConfig
from course_utils.corpus import load_text, load_tokenizer, windows
from course_utils.device import pick_device
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer

__all__ = [
    "AttentionOnlyTransformer", "CourseError", "ModelConfig", "claim", "load_model", "load_text", "load_tokenizer",
    "pick_device", "windows",
]  # fmt: skip
