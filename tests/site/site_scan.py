"""Read a built site and say what is wrong with it. Each function returns sentences; an empty list is good news."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

SHORTEST_ALT = 20
UNMEANT = re.compile(r"<(matplotlib|Figure|Axes|BarContainer)\b|\bText\(|\bat 0x[0-9a-f]{6,}")
OUTSIDE = re.compile(r"^(https?:)?//", re.I)
CSS_ADDRESS = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
SCRIPT_IMPORT = re.compile(
    r"""\b(?:from\s*|import\s*\(?\s*|(?:fetch|importScripts)\s*\(\s*)['"]((?:https?:)?//[^'"]+)"""
)
# Elements that a browser fetches by itself, and where their address stands. A link to follow (<a>) is not among them.
FETCHED = {
    "script": ["src"], "img": ["src", "srcset"], "source": ["src", "srcset"], "iframe": ["src"], "audio": ["src"],
    "video": ["src", "poster"], "track": ["src"], "embed": ["src"], "object": ["data"], "input": ["src"],
    "image": ["href", "xlink:href"], "use": ["href", "xlink:href"],
}  # fmt: skip
FETCHING_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "manifest"}


def pages(site: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.relative_to(site).parts:
            yield path, parsed(path.read_text("utf-8"))


@functools.lru_cache(64)  # all pages of the site: reading one takes longer than any look at it
def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup(page, "html.parser")


def outside_requests(site: Path) -> list[str]:
    """Addresses on other hosts that a page would fetch by itself: scripts, styles, pictures, fonts, frames."""
    found = []
    for path, soup in pages(site):
        found += [f"{path.relative_to(site)} fetches {address}" for address in _fetched(soup) if OUTSIDE.match(address)]
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)} fetches {address}"
            for address in _css_addresses(path.read_text("utf-8"))
            if OUTSIDE.match(address)
        ]
    return found


def broken_links(site: Path) -> list[str]:
    """Addresses inside the site that lead nowhere: files and anchors."""
    soups = dict(pages(site))
    names = {path: _anchors(soup) for path, soup in soups.items()}
    found = []
    for path, soup in soups.items():
        links = [link["href"] for link in soup.select("a[href], link[href]")]
        links += [m[1] for tag in soup.select("meta[http-equiv]") if (m := re.search(r"url=(\S+)", tag["content"]))]
        for address in links + _fetched(soup):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            here = f"{path.relative_to(site)} links to {address}"
            if not target.is_relative_to(site.resolve()) or not target.is_file():
                found.append(f"{here}, which does not exist")
            elif "=" in parts.fragment:
                continue  # what the lab opens with, and no anchor
            elif parts.fragment and target in names and unquote(parts.fragment) not in names[target]:
                found.append(f"{here}, where there is no such anchor")
    return found


def poor_alt_texts(site: Path) -> list[str]:
    """Pictures without words, or with words that only repeat a file's name."""
    found = []
    for path, soup in pages(site):
        for image in soup.find_all("img"):
            here = f"{path.relative_to(site)}: {str(image)[:160]}"
            alt, name = image.get("alt"), Path(urlsplit(image.get("src", "")).path).name
            # a card's words stand below its picture
            in_text = image.find_parent("article") and not image.find_parent(class_="course-card")
            if alt is None:
                found.append(f"{here} has no alt")
            elif "_images/" in alt or (alt and alt in (name, Path(name).stem)):
                found.append(f"{here} has a file's name as alt")
            elif in_text and len(alt.strip()) < SHORTEST_ALT:
                found.append(f"{here} has an alt of {len(alt.strip())} characters, too short to say what it shows")
    return found


def leftover_errors(site: Path) -> list[str]:
    """Tracebacks (other than in cells that announce one), messages on stderr, and values shown by accident."""
    found = []
    for path, soup in pages(site):
        for output in soup.select(".output.traceback, .output.stderr"):
            cell = output.find_parent(class_="cell")
            announced = cell is not None and "tag_raises-exception" in cell.get("class", [])
            if "stderr" in output["class"] or not announced:
                found.append(f"{path.relative_to(site)} shows {' '.join(output.get_text().split())[:160]!r}")
        for output in soup.select(".output.text_plain"):
            if UNMEANT.search(shown := " ".join(output.get_text().split())):
                found.append(f"{path.relative_to(site)} shows {shown[:160]!r}; assign it to _")
        for problem in soup.select(".system-message, .problematic"):
            found.append(f"{path.relative_to(site)} shows a problem of the build: {problem.get_text()[:160]!r}")
    return found


def weights(site: Path, left_out: str) -> dict[Path, int]:
    """Bytes of each page with all that it fetches of the site, fonts of its style sheets included."""
    found = {}
    for path, soup in pages(site):
        parts = {path}
        for address in _fetched(soup):
            target = (path.parent / unquote(urlsplit(address).path)).resolve()
            if urlsplit(address).scheme or not target.is_file() or re.search(left_out, target.as_posix()):
                continue
            parts.add(target)
            if target.suffix == ".css":
                inner = [target.parent / urlsplit(a).path for a in _css_addresses(target.read_text("utf-8"))]
                parts |= {part.resolve() for part in inner if part.suffix == ".woff2" and "vendor/fonts" in str(part)}
        found[path] = sum(part.stat().st_size for part in parts)
    return found


def _fetched(soup: BeautifulSoup) -> list[str]:
    addresses = []
    for tag, attributes in FETCHED.items():
        for element in soup.find_all(tag):
            for attribute in attributes:
                parts = element.get(attribute, "").split(",") if attribute == "srcset" else [element.get(attribute, "")]
                found = [part.split()[0] for part in parts if part.strip()]
                addresses += [part for part in found if not part.startswith(("data:", "blob:", "#"))]
    for link in soup.find_all("link", href=True):
        if FETCHING_RELATIONS.intersection(link.get("rel", [])):
            addresses.append(link["href"])
    for style in soup.find_all("style"):
        addresses += _css_addresses(style.get_text())
    for element in soup.find_all(style=True):
        addresses += _css_addresses(element["style"])
    for script in soup.find_all("script"):
        addresses += SCRIPT_IMPORT.findall(script.get_text())
    return addresses


def _css_addresses(text: str) -> list[str]:
    found = [(a or b).strip() for a, b in CSS_ADDRESS.findall(text)]
    return [address for address in found if not address.startswith(("data:", "#"))]


def _anchors(soup: BeautifulSoup) -> set[str]:
    return {tag["id"] for tag in soup.find_all(id=True)} | {tag["name"] for tag in soup.select("a[name]")}
