"""The built site asks nothing of other hosts, leads nowhere false, and says in words what its pictures show."""

from types import SimpleNamespace

import site_scan
import yaml

from tools import notebooks, student

GOOD_ALT = "Line that falls from nine nats to four"
BAD_PAGES = {
    site_scan.outside_requests: [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img alt="" src="http://pictures.example/a.png">',
        '<img alt="" srcset="a.png 1x, https://pictures.example/b.png 2x">',
        "<style>@import 'https://fonts.example/css';</style>",
        '<p style="background: url(https://pictures.example/a.png)">',
        '<script type="module">import "https://cdn.example/x.js";</script>',
        '<script>fetch("https://data.example/x.json")</script>',
        '<iframe src="https://frames.example/"></iframe>',
    ],
    site_scan.broken_links: [
        '<a href="nowhere.html">a</a>',
        '<a href="#nowhere">a</a>',
        '<a href="page.html#nowhere">a</a>',
        '<img alt="" src="nowhere.png">',
        '<script src="nowhere.js"></script>',
        '<meta http-equiv="Refresh" content="0; url=nowhere.html">',
        '<a href="../../etc/passwd">a</a>',
    ],
    site_scan.poor_alt_texts: [
        "<img src='page.png'>",
        "<img src='page.png' alt='_images/page.png'>",
        "<img src='page.png' alt='page.png'>",
        "<article><img src='page.png' alt=''></article>",
        "<article><img src='page.png' alt='Figure 1'></article>",
    ],
    site_scan.leftover_errors: [
        "<div class='cell'><div class='output traceback'>ValueError: no</div></div>",
        "<div class='cell'><div class='output stderr'>UserWarning: no</div></div>",
        "<div class='output text_plain'>[&lt;matplotlib.lines.Line2D at 0x7f3a1c2b4d50&gt;]</div>",
        "<div class='output text_plain'>[Text(0.5, 0, 'x')]</div>",
        "<div class='system-message'>unknown directive</div>",
    ],
}  # fmt: skip
GOOD_PAGE = f"""
<a href="https://elsewhere.example">out</a> <a href="#here">here</a> <a href="page.html#here">here</a>
<link rel="canonical" href="https://home.example/page.html"> <link rel="stylesheet" href="page.css?v=1">
<article id="here"><img src="page.png" alt="{GOOD_ALT}"></article> <img src="page.png" alt="">
<div class="cell tag_raises-exception"><div class="output traceback">NotImplementedError</div></div>
"""


def test_no_request_to_another_host(site):
    assert site_scan.outside_requests(site) == []


def test_no_broken_link_or_anchor(site):
    assert site_scan.broken_links(site) == []


def test_every_picture_is_told_in_words(site):
    pictures = [image for _, soup in site_scan.pages(site) for image in soup.select("article img")]
    assert len(pictures) >= 2, "the chapters' figures are missing: the scan had nothing to look at"
    assert site_scan.poor_alt_texts(site) == []


def test_figures_that_answer_are_numbered(site):
    for path, soup in site_scan.pages(site):
        titles = soup.select(".ex-frame b")
        chapter = path.stem[:2].isdigit() and path.parent == site / "book"
        numbers = [f"{int(path.stem[:2])}.{i}" for i in range(1, 1 + len(titles))] if chapter else [None] * len(titles)
        assert [title.get("data-number") for title in titles] == numbers, path


def test_no_error_was_left_on_a_page(site):
    assert site_scan.leftover_errors(site) == []


def test_every_page_of_the_contents_is_built(site, root):
    built = {path.relative_to(site).with_suffix("") for path, _ in site_scan.pages(site)}
    listed = {path.relative_to(root).with_suffix("") for path in notebooks.pages(root)}
    assert listed <= built
    # Beside these only the pages that every Sphinx site has: pages left out of the contents would be found by nobody.
    assert {str(path) for path in built - listed} <= {"index", "search", "genindex"}


HEAVIEST = 2_500_000  # bytes


def test_a_chapter_has_the_number_of_its_file_on_its_page_and_in_the_contents(site, root):
    contents = site_scan.parsed((site / "book/intro.html").read_text("utf-8"))
    for path in sorted((root / "book").glob("[0-9][0-9]_*")):
        number = str(int(path.name[:2]))
        page = site_scan.parsed((site / "book" / path.with_suffix(".html").name).read_text("utf-8"))
        assert page.select_one("h1 .section-number").get_text().startswith(f"{number}."), path.name
        captions = {each.get_text().split()[1].split(".")[0] for each in page.select("figure .caption-number")}
        assert captions <= {number}, path.name
        [entry] = contents.select(f'.bd-links a[href="{path.with_suffix(".html").name}"]')
        assert entry.get_text().strip().startswith(f"{number}. "), path.name


