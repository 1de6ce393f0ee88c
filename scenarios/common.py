"""What every scenario shares: arguments, tables, bars, pictures, and the part of a README that a run writes.

A scenario's run.py makes an `Outcome`; `finish` prints it and, with --record, keeps it in results.json beside the
README and writes the README's tables anew between `<!-- results -->` and `<!-- end -->`. tests/scenarios checks that
these are what results.json holds, so no number in a README was typed by hand.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
RESULTS, README, BEGIN, END = "results.json", "README.md", "<!-- results -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Bar:
    """One claim and what came of it."""

    name: str
    measured: float
    wanted: float
    at_least: bool = True

    @property
    def holds(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    @property
    def text(self) -> str:
        sign, verdict = (">=" if self.at_least else "<="), ("holds" if self.holds else "falls short")
        return f"bar {self.name}: measured {self.measured:.4g}, wanted {sign} {self.wanted:g}: {verdict}"


@dataclass(frozen=True, slots=True)
class Table:
    """rows under the keys of the first; `note` stands below, in the words of who ran it."""

    title: str
    rows: Sequence[Row]
    note: str = ""

    @property
    def lines(self) -> list[list[str]]:
        columns = list(self.rows[0])
        return [columns, *([shown(row.get(column)) for column in columns] for row in self.rows)]

    @property
    def text(self) -> str:
        lines = self.lines
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        body = "\n".join("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines)
        return f"\n{self.title}\n{body}" + (f"\n{self.note}" if self.note else "")

    @property
    def markdown(self) -> str:
        head, *body = ["| " + " | ".join(line) + " |" for line in self.lines]
        table = "\n".join([head, "|---" * len(self.lines[0]) + "|", *body])
        return f"**{self.title}**\n\n{table}\n" + (f"\n{self.note}\n" if self.note else "")


@dataclass(slots=True)
class Outcome:
    """What a run came to. data: "synthetic", "embedded" or a real set; one recorded run of each is kept."""

    data: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    """Matplotlib figures by file name, drawn when they are recorded; None: lies beside the README."""

    def to_json(self) -> dict[str, Any]:
        tables = [{"title": t.title, "rows": [dict(row) for row in t.rows], "note": t.note} for t in self.tables]
        bars = [asdict(bar) | {"holds": bar.holds} for bar in self.bars]
        return {"data": self.data, "tables": tables, "bars": bars, "pictures": list(self.pictures)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Outcome":
        bars = [Bar(b["name"], b["measured"], b["wanted"], b["at_least"]) for b in found["bars"]]
        pictures = dict.fromkeys(found["pictures"])
        return cls(found["data"], [Table(**table) for table in found["tables"]], bars, pictures)

    @property
    def markdown(self) -> str:
        pictures = "".join(f"\n![{self.tables[0].title}]({name})\n" for name in self.pictures)
        bars = "\n".join(f"    {bar.text}" for bar in self.bars)
        return "\n".join(table.markdown for table in self.tables) + (f"\n{bars}\n" if bars else "") + pictures


def parse_args(
    doc: str | None, *, data: str = "", cities: Sequence[str] = (), choose: bool = False
) -> argparse.Namespace:
    """`--quick`, `--json`, `--record`, --data where there is a real set (`data` says which), and what else is asked
    for; the first line of `doc` is the help."""
    parser = argparse.ArgumentParser(description=(doc or "").strip().split("\n")[0])
    if data:
        parser.add_argument("--data", type=Path, metavar="DIR", help=f"a folder of real data sets, with {data}")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs: under half a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables and bars to FILE")
    parser.add_argument("--record", action="store_true", help="write results.json, pictures and README's tables anew")
    if cities:
        parser.add_argument("--city", choices=cities, action="append", help="only this one; may be given again")
    if choose:
        parser.add_argument("--choose", action="store_true", help="compare more on an earlier time, to choose by it")
    args = parser.parse_args()
    if data and args.data is not None:
        args.data = args.data.resolve()
    if args.record and args.quick:
        parser.error("--record keeps whole runs: leave out --quick")
    return args


def show(args: argparse.Namespace, here: Path, outcome: Outcome) -> None:
    """Print, and record if that was asked for. Bars of a --quick run claim nothing."""
    for table in outcome.tables:
        print(table.text)
    print()
    for bar in () if args.quick else outcome.bars:
        print(bar.text, flush=True)
    if args.record:
        record(here, outcome)


def finish(args: argparse.Namespace, here: Path, *outcomes: Outcome) -> None:
    """Show the last of them (those before it are shown already), and write all as data if that was asked for."""
    show(args, here, outcomes[-1])
    if args.json is not None:
        runs = {outcome.data: outcome.to_json() for outcome in outcomes}
        args.json.write_text(json.dumps({"quick": args.quick, "runs": runs}, indent=1) + "\n", "utf-8")


def record(here: Path, outcome: Outcome) -> None:
    """Keep the run in results.json under its data's name, its pictures beside, and the README's part anew."""
    path = here / RESULTS
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept[outcome.data] = outcome.to_json()
    path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    for name, figure in outcome.pictures.items():
        save(figure, here / name)
    readme = here / README
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(before + written(kept) + after, "utf-8")


def save(figure: Any, path: Path) -> None:
    """The same bytes for the same picture; words stay words."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def written(kept: Mapping[str, Any]) -> str:
    """The README's part that comes from results.json, marks included."""
    parts = "\n".join(Outcome.from_json(kept[data]).markdown for data in sorted(kept))
    return f"{BEGIN}\n\n{parts}\n{END}"


def shown(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
