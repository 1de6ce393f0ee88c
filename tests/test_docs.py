"""The documents say what the program does: every command, every configuration key, every built-in name; and what
the README tells to type exists. `scripts/docs` writes the generated parts again."""

import ast
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from p2pfl.cli import COMMANDS, root
from p2pfl.config import keys
from p2pfl.runs.events import EVENTS
from p2pfl.runs.routes import ROUTES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "changes" / "README.md", *ROOT.glob("scenarios/**/*.md")]
)
AGAIN = "not what the program says: run scripts/docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE: Any = generator()


def require(where: str) -> None:
    if not GENERATE.exists(where):
        pytest.skip(f"{where} is not there yet")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_documented_as_it_is(name: str) -> None:
    require(COMMANDS[name][0])
    text = (DOCS / "cli.md").read_text("utf-8")
    assert GENERATE.part_of(text, name) == GENERATE.command_help(name), f"docs/cli.md, {name}: {AGAIN}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_short_help_is_the_commands_own(name: str) -> None:
    """The list of commands is printed without importing any; it must not say something else."""
    require(COMMANDS[name][0])
    command = root.get_command(click.Context(root), name)
    assert command is not None
    said = (command.help or "").split("\n\n")[0]
    assert said.startswith(COMMANDS[name][1].rstrip(".")), f"{name}: its docstring must begin as COMMANDS says"


def test_every_key_is_documented_as_it_is() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    part = GENERATE.part_of(text, "keys")
    assert part == GENERATE.key_tables(), f"docs/configuration.md: {AGAIN}"
    for key in keys():
        if key.expected not in ("a table", "tables"):
            assert f"`{key.key.rpartition('.')[2]}`" in part


@pytest.mark.parametrize("key", list(GENERATE.BUILT_INS))
def test_every_built_in_name_is_documented(key: str) -> None:
    require(GENERATE.BUILT_INS[key])
    text = (DOCS / "configuration.md").read_text("utf-8")
    assert GENERATE.part_of(text, key) == GENERATE.built_ins(key), f"docs/configuration.md, {key}: {AGAIN}"


@pytest.mark.parametrize("part", ["events", "metrics"])
def test_what_a_node_tells_is_documented_as_it_is(part: str) -> None:
    text = (DOCS / "operations.md").read_text("utf-8")
    assert GENERATE.part_of(text, part) == getattr(GENERATE, part)(), f"docs/operations.md, {part}: {AGAIN}"


@pytest.mark.parametrize("part", ["routes", "errors"])
def test_what_is_refused_is_documented_as_it_is(part: str) -> None:
    text = (DOCS / "reference.md").read_text("utf-8")
    assert GENERATE.part_of(text, part) == getattr(GENERATE, part)(), f"docs/reference.md, {part}: {AGAIN}"


def test_what_was_measured_is_documented_as_it_was() -> None:
    text = (DOCS / "performance.md").read_text("utf-8")
    assert GENERATE.part_of(text, "bars") == GENERATE.bars(), f"docs/performance.md: {AGAIN}"


def test_every_code_of_a_refusal_is_documented() -> None:
    """The codes, not their examples: a message may change without the page."""
    said = GENERATE.part_of((DOCS / "reference.md").read_text("utf-8"), "codes")
    codes = re.findall(r"^\| `(.*?)` \|", GENERATE.codes(), re.MULTILINE)
    missing = [code for code in codes if f"\n| `{code}` |" not in said]
    assert not missing, f"docs/reference.md, {', '.join(missing)}: {AGAIN}"


ROUTE = re.compile(r"[\"'](/(?:v1|api|static)/[a-z]*/?|/(?:healthz|readyz|metrics))")


def test_every_route_is_documented() -> None:
    known = {route.path.rstrip("/") for route in ROUTES}
    for room in ("hosts", "web", "runs"):
        for path in sorted((ROOT / "p2pfl" / room).glob("*.py")):
            if path.name == "routes.py":
                continue
            for found in ROUTE.findall(path.read_text("utf-8")):
                bare = found.rstrip("/")
                assert bare in known or bare == "/v1", f"{path.name}: say in p2pfl/runs/routes.py what {found} is"


