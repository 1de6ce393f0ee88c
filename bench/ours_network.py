"""Networks of p2pfl nodes for a bench: documents, keys and ports in a folder. Knows documents; knows no process."""

from collections.abc import Sequence
from pathlib import Path

from p2pfl.runs.local import free_ports
from p2pfl.topology.graphs.numbered import numbered
from p2pfl.wire import keyfile


def write_network(folder: Path, nodes: int, sections: str, own: Sequence[str] = ()) -> list[Path]:
    """A network without a ledger: `sections` are network.toml's, `own` those of each node.toml. -> node documents."""
    text = f'format = 1\nname = "bench"\n{sections}\n'
    documents = []
    for index, (name, port) in enumerate(zip(numbered(nodes), free_ports(nodes), strict=True)):
        home = folder / name
        home.mkdir(parents=True)
        address = f"127.0.0.1:{port}"
        key = keyfile.create(home / "key").node.hex()
        text += f'[[nodes]]\nname = "{name}"\nkey = "{key}"\nurl = "http://{address}"\n'
        lines = (
            *("format = 1", f'name = "{name}"', 'network = "../network.toml"', 'key_file = "key"'),
            *(f'listen = "{address}"', 'out = "run"', "[data]", f"index = {index}", own[index] if own else "", ""),
        )
        documents.append(home / "node.toml")
        documents[-1].write_text("\n".join(lines), "utf-8")
    (folder / "network.toml").write_text(text, "utf-8")
    return documents
