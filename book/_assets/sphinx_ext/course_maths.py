"""Formulas get about their room before MathJax has set them, so that the text does not move when it does.

A page arrives with the source of its formulas, which is some times as long as what is drawn of it. Each gets an
estimate of its width (`--wide`, in em), a displayed one of its height; course.css takes it until the drawing is there.
"""

import html
import re

FORMULA = re.compile(r'<(?P<kind>span|div)(?P<rest> class="math notranslate nohighlight"[^>]*>)(?P<tex>[^<]*)')
# One in a line with the signs that touch it: no line begins with a full stop.
TOUCHED = re.compile(r'([(“]*)(<span[^>]* class="math notranslate nohighlight"[^>]*>[^<]*</span>)([).,;:!?%”]*)')
# What a formula consists of; the last group that fits says how wide it is.
PIECE = re.compile(
    r"""(?P<nothing>\s|\\[()\[\]]|\\(?:left|right|math\w+|operatorname|text|tfrac)\b|\\begin\{.*?\\end\{\w+\})
    |(?P<small>[_^])|(?P<opens>\{)|(?P<closes>\})
    |(?P<relation>[-=+<>]|\\(?:approx|otimes|times|to|in|log|pm|[lgn]eq?|rightarrow)\b)
    |(?P<wide>[WM]|\\(?:sum|max|exp)\b)|(?P<capital>[A-Z]|\\[A-Za-z]+)|(?P<thin>\\.|[(),.|/'ijlt\[\]])|(?P<letter>.)""",
    re.S | re.X,
)
TALL = re.compile(r"frac|sum|underbrace|\\\\")
EM = {"relation": 1.4, "wide": 1.15, "capital": 0.8, "thin": 0.45, "letter": 0.6}
MATRIX, LINE, HIGH = 6, 3.7, 1.3  # in em; what a fraction, a sum or a further line adds to a displayed line


def width(tex: str) -> float:
    """About how wide a formula is, in em; within a half of it for most of the book's."""
    total, scales, scale = 0.1 + MATRIX * tex.count(r"\begin"), [1.0], 1.0
    for piece in PIECE.finditer(tex):
        if piece.lastgroup == "small":
            scale = 0.75
        elif piece.lastgroup == "opens":
            scales.append(scales[-1] * scale)
            scale = 1.0
        elif piece.lastgroup == "closes":
            scales = scales[:-1] or [1.0]
        elif piece.lastgroup != "nothing":
            total += EM[piece.lastgroup] * scales[-1] * scale
            scale = 1.0
    return total


def reserve(app, pagename, templatename, context, doctree):
    def with_room(found: re.Match) -> str:
        tex = html.unescape(found["tex"])
        room = f"--wide: {width(tex):.1f}em"
        if found["kind"] == "div":
            room = f"--high: {LINE + HIGH * len(TALL.findall(tex)):.1f}em"
        return f'<{found["kind"]} style="{room}"{found["rest"]}{found["tex"]}'

    def whole(found: re.Match) -> str:
        before, _, after = found.groups()
        return f'<span class="course-whole">{found[0]}</span>' if before or after else found[0]

    if "body" in context:
        context["body"] = TOUCHED.sub(whole, FORMULA.sub(with_room, context["body"]))


def setup(app):
    app.connect("html-page-context", reserve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