def test_every_event_is_in_the_table() -> None:
    """An operator who reads a log finds each of its words explained."""
    for path in sorted((ROOT / "p2pfl").rglob("*.py")):
        room = path.relative_to(ROOT / "p2pfl").parts[0]
        if room == "vertical" or path.name.startswith(("vertical", "dense", "shards")):
            continue
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and _name_of(call.func) in ("Emit", "emit") and call.args:
                name = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
                missing = isinstance(name, str) and name not in EVENTS
                assert not missing, f"{path.name}:{call.lineno}: say in p2pfl/runs/events.py what {name!r} means"
                stamps = {word.arg for word in call.keywords} & {"seconds", "event"}
                assert not stamps, f"{path.name}:{call.lineno}: {stamps} of an event are its stamp in metrics.jsonl"


def _name_of(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def typed(page: Path) -> Iterator[list[str]]:
    """The command lines in a page's shell blocks, as words."""
    for block in re.findall(r"```(?:sh|console|bash)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_to_be_typed_exists(page: Path) -> None:
    for words in typed(page):
        if words[0].startswith("scripts/"):
            assert (ROOT / words[0]).exists(), f"{page.name}: there is no {words[0]}"
        if words[:2] in (["python", "node.py"], ["python3", "node.py"]):
            words = ["p2pfl", "node", *words[2:]]
        if Path(words[0]).name == "p2pfl":
            check_command(words[1:], page.name)


def check_command(words: list[str], page: str) -> None:
    command: click.Command = root
    context = click.Context(root)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        if command is root:
            assert name in COMMANDS, f"{page}: there is no command {name}"
            if not GENERATE.exists(COMMANDS[name][0]):
                return
        found = command.get_command(context, name)
        assert found is not None, f"{page}: there is no command {name}"
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page}: {command.name} has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: link to {target}"


def test_every_format_page_is_in_the_index() -> None:
    index = (DOCS / "formats" / "README.md").read_text("utf-8")
    for page in (DOCS / "formats").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, f"docs/formats/README.md: {page.name} is missing"


def test_decisions_are_numbered_and_whole() -> None:
    pages = sorted((DOCS / "adr").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert all(number.isdecimal() for number in numbers)
    assert len(set(numbers)) == len(pages), "each number once; those still to be written leave gaps"
    for page in pages:
        text = page.read_text("utf-8")
        for heading in ("## Context", "## Decision", "## Rejected", "## How we would know it is wrong"):
            assert heading in text, f"{page.name}: no {heading!r}"


def test_dependencies_are_justified() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["plot"]]:
        name = re.split(r"[<>=~!\[ ]", requirement)[0]
        assert f"| {name} |" in readme, f"README.md says nothing of {name}"


def test_the_codec_to_start_from_keeps_the_laws() -> None:
    import torch

    from p2pfl.core import noise
    from p2pfl.errors import Reject

    source = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)[0]
    module = ModuleType("upper")
    sys.modules["upper"] = module
    try:
        exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    finally:
        del sys.modules["upper"]
    codec, key = module.Upper(), noise.root(1)
    v = torch.tensor([0.0, -0.0, 1.0, -3.14159, 1e-30, 3.4e38, -3.4e38])
    packed, q = codec.encode(v, key)
    bounds = codec.bounds(len(v))
    assert (len(packed.fields), len(packed.body)) == (bounds.num_fields, bounds.body_bytes)
    assert codec.decode(packed, len(v)).view(torch.int32).equal(q.view(torch.int32))
    assert codec.project(v, key).view(torch.int32).equal(q.view(torch.int32))
    for body in (packed.body[:-1], packed.body + b"\0", b"\xff" * len(packed.body)):
        with pytest.raises(Reject):
            codec.decode(type(packed)((), body), len(v))
