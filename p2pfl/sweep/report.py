"""The report: one HTML file with tables and pictures. Knows settings and the parts of a page; runs nothing.

Colours are the values of the last axis; the panels of a picture are the combinations of the others.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import isnan
from typing import NamedTuple

import tomli_w

from p2pfl.config import to_plain
from p2pfl.config.graph import load_graph
from p2pfl.errors import ConfigError
from p2pfl.runs.simulate import simulated
from p2pfl.sweep import charts
from p2pfl.sweep.document import SweepConfig
from p2pfl.sweep.graphs import graph_picture, graph_words
from p2pfl.sweep.grid import Axis, Cell, short_names
from p2pfl.sweep.numbers import NONE, amount, duration, percent, percent_short, plain, spread_text
from p2pfl.sweep.page import legend, page, table
from p2pfl.sweep.result import Result
from p2pfl.sweep.stats import Setting, Spread, settings_of, target_of

PANELS_MAX = 24
GRAPHS_MAX = 12
LOW_IS_BEST = ("loss", "bytes_per_node", "seconds", "consensus")
NAMES = {
    "accuracy": "accuracy",
    "accuracy_best": "best accuracy",
    "accuracy_min": "worst node",
    "loss": "loss",
    "rounds": "rounds",
    "bytes_per_node": "sent per node",
    "seconds": "seconds",
    "consensus": "consensus",
}


class Picture(NamedTuple):
    """One row of panels: a point's field against another."""

    title: str
    x: str
    y: str
    x_label: str
    log_x: bool
    log_y: bool


PICTURES = (
    Picture("Accuracy by round", "round", "accuracy", "rounds", False, False),
    Picture("Accuracy by bytes sent", "bytes_per_node", "accuracy", "sent per node", True, False),
    Picture("Accuracy by simulated second", "seconds", "accuracy", "simulated seconds", False, False),
    Picture("Consensus distance by round", "round", "consensus", "rounds", False, True),
)


def write_report(
    sweep: SweepConfig,
    axes: Sequence[Axis],
    cells: Sequence[Cell],
    results: Mapping[str, Result],
    lost: Mapping[str, str],
) -> str:
    """The report as HTML, of as many cells as have a result. lost: cells that were given up, and why."""
    settings = settings_of(cells, results)
    judged = "accuracy" if any(s.spread("accuracy").count for s in settings) else "loss"
    parts = [_head(sweep, cells, results, settings), _troubles(cells, results, lost)]
    parts += [_matrix(axes, settings, judged), _table(sweep, axes, settings)]
    parts += [_picture(picture, axes, settings, judged) for picture in PICTURES]
    parts += [_graphs(settings), _base(sweep, cells)]
    return page(sweep.name, [part for part in parts if part])


def _head(sweep: SweepConfig, cells: Sequence[Cell], results: Mapping[str, Result], settings: Sequence[Setting]) -> str:
    some = next(iter(results.values()), None)
    engine = "dense engine" if sweep.engine == "dense" else "events engine"
    size = f"{some.num_params:,} parameters" if some else ""
    spent = sum(result.wall_s for result in results.values())
    nodes = sorted({cell.num_nodes for cell in cells})
    facts = [f"{' / '.join(f'{n:,}' for n in nodes)} nodes", size, f"{len(settings)} settings"]
    facts += [f"{len(sweep.seeds)} seed{'s' * (len(sweep.seeds) > 1)}", engine]
    facts.append(f"{len(results)} of {len(cells)} cells in {duration(spent)} of computing")
    return f'<h1>{escape(sweep.name)}</h1><p class="quiet">{" · ".join(escape(f) for f in facts if f)}</p>'


