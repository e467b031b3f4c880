"""Formulas get about their room before MathJax has set them, so that the text does not move when it does.

A page arrives with the source of its formulas, which is some times as long as what is drawn of it. Each gets an
estimate of its width (`--wide`, in em), a displayed one of its height; course.css takes it until the drawing is there.
"""

import html
import re

FORMULA = re.compile(r'<(?P<kind>span|div)(?P<rest> class="math notranslate nohighlight"[^>]*>)(?P<tex>[^<]*)')
# One in a line, or the name of a head, with the signs that touch it: no line begins with a full stop.
TOUCHED = re.compile(
    r'([(“]*)(<span[^>]* class="math notranslate nohighlight"[^>]*>[^<]*</span>'
    r'|<button[^>]* class="course-head"[^>]*><code>[^<]*</code></button>)([).,;:!?%”]*)'
)
# What a formula consists of; the last group that fits says how wide it is.
PIECE = re.compile(
    r"""(?P<nothing>\s|\\[()\[\]]|\\(?:(?:left|right|big|math\w+|operatorname|text)\b|tfrac\d)|\\begin\{.*?\\end\{\w+\})
    |(?P<small>[_^])|(?P<opens>\{)|(?P<closes>\})
    |(?P<relation>[=<>]|\\(?:sqrt|approx|otimes|mapsto|to|in|[lgn]eq?|rightarrow|cos|sin)\b)
    |(?P<sign>[-+]|\\(?:times|pm|ln|log)\b)|(?P<wide>[WM]|\\(?:sum|max|exp|ldots)\b)
    |(?P<thin>\\(?:[lr]Vert|top)\b|\\[^A-Za-z]|[(),.|/'ijlt\[\]])|(?P<capital>[A-Z]|\\[A-Za-z]+)|(?P<letter>.)""",
    re.S | re.X,
)
TALL = re.compile(r"frac|sum|underbrace|\\\\")
# Fitted to what MathJax drew of the book's formulas.
EM = {"relation": 1.5, "sign": 1.25, "wide": 1.2, "capital": 0.82, "thin": 0.46, "letter": 0.58}
MATRIX, LINE, HIGH = 4.2, 3.7, 1.3  # in em; what a fraction, a sum or a further line adds to a displayed line


def width(tex: str) -> float:
    """About how wide a formula is, in em; within a third of an em for most of the book's."""
    total, scales, scale = MATRIX * tex.count(r"\begin"), [1.0], 1.0
    for piece in PIECE.finditer(tex):
        if piece.lastgroup == "small":
            scale = 0.72
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
