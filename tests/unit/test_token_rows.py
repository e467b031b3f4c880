"""Tables of tokens: each token with its shade, the row's own one framed; no markup of a token is interpreted."""

import re

from course_utils.figures import token_rows

GROUPS = {
    "looked at by": ([["<b>", "·(b"], ["x", "y"]], [[4.0, 1.0], [0.0, -3.0]]),
    "raises": ([["·Mary", "book"], ["mary", "·"]], [[1.0, 1.0], [0.5, 0.25]]),
}


def test_each_token_has_its_shade_and_the_rows_own_is_framed():
    shown = token_rows(["head 4: mary", "("], GROUPS, label="head, source").data
    cells = re.findall(r'<span(?: class="(\w+)")? style="--share:([^"]*)">([^<]*)</span>', shown)
    assert cells[:4] == [
        ("", "1.00", "&lt;b&gt;"),
        ("", "0.25", "·(b"),
        ("marked", "1.00", "·Mary"),
        ("", "1.00", "book"),
    ]
    assert cells[4:] == [("", "0.00", "x"), ("", "0.00", "y"), ("", "0.50", "mary"), ("", "0.25", "·")]
    assert "<b>" not in shown and "head 4 <span>mary</span>" in shown and " <span>(</span>" in shown


def test_it_is_a_table_for_those_who_hear_it_and_names_its_columns_where_they_stand_below_one_another():
    shown = token_rows(["a: b", "c: d"], GROUPS, label="head, source").data
    assert shown.count('role="row"') == 3 and shown.count('scope="row"') == 2
    assert re.findall('scope="col">([^<]*)<', shown) == ["head, source", "looked at by", "raises"]
    assert re.findall('data-column="([^"]*)"', shown) == ["looked at by", "raises"] * 2