def _troubles(cells: Sequence[Cell], results: Mapping[str, Result], lost: Mapping[str, str]) -> str:
    lines = [f"{cell.title}: {lost[cell.id]}" for cell in cells if cell.id in lost]
    failed = [(cell, results[cell.id].failure) for cell in cells if cell.id in results]
    lines += [f"{cell.title}: {why}" for cell, why in failed if why is not None]
    if not lines:
        return ""
    shown = "<br>".join(escape(line) for line in lines[:20])
    more = f"<br>and {len(lines) - 20} more" if len(lines) > 20 else ""
    return f'<p class="warn">Runs that ended early, and count only as far as they went:<br>{shown}{more}</p>'


def _matrix(axes: Sequence[Axis], settings: Sequence[Setting], judged: str) -> str:
    """The last axis across, the others down, shaded by the mean."""
    if len(axes) < 2:
        return ""
    across, found = axes[-1], {s.labels: s.spread(judged) for s in settings}
    means = [spread.mean for spread in found.values() if not isnan(spread.mean)]
    low, high = (min(means), max(means)) if means else (0.0, 1.0)
    head = "".join(f'<th class="n">{escape(v.label)}</th>' for v in across.values)
    body = []
    for labels in dict.fromkeys(s.labels[:-1] for s in settings):
        cells = []
        for value in across.values:
            spread = found.get((*labels, value.label), Spread.of([]))
            part = 0.0 if isnan(spread.mean) or high == low else (spread.mean - low) / (high - low)
            part = 1 - part if judged == "loss" else part
            shade = f"background:rgba(var(--heat),{0.04 + 0.42 * part:.3f})"
            cells.append(f'<td class="n" style="{shade}">{spread_text(judged, spread)}</td>')
        body.append(f"<tr><td>{escape(', '.join(labels))}</td>{''.join(cells)}</tr>")
    what = f"{NAMES[judged].capitalize()} at the end"
    down = escape(", ".join(axis.name for axis in axes[:-1]))
    says = f'<p class="quiet">Mean over nodes and seeds ± standard deviation over seeds. Down: {down}. Across: '
    says += f"{escape(across.name)}.</p>"
    rows = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<h2>{what}</h2>{says}<div class="scroll"><table class="heat">{rows}</table></div>'


def _table(sweep: SweepConfig, axes: Sequence[Axis], settings: Sequence[Setting]) -> str:
    shown = [c for c in sweep.columns if any(_tells(s.spread(c), c) for s in settings)]
    target = target_of(settings, sweep.target)
    timed = sweep.engine == "events"
    columns = [(escape(name), False) for name in short_names(axes)] + [(NAMES[c], True) for c in shown]
    if target is not None:
        columns += [(f"to {percent(target)}:<br>rounds", True), ("sent", True), *([("seconds", True)] if timed else [])]
    bests = {c: _best(c, settings) for c in shown}
    rows = []
    for setting in settings:
        row = [escape(label) for label in setting.labels]
        for column in shown:
            spread = setting.spread(column)
            row.append(("!" if spread.mean == bests[column] else "") + spread_text(column, spread))
        if target is not None:
            row += _to_target(setting, target, timed)
        rows.append(row)
    note = "The best of each column is bold. "
    if target is not None:
        note += "The last columns say what it took to come to that accuracy; n/m: so many of the seeds did."
    return f'<h2>All settings</h2><p class="quiet">{note}</p>{table(columns, rows)}'


def _tells(spread: Spread, column: str) -> bool:
    return spread.count > 0 and not (column == "seconds" and spread.mean == 0)


def _best(column: str, settings: Sequence[Setting]) -> float:
    means = [s.spread(column).mean for s in settings]
    known = [mean for mean in means if not isnan(mean)]
    if len(known) < 2 or column == "rounds":
        return float("nan")
    return min(known) if column in LOW_IS_BEST else max(known)


def _to_target(setting: Setting, target: float, timed: bool) -> list[str]:
    rounds = setting.reached(target, lambda p: p.round)
    if not rounds.count:
        return [NONE] * (3 if timed else 2)
    few = f' <span class="pm">{rounds.count}/{setting.wanted}</span>' if rounds.count < setting.wanted else ""
    texts = [f"{rounds.mean:.0f}{few}", amount(setting.reached(target, lambda p: p.bytes_per_node).mean)]
    return texts + ([plain(setting.reached(target, lambda p: p.seconds).mean)] if timed else [])


