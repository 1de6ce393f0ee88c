"""The parts of the documentation that come from the code. Run by scripts/docs, checked by tests/test_docs.py.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`; what is around it is written by
hand and kept.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from p2pfl.cli import COMMANDS
from p2pfl.config import KeyDoc, keys

ROOT = Path(__file__).resolve().parent.parent
DOCS, PACKAGE = ROOT / "docs", ROOT / "p2pfl"
WIDTH = 100

BUILT_INS = {
    "model.name": "p2pfl.learn.models:MODELS",
    "mix.rule": "p2pfl.mixing:MIXERS",
    "compress.codec": "p2pfl.compress:CODECS",
    "train.learner": "p2pfl.learn.learner:LEARNERS",
    "train.optimizer": "p2pfl.learn.optim:OPTIMIZERS",
    "train.schedule.kind": "p2pfl.learn.schedule:SCHEDULES",
    "data.source": "p2pfl.learn.datasets:DATASETS",
    "data.partition.by": "p2pfl.learn.partition:PARTITIONERS",
    "topology.family": "p2pfl.topology:FAMILIES",
}
ONE_PER_MODULE = {"mix.rule"}
"""Where the module says what the rule is, and the class what its parameters are."""

OFFERED = {"input_shape", "num_classes", "data", "num_nodes", "rng", "n", "model", "splits", "training"}
"""Parameters that the program gives, not the user."""


def exists(where: str) -> bool:
    """Whether `module:attribute` is there."""
    module, attribute = where.split(":")
    return importlib.util.find_spec(module) is not None and hasattr(importlib.import_module(module), attribute)


def command_help(name: str) -> str:
    """The help of a command and of all its subcommands."""
    module, attribute = COMMANDS[name][0].split(":")
    command = getattr(importlib.import_module(module), attribute)
    root = click.Context(click.Group("p2pfl"), info_name="p2pfl")
    return "\n\n".join(_helps(command, name, root))


def key_tables() -> str:
    """A table per section of both documents."""
    tables: dict[tuple[str, str], list[KeyDoc]] = {}
    found = keys()
    sections = {(key.file, key.key.rpartition(".")[0]) for key in found}
    for key in found:
        if "." in key.key or (key.file, key.key) not in sections:
            tables.setdefault((key.file, key.key.rpartition(".")[0]), []).append(key)
    return "\n\n".join(_key_table(*title, rows) for title, rows in tables.items())


def built_ins(key: str) -> str:
    """The names a key may have, and the parameters of each, from the room's own table."""
    module, attribute = BUILT_INS[key].split(":")
    table: Mapping[str, Any] = getattr(importlib.import_module(module), attribute)
    describe = _module_line if key in ONE_PER_MODULE else _first_line
    rows = [f"| `{name}` | {describe(target)} | {_parameters(target)} |" for name, target in table.items()]
    return "\n".join([f"`{key}`:\n", "| name | what | parameters |", "|---|---|---|", *rows])


def events() -> str:
    """What a node says of itself, gravest first."""
    table, levels = _attribute("p2pfl.runs.events:EVENTS"), _attribute("p2pfl.runs.events:LEVELS")
    rows = [
        f"| `{name}` | {event.level} | {event.says} | {event.do} |"
        for level in reversed(levels)
        for name, event in table.items()
        if event.level == level
    ]
    return "\n".join(["| event | level | what has happened | what to do |", "|---|---|---|---|", *rows])


def metrics() -> str:
    """What /metrics tells."""
    rows = [
        f"| `{name}` | {family.kind} | {', '.join(family.labels)} | {family.means} |"
        for name, family in _attribute("p2pfl.runs.scrape:FAMILIES").items()
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])


def routes() -> str:
    """What may be asked over HTTP."""
    rows = [
        f"| {route.who} | `{route.method} {route.path}` | {route.says} | {route.asks} |"
        for route in _attribute("p2pfl.runs.routes:ROUTES")
    ]
    return "\n".join(["| of a | route | what | for |", "|---|---|---|---|", *rows])


REFUSALS = {"Reject": 0, "Ignore": 0, "Refused": 1}
"""What raises a code, and which argument it is."""


