"""What mkdocs needs to make a site of pages that were written to be read in the repository.

- A link to a file outside docs/ (an example, CONTRIBUTING.md) leads to a copy of it under repository/.
- A page that no section of the nav names is listed under "More", decisions and formats under their own heads.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COPIES = "repository"
LINK = re.compile(r"(\]\()([^)#\s]+)")
HEADS = {"adr": "Decisions", "formats": "Formats", "reproductions": "Reproductions"}


def on_config(config: Any) -> Any:
    """Adds to the nav what nobody has put there."""
    named = set(_named(config["nav"]))
    more: dict[str, list[str]] = {}
    for page in sorted(DOCS.rglob("*.md")):
        path = page.relative_to(DOCS)
        if path.as_posix() not in named:
            head = HEADS.get(path.parts[0], "More") if len(path.parts) > 1 else "More"
            more.setdefault(head, []).append(path.as_posix())
    config["nav"] += [{head: pages} for head, pages in more.items()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds a copy of every file outside docs/ that a page links to, and of those that these link to."""
    waiting = [DOCS / file.src_uri for file in files if file.src_uri.endswith(".md")]
    waiting.append(ROOT / "CONTRIBUTING.md")
    copied: set[Path] = set()
    while waiting:
        page = waiting.pop()
        if page not in copied and not page.is_relative_to(DOCS):
            copied.add(page)
            where = f"{COPIES}/{page.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, where, content=page.read_bytes()))
        if page.suffix != ".md":
            continue
        for _, target in LINK.findall(_prose(page.read_text("utf-8"))):
            found = _outside(page, target)
            if found is not None and found not in copied:
                waiting.append(found)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are in the repository, turned to where the pages are in the site."""
    uri = page.file.src_uri
    source = ROOT / uri.removeprefix(f"{COPIES}/") if uri.startswith(f"{COPIES}/") else DOCS / uri
    up = "../" * uri.count("/")

    def turned(link: re.Match[str]) -> str:
        target = (source.parent / link[2]).resolve()
        if "://" in link[2] or not target.is_file():
            return link[0]
        inside = target.is_relative_to(DOCS)
        where = target.relative_to(DOCS) if inside else Path(COPIES) / target.relative_to(ROOT)
        return f"{link[1]}{up}{where.as_posix()}"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(turned, part) for part in parts)


def _outside(page: Path, target: str) -> Path | None:
    """The file that a link leads to, if it is one of the repository outside docs/."""
    found = (page.parent / target).resolve()
    if "://" in target or not found.is_file() or found.is_relative_to(DOCS) or not found.is_relative_to(ROOT):
        return None
    return found


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav or []
    return [name for part in inner for name in _named(part)]
