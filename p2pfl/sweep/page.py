"""The page around a report: its style, light and dark. Knows HTML; knows no result.

Nothing on it is fetched: no script, font, image or link leaves the file.
"""

from collections.abc import Sequence
from html import escape

LIGHT = ("#0b6bcb", "#d9570a", "#128a50", "#b0307a", "#6d4bc4", "#8a6d00", "#0a8a94", "#5b6472")
DARK = ("#5aa9ff", "#ff9a57", "#4fd08f", "#ff7fc0", "#b39bff", "#e0bf45", "#4fd3dd", "#aab4c2")

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1a2230;--quiet:#5d6878;--line:#dfe4ea;--soft:#f5f7f9;--heat:11,107,203;
--edge:#94a3b8;--node:#0f4c81;%s}
@media (prefers-color-scheme:dark){:root{--bg:#12161c;--ink:#e6eaf0;--quiet:#9aa6b5;--line:#2b333e;--soft:#1a2029;
--heat:90,169,255;--edge:#56637a;--node:#7ab8f5;%s}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:27px;margin:0 0 2px;line-height:1.2}h2{font-size:18px;margin:38px 0 6px}
h3{font-size:13px;font-weight:600;margin:0 0 2px}p{margin:4px 0 12px;max-width:75ch}.quiet{color:var(--quiet)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:5px 10px 5px 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--quiet);font-size:12.5px;vertical-align:bottom}
td.n,th.n{text-align:right;padding:5px 0 5px 14px}
td .pm{color:var(--quiet);font-size:12px}td.best{font-weight:700}tr:hover td{background:var(--soft)}
table.heat td.n{padding:7px 14px;border:2px solid var(--bg)}table.heat th.n{padding:5px 14px}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(255px,1fr));gap:14px 18px}
.panels.one{grid-template-columns:minmax(0,640px)}.graphs{grid-template-columns:repeat(auto-fill,minmax(200px,1fr))}
figure{margin:0;min-width:0}svg{width:100%%;height:auto;display:block}.graph{max-width:300px}
.grid{stroke:var(--line)}.axis,.mark{stroke:var(--quiet)}.tick,.label{fill:var(--quiet);font:11px system-ui,sans-serif}
.line{fill:none;stroke-width:1.9;stroke-linejoin:round}.band{opacity:.15;stroke:none}
.edge{stroke:var(--edge);fill:none}.node{fill:var(--node)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:2px 0 10px;font-size:13.5px}
.key{display:inline-block;width:18px;height:3px;border-radius:2px;margin-right:7px;vertical-align:middle}
details{margin-top:22px}summary{cursor:pointer;color:var(--quiet)}pre{background:var(--soft);padding:12px;overflow-x:auto;
font-size:12.5px;border-radius:6px}.warn{border-left:4px solid #d9570a;background:var(--soft);padding:8px 12px}
@media print{details{display:none}}
"""
RULES = "".join(
    f".line.c{i}{{stroke:var(--c{i})}}.dot.c{i},.band.c{i}{{fill:var(--c{i})}}.key.c{i}{{background:var(--c{i})}}"
    for i in range(len(LIGHT))
)


def page(title: str, parts: Sequence[str]) -> str:
    """The whole document; parts are HTML."""
    light, dark = (";".join(f"--c{i}:{c}" for i, c in enumerate(colours)) for colours in (LIGHT, DARK))
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>{STYLE % (light, dark)}{RULES}</style></head><body><main>",
            *parts,
            "</main></body></html>\n",
        ]
    )


def legend(names: Sequence[str], colours: Sequence[int]) -> str:
    """Which colour is which."""
    keys = [f'<span><i class="key c{c}"></i>{escape(n)}</span>' for n, c in zip(names, colours, strict=True)]
    return f'<div class="legend">{"".join(keys)}</div>'


def table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> str:
    """columns: (HTML, whether it holds numbers). Cells are HTML; one that begins with `!` is the best of its column."""
    head = "".join(f"<th{_class(numeric, False)}>{name}</th>" for name, numeric in columns)
    body = []
    for row in rows:
        cells = [
            f"<td{_class(numeric, cell[:1] == '!')}>{cell.removeprefix('!')}</td>"
            for cell, (_, numeric) in zip(row, columns, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _class(numeric: bool, best: bool) -> str:
    names = " ".join(["n"] * numeric + ["best"] * best)
    return f' class="{names}"' if names else ""
