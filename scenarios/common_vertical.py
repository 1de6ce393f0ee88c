"""A vertical job of several companies on this machine, as they would run it: one document each, one process each.

Knows folders, tables and `p2pfl vertical train`; knows no scenario. Every company gets a folder with its table, its key
and its party.toml; job.toml is the scenario's own, with the companies' fresh keys and addresses below. Each misses some
people and has its rows in an order of its own, so that there is something to align.
"""

import csv
import gzip
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.runs.local import free_ports, run_processes
from p2pfl.runs.vertical_demo import LIMIT_S, compare, party_process, summary_of
from p2pfl.wire import keyfile

PARTY = """\
# {name}'s own document: p2pfl vertical train party.toml

format = 1
job = "../job.toml"
name = "{name}"
key_file = "key"
listen = "{address}"
out = "run"

[table]
path = "table.csv"
id = "id"
"""
LABEL = """\
label = "label"
classes = ["no", "yes"]
"""
MISSING = 0.03
"""Share of the people that a company does not have."""

Column = Sequence[str] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Company:
    """columns by name, each with a value for every person; text becomes categories. label: "no" or "yes", at the first
    company only."""

    name: str
    columns: Mapping[str, Column]
    label: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """AUCs on the people held out: of each company's columns with the labels, of the job, and of the same net trained
    on all columns in one place. leak: of the best attack on the gradients that were sent, 0.5 is nothing."""

    alone: dict[str, float]
    joined: float
    central: float
    label_epsilon: float | None
    delta: float
    leak: float | None
    rows: int


def run_jobs(job: Path, companies: Sequence[Company], seeds: Sequence[int], changes: Mapping[str, Any]) -> list[Joined]:
    """The job once a seed. changes: keys of job.toml with other values."""
    return [run_job(job, companies, {**changes, "seed": seed}) for seed in seeds]


def run_job(job: Path, companies: Sequence[Company], changes: Mapping[str, Any]) -> Joined:
    """Let the companies align and train, a process each, over HTTP on loopback."""
    with tempfile.TemporaryDirectory(prefix="p2pfl-scenario-") as folder:
        documents = written(Path(folder), job, companies, changes)
        processes = [party_process(document, "train", document.parent / "run") for document in documents]
        run_processes(processes, lambda: None, LIMIT_S)
        for process in processes:
            if (why := process.why()) is not None:
                raise SystemExit(f"{process.document.parent.name}: {why}")
        return result_of(documents)


def result_of(documents: Sequence[Path]) -> Joined:
    first, compared = summary_of(documents[0], "run"), compare(documents)
    leaks = [leak["worst_auc"] for leak in (first.get("label_leak") or {}).values() if leak is not None]
    return Joined(
        alone=compared.alone,
        joined=first["auc"],
        central=compared.central,
        label_epsilon=first.get("label_epsilon"),
        delta=first["delta"],
        leak=max(leaks, default=None),
        rows=first["rows_common"],
    )


def mean_of(found: Sequence[Joined], name: str) -> float:
    """The mean over the seeds of a figure, `alone.bank` of what the bank's columns give."""
    return fmean(figures_of(found, name))


def figures_of(found: Sequence[Joined], name: str) -> list[float]:
    what, _, company = name.partition(".")
    return [float(one.alone[company] if company else getattr(one, what) or 0.0) for one in found]


def written(home: Path, job: Path, companies: Sequence[Company], changes: Mapping[str, Any]) -> list[Path]:
    """The companies' folders below `home`, job.toml beside them; their party.toml in the companies' order."""
    draw = np.random.default_rng(1)
    text, documents = changed(job.read_text("utf-8"), changes), []
    for company, port in zip(companies, free_ports(len(companies)), strict=True):
        folder, address = home / company.name, f"127.0.0.1:{port}"
        folder.mkdir()
        key = keyfile.create(folder / "key").node.hex()
        text += f'\n[[parties]]\nname = "{company.name}"\nkey = "{key}"\nurl = "http://{address}"\n'
        document = folder / "party.toml"
        label = "" if company.label is None else LABEL
        document.write_text(PARTY.format(name=company.name, address=address) + label, "utf-8")
        people = len(next(iter(company.columns.values())))
        write_table(folder / "table.csv", company, draw.permutation(np.flatnonzero(draw.random(people) >= MISSING)))
        documents.append(document)
    (home / "job.toml").write_text(text, "utf-8")
    return documents


def changed(text: str, changes: Mapping[str, Any]) -> str:
    """A document with other numbers for some of its keys."""
    for key, value in changes.items():
        text, count = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise SystemExit(f"job.toml: expected one key {key}, found {count}")
    return text


def write_table(path: Path, company: Company, rows: NDArray[np.int64]) -> None:
    columns = {**company.columns, **({} if company.label is None else {"label": company.label})}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns])
        writer.writerows([f"person-{row:05d}", *(values[row] for values in columns.values())] for row in rows)


def read_csv(path: Path) -> dict[str, list[str]]:
    """A .csv.gz as columns of text."""
    if not path.is_file():
        raise SystemExit(f"there is no file {path}; give the folder of data sets with --data DIR")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    return {name.strip(): [line[place] for line in lines] for place, name in enumerate(header)}
