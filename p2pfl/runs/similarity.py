"""Who found whom under the rule `similarity`: the matrix, the groups in it, and its picture. Knows summaries.

The picture orders the nodes by group, so groups stand on the diagonal as blocks. It is for networks of up to
`DRAWN_MAX` nodes.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from p2pfl.runs.folder import RunFolder

PICTURE = "similarity.svg"
ALIKE = 0.5
"""From this similarity on, seen from both ends where both are known, two nodes are of one group."""
DRAWN_MAX = 200
_CELL, _LEFT, _TOP = 16, 90, 30


def similarity_report(rows: Sequence[Mapping[str, Any]], ids: Mapping[str, str]) -> dict[str, Any] | None:
    """Of the nodes' summaries; ids: name -> public key in hex. None if no node told a similarity.

    groups: names, largest group first. names, matrix: in the order of the groups; null where two are no neighbours.
    """
    told = {row["name"]: row.get("similarity") or {} for row in rows}
    if not any(told.values()):
        return None
    names = {key: name for name, key in ids.items()}
    found = {(name, names[key]): value for name, row in told.items() for key, value in row.items() if key in names}
    groups = _groups(sorted(told), found)
    order = [name for group in groups for name in group]
    matrix = [[1.0 if a == b else found.get((a, b)) for b in order] for a in order]
    return {"groups": groups, "names": order, "matrix": matrix}


def _groups(names: Sequence[str], found: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """The components of the graph of those that are alike."""
    leader = {name: name for name in names}

    def lead(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for (a, b), value in found.items():
        if min(value, found.get((b, a), value)) >= ALIKE and b in leader:
            one, other = sorted((lead(a), lead(b)))
            leader[other] = one
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(lead(name), []).append(name)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def write_picture(folder: RunFolder, report: Mapping[str, Any] | None) -> None:
    """`similarity.svg` in the folder, if there is something to draw."""
    if report is not None and len(report["names"]) <= DRAWN_MAX:
        (folder / PICTURE).write_text(picture(report["names"], report["matrix"]), "utf-8")


def picture(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> str:
    """SVG: a square per pair, from orange (-1) over white to blue (1); grey where two are no neighbours."""
    side = _CELL * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + side + 10} {_TOP + side + 10}" '
        'font-family="sans-serif" font-size="10">',
        f'<text x="{_LEFT}" y="18">similarity of models: blue alike, orange opposite, grey no neighbours</text>',
    ]
    for row, (name, values) in enumerate(zip(names, matrix, strict=True)):
        y = _TOP + row * _CELL
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">{escape(name[:14])}</text>')
        for column, value in enumerate(values):
            title = f"{escape(name)}, {escape(names[column])}: {'-' if value is None else f'{value:.2f}'}"
            parts.append(
                f'<rect x="{_LEFT + column * _CELL}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill="{_colour(value)}"><title>{title}</title></rect>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _colour(value: float | None) -> str:
    if value is None:
        return "#dddddd"
    full = (31, 104, 172) if value > 0 else (217, 95, 2)
    part = min(abs(value), 1.0)
    return "#" + "".join(f"{round(255 + (channel - 255) * part):02x}" for channel in full)
