"""What weights say, whatever the text: QK and OV circuits, composition, virtual weights and heads, positivity.

Pure functions of a model's weights (and, where patterns are held, of these).
"""

from course_utils.circuits.composition import composition, composition_baseline, composition_scores
from course_utils.circuits.frozen_patterns import check_pattern, frozen, layer_output
from course_utils.circuits.kronecker import through_head
from course_utils.circuits.positivity import positivity
from course_utils.circuits.qk_ov import W_OV, W_QK, centre, ov_circuit, qk_circuit, random_heads
from course_utils.circuits.score_terms import check_pair, qk_circuit_through, score_terms, stream_parts
from course_utils.circuits.virtual_heads import path_expansion
from course_utils.circuits.virtual_weights import virtual_weights

__all__ = [
    "W_OV", "W_QK", "centre", "check_pair", "check_pattern", "composition", "composition_baseline",
    "composition_scores", "frozen", "layer_output", "ov_circuit", "path_expansion", "positivity", "qk_circuit",
    "qk_circuit_through", "random_heads", "score_terms", "stream_parts", "through_head", "virtual_weights",
]  # fmt: skip
