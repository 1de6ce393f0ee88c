"""The site of the documentation: builds without a warning, leads nowhere wrong, loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from p2pfl.cli import COMMANDS
from p2pfl.config import keys
from p2pfl.runs.events import EVENTS
from p2pfl.runs.routes import ROUTES
from p2pfl.runs.scrape import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed: p2pfl-node[docs]"),
]


class Links(HTMLParser):
    """What a page links to, what it loads, and where one may point into it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values[name] or "" for name in ("id", "name") if name in values}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag in LOADED and values.get(LOADED[tag]) and values.get("rel") != "canonical":
            self.loads.append(values[LOADED[tag]] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("site")
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(home)]
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert done.returncode == 0, done.stderr
    assert not said
    return home


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Links()
        found[path].feed(path.read_text("utf-8"))
    return found


def test_no_link_is_dead(site: Path, pages: dict[Path, Links]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{path.relative_to(site)}: {link}"


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Links]) -> None:
    for path, page in pages.items():
        for address in page.loads:
            assert not urlsplit(address).netloc, f"{path.relative_to(site)} loads {address}"


def test_everything_of_the_program_is_in_it(site: Path) -> None:
    """Every command, key, route, event, metric and exception, as a reader finds it."""

    def text_of(name: str) -> str:
        return re.sub(r"<[^>]+>", "", (site / name).read_text("utf-8"))

    commands, settings, running, reference = map(
        text_of, ("cli.html", "configuration.html", "operations.html", "reference.html")
    )
    assert [name for name in COMMANDS if f"p2pfl {name}" not in commands] == []
    names = {key.key.rpartition(".")[2] for key in keys()} - {"*"}
    assert [name for name in sorted(names) if name not in settings] == []
    assert [name for name in (*EVENTS, *FAMILIES) if name not in running] == []
    assert [route.path for route in ROUTES if f"{route.method} {route.path}" not in reference] == []


def test_every_page_can_be_found(site: Path, pages: dict[Path, Links]) -> None:
    """From the first page's navigation."""
    listed = {(site / unquote(urlsplit(link).path)).resolve() for link in pages[site / "index.html"].links}
    docs = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    for page in sorted(docs):
        name = page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
        assert (site / name).resolve() in listed, f"{page} is in no section of mkdocs.yml"
