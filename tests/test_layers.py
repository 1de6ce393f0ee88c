"""Imports point down (docs/adr/0001): each room may import the rooms of lower layers only, and only hosts do IO."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "p2pfl"

LAYERS: list[set[str]] = [
    {"core", "errors"},
    {"wire", "compress", "mixing", "privacy", "crypto", "topology", "learn"},
    {"ledger", "valuation", "membership", "secagg", "transfer", "adapters"},
    {"peer", "horizontal", "vertical"},
    {"hosts"},
    {"assemble", "config", "strategies", "testing", "runs", "sweep"},
    {"cli", "web"},
]
INNER = {
    "ledger": ["feeds", "stores", "blocks", "outcome", "finality", "check"],
    "horizontal": ["terms", "model", "pace", "records", "pairs", "rows", "cells", "valuing", "joining"],
    "topology": ["graphs", "families", "files", "overlays", "figures"],
    "vertical": ["align", "data", "split", "turns", "hetero", "sealed", "latent", "job", "scoring"],
}
"""The rooms within a room, each of which may import those before it."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# What a room may import besides lower layers, and what narrower rule holds for it.
SIBLINGS = {
    ("valuation", "ledger"),
    ("peer", "horizontal"),
    ("cli", "web"),
    ("assemble", "config"),
    ("assemble", "strategies"),
    ("runs", "strategies"),
    ("testing", "assemble"),
    ("runs", "assemble"),
    ("runs", "config"),
    ("sweep", "runs"),
    ("sweep", "config"),
}
HOSTS_ONLY = {"core", "errors", "wire.envelope", "wire.certificate"}
HTTP = ("http", "server", "client", "body", "listener", "refusal")
HTTP += ("tls", "reach", "places", "intake", "gate", "pickup", "pull")
SIM = ("sim", "faults", "life", "links", "trace", "agenda")
NARROW = {f"hosts/{name}.py": HOSTS_ONLY for name in (*HTTP, *SIM)}
DENSE = {"core", "errors", "compress", "mixing", "learn", "topology", "hosts.dense"}
DENSE |= {"horizontal.model.algorithm"}
DENSE |= {f"horizontal.terms.{name}" for name in ("averages", "neighbourhood", "progress", "workflow")}
NARROW |= {
    f"hosts/{name}.py": DENSE for name in ("dense", "dense_pairs", "dense_rows", "dense_span")
}  # no wire, ledger or Party
SHARDS = ("shards", "shards_cut", "shards_pairs", "shards_rows", "shards_state")
NARROW |= {f"hosts/{name}.py": DENSE | {"hosts.shards"} for name in SHARDS}

IO_MODULES = {
    "asyncio",
    "aiohttp",
    "time",
    "random",
    "secrets",
    "os",
    "socket",
    "sqlite3",
    "threading",
    "subprocess",
}
IO_FILES = {
    "adapters/flower.py": {"random"},  # seeds what a user's own code draws from
    "wire/keyfile.py": {"os"},
    "ledger/stores/sqlite.py": {"sqlite3", "os", "threading"},
    "ledger/stores/reader.py": {"sqlite3"},
}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here, name = room_of(path), str(path.relative_to(PACKAGE))
    if here in ("__init__", "__main__"):
        return
    assert here in LEVEL, f"{name}: unknown room; add it to a layer"
    for target in imports(path):
        if target.split(".")[0] in {"node", "topology"}:
            pytest.fail(f"{name} imports the user's {target}")
        if not target.startswith("p2pfl."):
            continue
        room = target.split(".")[1]
        if room == here or room == "__version__":
            continue
        assert room in LEVEL, f"{name} imports {target}: unknown room"
        down = LEVEL[room] < LEVEL[here] or (here, room) in SIBLINGS
        assert down, f"{name} imports {target}: imports must point down"
        if name in NARROW:
            allowed = any(target.removeprefix("p2pfl.").startswith(prefix) for prefix in NARROW[name])
            assert allowed, f"{name} imports {target}: allowed are {sorted(NARROW[name])}"


@pytest.mark.parametrize(
    "path",
    [path for outer in INNER for path in sorted((PACKAGE / outer).rglob("*/*.py"))],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_inner_rooms_import_those_before(path: Path) -> None:
    outer, inner = path.relative_to(PACKAGE).parts[:2]
    order = INNER[outer]
    for target in imports(path):
        if target.startswith(f"p2pfl.{outer}."):
            assert order.index(target.split(".")[2]) <= order.index(inner), f"{path.name} imports {target}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_hosts_do_io(path: Path) -> None:
    here, name = room_of(path), str(path.relative_to(PACKAGE))
    if here in ("__init__", "__main__") or LEVEL[here] >= LEVEL["hosts"]:
        return
    used = {target.split(".")[0] for target in imports(path)} & IO_MODULES
    assert used <= IO_FILES.get(name, set()), f"{name} imports {sorted(used)}: IO belongs to hosts"
    if name not in IO_FILES:
        tree = ast.walk(ast.parse(path.read_text()))
        assert not any(isinstance(node, ast.AsyncFunctionDef) for node in tree), f"{name}: async belongs to hosts"