def codes() -> str:
    """Every code of a refusal: from the calls that raise it, with what the first of them says."""
    found: dict[str, tuple[set[str], str, set[str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in REFUSALS:
                continue
            kind = call.func.id  # type: ignore[attr-defined]
            at = REFUSALS[kind]
            if len(call.args) <= at or not isinstance(code := call.args[at], ast.Constant):
                continue
            says = _words(call.args[at + 1]) if len(call.args) > at + 1 else ""
            kinds, first, rooms = found.setdefault(str(code.value), (set(), says, set()))
            kinds.add(kind.lower())
            rooms.add(room)
            if not first and says:
                found[str(code.value)] = (kinds, says, rooms)
    rows = [
        f"| `{code}` | {', '.join(sorted(kinds))} | {', '.join(sorted(rooms))} | {_cell(says)} |"
        for code, (kinds, says, rooms) in sorted(found.items())
    ]
    return "\n".join(["| code | how | said by | for example |", "|---|---|---|---|", *rows])


def errors() -> str:
    """The exceptions that are raised on purpose."""
    module = importlib.import_module("p2pfl.errors")
    rows = [
        f"| `{name}` | `{kind.__mro__[1].__name__}` | {_cell(inspect.getdoc(kind) or '')} |"
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    ]
    return "\n".join(["| error | is a | means |", "|---|---|---|", *rows])


def bars() -> str:
    """What every recorded bench measured last, beside what is wanted of it."""
    found = []
    for path in sorted((ROOT / "bench" / "results").glob("*.json")):
        script = path.with_suffix(".py").name
        doc = ast.get_docstring(ast.parse((ROOT / "bench" / script).read_text("utf-8"))) or ""
        held = json.loads(path.read_text("utf-8"))
        quick = " --quick" if held["quick"] else ""
        rows = [_bar(bar) for bar in held["bars"]]
        about = f"`python bench/{script}{quick}`, {held['date']}, load {held['machine']['load']}"
        head = "| what | measured | wanted | |\n|---|---:|---:|---|"
        first = doc.splitlines()[0]
        found.append(f"### {path.stem}\n\n{first}\n\n{about}\n\n" + "\n".join([head, *rows]))
    return "\n\n".join(found)


def _bar(bar: Mapping[str, Any]) -> str:
    sign = ">=" if bar["at_least"] else "<="
    verdict = "holds" if bar["holds"] else "**falls short**"
    return f"| {_cell(bar['name'])} | {bar['measured']:.3g} | {sign} {bar['wanted']:g} | {verdict} |"


def _words(text: ast.expr) -> str:
    """A message as it stands in the code, with … for what it fills in."""
    match text:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=values):
            return "".join(_words(value) if isinstance(value, ast.Constant) else "…" for value in values)
        case ast.BinOp(left=left, right=right):
            return _words(left) + _words(right)
    return "…"


def parts() -> dict[str, dict[str, str]]:
    """file -> part -> text, for everything whose code is there."""
    commands = {name: command_help(name) for name in COMMANDS if exists(COMMANDS[name][0])}
    names = {key: built_ins(key) for key, where in BUILT_INS.items() if exists(where)}
    return {
        "cli.md": commands,
        "configuration.md": {"keys": key_tables(), **names},
        "operations.md": {"events": events(), "metrics": metrics()},
        "performance.md": {"bars": bars()},
        "reference.md": {"routes": routes(), "errors": errors(), "codes": codes()},
    }


def _attribute(where: str) -> Any:
    module, attribute = where.split(":")
    return getattr(importlib.import_module(module), attribute)


def part_of(text: str, name: str) -> str | None:
    """The generated part of that name in a document, or None."""
    found = re.search(_pattern(name), text, re.DOTALL)
    return found[1].strip() if found else None


def replaced(text: str, name: str, part: str) -> str:
    """The document with that part written again; at the end if it is new."""
    block = f"<!-- generated: {name} -->\n{part}\n<!-- end: {name} -->"
    if part_of(text, name) is None:
        return f"{text.rstrip()}\n\n{block}\n"
    return re.sub(_pattern(name), lambda _: block, text, count=1, flags=re.DOTALL)


def main() -> None:
    for file, generated in parts().items():
        path = DOCS / file
        before = text = path.read_text("utf-8")
        for name, part in generated.items():
            text = replaced(text, name, part)
        path.write_text(text, "utf-8")
        print(f"{path.name}: {'written again' if text != before else 'as it was'}")


def _pattern(name: str) -> str:
    return rf"<!-- generated: {re.escape(name)} -->\n(.*?)\n<!-- end: {re.escape(name)} -->"


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    depth = "##" if parent.parent is None else "###"
    path = context.command_path
    yield f"{depth} `{path}`\n\n```text\n{command.get_help(context).strip()}\n```"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _helps(found, inner, context)


def _key_table(file: str, section: str, rows: list[KeyDoc]) -> str:
    brackets = f"[[{section}]]" if section == "nodes" else f"[{section}]"
    title = f"### {file} `{brackets}`" if section else f"### {file}, at the top"
    lines = [
        f"| `{row.key.rpartition('.')[2]}` | {row.expected.replace('|', '/')} | {_code(row.default)} | {row.doc} |"
        for row in rows
    ]
    return "\n".join([f"{title}\n", "| key | expected | default | meaning |", "|---|---|---|---|", *lines])


def _code(default: str) -> str:
    return default if default in ("", "required") else f"`{default}`"


def _module_line(target: Any) -> str:
    return _cell(inspect.getdoc(inspect.getmodule(target)) or "")


def _first_line(target: Any) -> str:
    text = inspect.getdoc(target) or ""
    return "" if text.startswith(f"{target.__name__}(") else _cell(text)  # what dataclass makes up if there is none


def _cell(text: str) -> str:
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _parameters(target: Any) -> str:
    """Name and default of each parameter that a user may set."""
    found = []
    if is_dataclass(target):
        given = [(f.name, f.default if f.default is not MISSING else None) for f in fields(target)]
        found = [f"`{name} = {_toml(default)}`" for name, default in given]
    else:
        for parameter in inspect.signature(target).parameters.values():
            if parameter.name in OFFERED or parameter.kind is parameter.VAR_KEYWORD:
                continue
            required = parameter.default is parameter.empty
            found.append(f"`{parameter.name}`" if required else f"`{parameter.name} = {_toml(parameter.default)}`")
    return ", ".join(found) or "none"


def _toml(default: Any) -> str:
    match default:
        case bool():
            return str(default).lower()
        case str():
            return f'"{default}"'
        case tuple() | list():
            return f"[{', '.join(_toml(item) for item in default)}]"
        case None:
            return "(not set)"
    return str(default)


if __name__ == "__main__":
    main()
