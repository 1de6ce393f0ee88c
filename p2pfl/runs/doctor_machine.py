"""What a diagnosis looks at on this machine: key, folder, disk, store, files, port. Knows files; asks no other node."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from urllib.parse import urlsplit

from p2pfl.config import NodeConfig
from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import GIB, MIB
from p2pfl.core.urls import NOWHERE
from p2pfl.errors import P2PFLError
from p2pfl.hosts.listener import cannot_listen
from p2pfl.hosts.open_files import files_needed, limits
from p2pfl.ledger.stores.migrations import FORMAT
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.finding import Finding, failed, ok, warning
from p2pfl.runs.folder import STORE
from p2pfl.runs.pages import is_loopback
from p2pfl.runs.scrape import store_bytes
from p2pfl.wire import keyfile

LEAST_FREE_BYTES = 128 * MIB
"""A store's write-ahead log alone may take half of it."""
GOOD_FREE_BYTES = GIB
CHECKED_BYTES_MAX = 256 * MIB
"""Larger stores are not read whole by a diagnosis: `p2pfl ledger verify` does that."""

FreeBytes = Callable[[Path], int]


def check_machine(config: NodeConfig, neighbours: int, free_bytes: FreeBytes | None = None) -> Iterator[Finding]:
    yield from check_key(config)
    yield from check_data(config)
    yield from check_folder(config.out, free_bytes or free_bytes_of)
    yield from check_store(config.out / STORE, config.network.node(config.name).key)
    yield check_files(neighbours)
    yield from check_outer(config)


def check_key(config: NodeConfig) -> Iterator[Finding]:
    """Whether the key is there, secret, and the one that the network knows this node by."""
    try:
        signer = keyfile.load(config.key_file)
    except P2PFLError as error:
        text, _, do = str(error).partition("; ")
        yield failed("key file", text, do or "see docs/configuration.md")
        return
    yield ok("key file", f"{config.key_file}, for its owner alone")
    listed = config.network.node(config.name).key
    if signer.node == listed:
        yield ok("key", f"{short(signer.node)} is {config.name} in {config.network.path.name}")
        return
    owner = next((entry.name for entry in config.network.nodes if entry.key == signer.node), None)
    do = f"name = {owner!r} in node.toml, or that node's own key file" if owner else "give everybody the public key"
    found = f"this key is {short(signer.node)}, and {config.network.path.name} says {short(listed)} for {config.name}"
    more = f"; it is {owner}'s" if owner else ""
    yield failed("key", found + more, do if owner else f"{do} that `p2pfl keys show {config.key_file}` prints")


def check_data(config: NodeConfig) -> Iterator[Finding]:
    path = config.data.path
    if path is not None and not path.exists():
        do = "correct data.path in node.toml, or put the data there"
        yield failed("data", f"there is no {path}", do)
    elif path is not None:
        yield ok("data", str(path))


def check_folder(out: Path, free_bytes: FreeBytes) -> Iterator[Finding]:
    """Whether the run's folder, or the one that it will be made in, can be written, and has room."""
    folder = out
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"p2pfl")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        do = f"give the node's user the folder, or choose another `out`: ls -ld {folder}"
        yield failed("run folder", f"cannot write in {folder}: {error.strerror}", do)
        return
    yield ok("run folder", f"{out} can be {'written' if out.exists() else 'made'}")
    yield _room(folder, free_bytes(folder))


def _room(folder: Path, free: int) -> Finding:
    found, do = f"{free / 1e9:.1f} GB free at {folder}", "make room, or move `out` to a larger disk"
    if free < LEAST_FREE_BYTES:
        return failed("disk", f"{found}, a node needs {LEAST_FREE_BYTES / 1e9:.1f}", do)
    return warning("disk", found, do) if free < GOOD_FREE_BYTES else ok("disk", found)


def check_store(store: Path, key: NodeId) -> Iterator[Finding]:
    """Whether what the node remembers can be read, and is its own."""
    if not store.exists():
        yield ok("store", "none yet")
        return
    try:
        with open_reader(store) as reader:
            damage = reader.integrity() if store_bytes(store) <= CHECKED_BYTES_MAX else []
            is_strange = reader.count_entries() > 0 and not reader.stretch(key, 0, 0, 0)
            format_ = reader.format
    except P2PFLError as error:
        text, _, do = str(error).partition("; ")
        yield failed("store", text, do or "restore a backup: `p2pfl restore`")
        return
    if damage:
        yield failed("store", f"{store} is damaged: {damage[0]}", "restore a backup: `p2pfl restore`")
    elif is_strange:
        do = "choose another `out`, or the key and name that belong to this folder"
        yield failed("store", f"{store} has feeds of others, and none of this node", do)
    elif format_ != FORMAT:
        do = "nothing: the next start migrates it; `p2pfl migrate` keeps the old file"
        yield warning("store", f"{store} has format {format_} of {FORMAT}", do)
    else:
        yield ok("store", f"{store}, {store_bytes(store) / 1e6:.1f} MB, format {format_}")


def check_files(neighbours: int) -> Finding:
    needed, (soft, hard) = files_needed(neighbours), limits()
    found = f"{max(soft, hard)} allowed, {needed} needed at worst"
    do = f"raise the limit: ulimit -n {needed}, or LimitNOFILE={needed} in the service's unit"
    if max(soft, hard) >= needed:
        return ok("open files", found)
    return failed("open files", found, do) if max(soft, hard) < needed // 4 else warning("open files", found, do)


def is_running(out: Path) -> bool:
    """Whether a process holds the store's lock."""
    try:
        handle = os.open((out / STORE).with_name(STORE + ".lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def check_outer(config: NodeConfig) -> Iterator[Finding]:
    """Whether the address that others are told can be the one that the node listens on."""
    url, address = config.network.node(config.name).url, config.address
    if NOWHERE in (url, config.listen) or address is None:
        return
    host, port = address
    outer = urlsplit(url)
    if is_loopback(host) and outer.hostname not in ("localhost", host) and not is_loopback(outer.hostname or ""):
        found = f"listens on {config.listen}, which only this machine reaches, and others are told {url}"
        yield failed("listening", found, f'listen = "0.0.0.0:{port}" in node.toml')
    elif outer.port not in (None, port):
        found = f"listens on port {port}, and others are told {url}"
        yield warning("listening", found, "fine if a router or proxy forwards that port; else correct one of them")


def check_port(config: NodeConfig) -> Finding:
    """Whether the node could listen where it is told to. Only for a node that is not running."""
    address = config.address
    if config.listen == NOWHERE or address is None:
        return ok("listening", "not at all: it fetches what is for it")
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except (OSError, OverflowError) as error:
            text, _, do = cannot_listen(host, port, error).partition("; ")
            return failed("listening", text, do or "correct `listen` in node.toml")
    return ok("listening", f"{config.listen} is free")


def free_bytes_of(folder: Path) -> int:
    return shutil.disk_usage(folder).free