# ------------------------------------------------------------------------------------------------------- pictures


def _picture(picture: Picture, axes: Sequence[Axis], settings: Sequence[Setting], judged: str) -> str:
    y_name = judged if picture.y == "accuracy" else picture.y
    title = picture.title.replace("Accuracy", NAMES[y_name].capitalize()) if picture.y == "accuracy" else picture.title
    lines = {s.labels: _line(s, picture.x, y_name) for s in settings}
    points = [point for line in lines.values() for point in line]
    if not points or (picture.x == "seconds" and not any(x for x, _, _ in points)):
        return ""
    accurate = y_name == "accuracy"
    y_text = percent_short if accurate else plain
    x_text = amount if picture.x == "bytes_per_node" else plain
    right, bottom = charts.WIDTH - charts.RIGHT, charts.HEIGHT - charts.BOTTOM
    x_values = [x for x, _, _ in points] + ([] if picture.log_x else [0.0])
    x = charts.make_scale(picture.x_label, x_values, charts.LEFT, right, picture.log_x, x_text)
    y = charts.make_scale(NAMES[y_name], [v for _, v, _ in points], bottom, charts.TOP, picture.log_y, y_text)
    colours = [value.label for value in axes[-1].values] if axes else [""]
    figures = []
    groups = list(dict.fromkeys(s.labels[:-1] for s in settings))
    for group in groups[:PANELS_MAX]:
        series = []
        for number, colour in enumerate(colours):
            labels = (*group, colour) if axes else ()
            series.append(charts.Series(colour or "all", number, tuple(lines.get(labels, ()))))
        name = ", ".join(group)
        drawn = charts.line_chart(f"{title}: {name}" if name else title, series, x, y)
        figures.append(f"<figure><h3>{escape(name)}</h3>{drawn}</figure>")
    key = legend(colours, [number % charts.COLOURS for number in range(len(colours))]) if axes else ""
    more = f"<p>The first {PANELS_MAX} of {len(groups)} panels.</p>" if len(groups) > PANELS_MAX else ""
    kind = "panels one" if len(figures) == 1 else "panels"
    return f'<h2>{title}</h2>{key}<div class="{kind}">{"".join(figures)}</div>{more}'


def _line(setting: Setting, x: str, y: str) -> list[tuple[float, float, float]]:
    xs, ys = setting.curve(lambda p: float(getattr(p, x))), setting.curve(lambda p: float(getattr(p, y)))
    return [(a.mean, b.mean, b.std) for a, b in zip(xs, ys, strict=True) if a.count and b.count]


def _graphs(settings: Sequence[Setting]) -> str:
    figures: dict[str, str] = {}
    for setting in settings:
        config = simulated(setting.cell.config, setting.cell.resized)
        section = to_plain(config.topology)
        key = repr(sorted(section.items(), key=str)) + str(len(config.nodes))
        if key in figures or len(figures) >= GRAPHS_MAX:
            continue
        name = str(section.get("family") or (config.topology.file and config.topology.file.name))
        name += "".join(f" {k}={v}" for k, v in config.topology.params.items())
        try:
            topology = load_graph(config.topology, [entry.name for entry in config.nodes])
        except ConfigError:
            continue  # its cells have said so
        says = f'<p class="quiet">{escape(graph_words(topology))}</p>'
        figures[key] = f"<figure><h3>{escape(name)}</h3>{graph_picture(name, topology)}{says}</figure>"
    return f'<h2>The graph{"s" * (len(figures) > 1)}</h2><div class="panels graphs">{"".join(figures.values())}</div>'


def _base(sweep: SweepConfig, cells: Sequence[Cell]) -> str:
    config = to_plain(cells[0].config)
    config.pop("nodes", None)
    text = escape(tomli_w.dumps(config))
    return f"<details><summary>The network document of the first cell, in full</summary><pre>{text}</pre></details>"
