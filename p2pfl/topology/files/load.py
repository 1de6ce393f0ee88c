"""A Topology from what the user names: a family, a networkx script, a GraphML, GML or TOML file. Reads files.

A script is code and is executed. So a name is resolved only from the command line and the local configuration, never
from anything a peer sent.
"""

import runpy
import tomllib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from p2pfl.core.limits import MIB, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.families.catalogue import FAMILIES
from p2pfl.topology.files.drawing import admit, check_name, check_usable
from p2pfl.topology.files.foreign import draw_networkx, draw_table
from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.graphs.params import check_params, suggest

FILE_BYTES_MAX = 32 * MIB
"""A graph of NODES_MAX nodes with names and coordinates is far smaller."""


def load_topology(
    spec: str,
    n: int | None = None,
    params: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
) -> Topology:
    """The checked graph that `spec` names: one of FAMILIES, or a .py, .gml, .graphml or .toml file.

    `n` and `params` go to a family or to a script's `build(n, **params)`; files take none. With `names`, n is their
    number, and the graph is over them: graphs of mere numbers take them in order, others must use the same names.
    Raises ConfigError, in one line, for everything that is not a usable graph.
    """
    params = dict(params or {})
    n = _size(n, params, names)
    if names is not None:
        _check_names(names)
    if spec in FAMILIES:
        topology = check_usable(FAMILIES[spec](**_arguments(FAMILIES[spec], n, params, spec)), spec)
        return topology.renamed(names) if names is not None else topology
    path = Path(spec)
    if path.suffix == ".py":
        topology = _from_script(path, n, params, names)
    elif path.suffix in READERS:
        if params:
            raise ConfigError(f"{spec}: a file takes no parameters, got {', '.join(sorted(params))}")
        topology = READERS[path.suffix](path, names)
    else:
        known = ", ".join(FAMILIES)
        ends = ", ".join([".py", *READERS])
        raise ConfigError(
            f"unknown topology {spec!r}{suggest(spec, list(FAMILIES))}: expected {known}, or a file ending in {ends}"
        )
    if n is not None and len(topology.nodes) != n:
        raise ConfigError(f"{spec}: expected a graph of {n} nodes, got {len(topology.nodes)}")
    return topology


def from_networkx(graph: Any, names: Sequence[str] | None = None, source: str = "graph") -> Topology:
    """The checked Topology of an nx.Graph. Raises ConfigError."""
    return admit(draw_networkx(graph, source), names)


def _size(n: int | None, params: dict[str, Any], names: Sequence[str] | None) -> int | None:
    """The one number of nodes that n, params["n"] (taken out) and names agree on."""
    given = {"n": n, "the parameter n": params.pop("n", None), "the names": None if names is None else len(names)}
    found = {who: size for who, size in given.items() if size is not None}
    if len(set(found.values())) > 1:
        raise ConfigError("expected one number of nodes, got " + ", ".join(f"{s} by {who}" for who, s in found.items()))
    size = next(iter(found.values()), None)
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 2 <= size <= NODES_MAX:
        raise ConfigError(f"expected 2 to {NODES_MAX} nodes, got n = {size!r}")
    return size


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        check_name(name, "node names")
    if len(set(names)) < len(names):
        raise ConfigError("node names: expected distinct names, got one twice")


def _arguments(build: Callable[..., Any], n: int | None, params: dict[str, Any], who: str) -> dict[str, Any]:
    arguments = params if n is None else {"n": n, **params}
    check_params(build, arguments, who)
    return arguments


def _from_script(path: Path, n: int | None, params: dict[str, Any], names: Sequence[str] | None) -> Topology:
    _read(path)  # says what is wrong with the file before Python does
    # A user's script may raise anything, or leave because its command line is not behind `if __name__ == "__main__"`.
    try:
        build = runpy.run_path(str(path), run_name="p2pfl_topology_script").get("build")
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: the script raised {_one_line(error)}") from error
    if not callable(build):
        raise ConfigError(f"{path}: expected a function build(n, ...) -> nx.Graph, found none")
    arguments = _arguments(build, n, params, f"{path}: build")
    try:
        graph = build(**arguments)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: build raised {_one_line(error)}") from error
    return admit(draw_networkx(graph, str(path)), names)


def _from_gml(path: Path, names: Sequence[str] | None) -> Topology:
    import networkx as nx

    raw = _read(path)
    label = "label" if b"label" in raw else "id"
    return admit(draw_networkx(_parse(path, "GML", lambda: nx.read_gml(BytesIO(raw), label=label)), str(path)), names)


def _from_graphml(path: Path, names: Sequence[str] | None) -> Topology:
    import networkx as nx

    raw = _read(path)
    graph = _parse(path, "GraphML", lambda: nx.read_graphml(BytesIO(raw)))
    labels = {node: data.get("label") for node, data in graph.nodes(data=True)}
    # Labels name the nodes if every node has one of its own; otherwise the ids do.
    if labels and all(isinstance(x, str) and x for x in labels.values()) and len(set(labels.values())) == len(labels):
        graph = nx.relabel_nodes(graph, labels)
    return admit(draw_networkx(graph, str(path)), names)


def _from_toml(path: Path, names: Sequence[str] | None) -> Topology:
    raw = _read(path)
    return admit(draw_table(_parse(path, "TOML", lambda: tomllib.loads(raw.decode())), str(path)), names)


READERS: dict[str, Callable[[Path, Sequence[str] | None], Topology]] = {
    ".gml": _from_gml,
    ".graphml": _from_graphml,
    ".toml": _from_toml,
}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the topology file {path}: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: expected at most {FILE_BYTES_MAX} bytes")
    return raw


def _parse(path: Path, form: str, parse: Callable[[], Any]) -> Any:
    # networkx's readers raise whatever comes up on malformed text, down to AttributeError and StopIteration.
    try:
        return parse()
    except Exception as error:
        raise ConfigError(f"{path}: not a {form} graph: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__