def test_no_page_weighs_too_much(site):
    """With its pictures and figures; MathJax, the weights of the lab and the theme's own parts, alike on all, aside."""
    weights = site_scan.weights(site, left_out=r"vendor/mathjax|_static/(lab|scripts|styles)|searchindex\.js")
    assert len(weights) > 10
    assert {path.name: weight for path, weight in weights.items() if weight > HEAVIEST} == {}


def test_a_page_is_weighed_with_what_it_fetches(tmp_path):
    for name, size in {"page.png": 300, "vendor/fonts/a.woff2": 20, "mathjax.js": 1000}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * size)
    style = "@font-face { src: url('vendor/fonts/a.woff2') }"
    (tmp_path / "page.css").write_text(style)
    page = "<link rel=stylesheet href=page.css><img src=page.png><img src=page.png><script src=mathjax.js></script>"
    (tmp_path / "page.html").write_text(page)
    assert list(site_scan.weights(tmp_path, "mathjax").values()) == [len(page) + len(style) + 320]


def test_solutions_are_folded(site):
    cells = [cell for _, soup in site_scan.pages(site) for cell in soup.select(".tag_solution")]
    assert cells, "no page has an exercise's solution"
    assert [cell for cell in cells if not cell.select_one("details:not([open])")] == []


def test_licence_stands_on_every_page(site):
    for path, soup in site_scan.pages(site):
        if path.name != "index.html":
            assert soup.select_one("footer a[rel=license]"), path


def test_buttons_lead_to_the_repository_or_are_left_out(site, root):
    address = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]["url"]
    for path, soup in site_scan.pages(site):
        links = [a["href"] for a in soup.select(".article-header-buttons a[href^=http]")]
        assert bool(links) == bool(address), path


def buttons_for(address, course_site):
    """The theme's options as the extension leaves them for this address."""
    launch = {"binderhub_url": "https://binder.example", "colab_url": "https://colab.example"}
    options = {"repository_url": address, "launch_buttons": launch, "extra_footer": ""}
    course_site.open_in_buttons(None, SimpleNamespace(html_theme_options=options))
    return options


def test_buttons_need_only_the_address(course_site):
    github = buttons_for("https://github.com/owner/name/", course_site)
    assert github["repository_url"] == "https://github.com/owner/name" and github["use_repository_button"]
    assert set(github["launch_buttons"]) == {"binderhub_url", "colab_url"}
    elsewhere = buttons_for("https://code.example/owner/name", course_site)
    assert elsewhere["use_repository_button"] and set(elsewhere["launch_buttons"]) == {"binderhub_url"}
    nowhere = buttons_for("", course_site)
    assert nowhere["launch_buttons"] == {} and "use_repository_button" not in nowhere


def test_colabs_button_opens_the_student_edition(course_site):
    launch = {"colab_url": "https://colab.example", "binderhub_url": "https://binder.example"}
    addresses = [f"https://{where}.example/github/o/n/blob/main/book/appendix/x.ipynb" for where in ("colab", "binder")]
    context = {
        "header_buttons": [{"type": "group", "buttons": [{"url": each} for each in addresses]}, {"type": "link"}]
    }
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options={"launch_buttons": launch}))
    course_site.open_the_student_edition(app, "book/appendix/x", "page.html", context, None)
    opened = [button["url"] for button in context["header_buttons"][0]["buttons"]]
    assert opened == [f"https://colab.example/github/o/n/blob/{student.BRANCH}/appendix/x.ipynb", addresses[1]]


def test_scanners_find_what_is_bad(tmp_path):
    (tmp_path / "page.css").write_text("p { color: red }")
    (tmp_path / "page.png").write_bytes(b"")
    page = tmp_path / "page.html"
    for scan, bad_pages in BAD_PAGES.items():
        page.write_text(GOOD_PAGE)
        assert scan(tmp_path) == [], scan.__name__
        for bad in bad_pages:
            page.write_text(GOOD_PAGE + bad)
            assert len(scan(tmp_path)) == 1, (scan.__name__, bad)


def test_scanner_finds_outside_requests_of_a_style_sheet(tmp_path):
    (tmp_path / "page.css").write_text("@font-face { src: url('https://fonts.example/a.woff2') }")
    assert len(site_scan.outside_requests(tmp_path)) == 1
