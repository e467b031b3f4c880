"""Texts that no page may take for markup, for code, for a name of its own, or for a direction to write in."""

HOSTILE = [
    '</script>', '</script><script>alert(1)</script>', '<!--', '-->', '<!--<script>', ']]>',
    '<img src=x onerror=alert(1)>', '<svg onload=alert(1)>', '</code></div>', '</style>', '</textarea>', '<b>',
    '&lt;', '&amp;lt;', '&#60;', '&', '"', "'", '"\'', '`${alert(1)}`', '\\', '\\u003c', '\\n',
    'javascript:alert(1)', '$x$', '\\(x\\)', '\\[x\\]', '{{ x }}', '{% x %}', '__proto__', 'constructor',
    'EXPLORABLE', '\n', '\r\n', '\t', ' ', '\x00', '\x01', '\x0b', '\x1b[31m', '\x7f', '\x85', '\xa0', '\xad',
    '\u2028', '\u2029', '\u200b', '\u200f', '\u202e abc', '\u2066', '\ufeff', '\ufffe', '\ud800', 'שלום', 'مرحبا',
    'á', '́', 'Ź̵̡̢', 'é', '日本語', '\U0001f469\u200d\U0001f4bb', '🏳️', '𝔘', 'true', 'null', 'NaN', '0', '-1',
    "x" * 200, '', '%s', '{0}', '\\ud800', '<', '>', '=', '/>', '//', '/*', '*/',
    '</script><script>window.hacked = 1</script>', "<img src=x onerror='window.hacked = 1'>",
    '<svg/onload=window.hacked=1>', '${window.hacked=1}', '`', '\x1b', '\u202eabc', '\u2067', '  two  ', 'Ź̵̡',
    "x" * 300, '<iframe src=javascript:alert(1)>', '<math><mtext></math>', '<template>', '<plaintext>',
    '<noscript>', '<?php', '<![CDATA[', 'onload=alert(1)', '{{constructor}}', '${7*7}', '#{x}', '<%= x %>',
    '\\x3cscript\\x3e', '&#x3c;b&#x3e;', '&quot;', '&nbsp;', 'toString', 'hasOwnProperty', '̀́̂', 'ﷺ', 'א́',
    '\u2067abc\u2069', '🇩🇪', '\U0001f9d1\u200d\U0001f680', '️', '1e999', 'undefined',
]  # fmt: skip
