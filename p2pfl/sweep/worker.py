"""A process that runs cells on demand: `python -m p2pfl.sweep.worker SWEEP FOLDER ENGINE NODES [KEY=VALUE ..]`.

It reads ids of cells, one a line, and answers each with lines of JSON: {"done", "of"} as it goes on, and {"kept"}, or
{"error"} if the cell cannot be run. The result goes to its file; a worker that dies in the middle leaves nothing.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from p2pfl.errors import P2PFLError
from p2pfl.sweep.document import SweepConfig, load_sweep
from p2pfl.sweep.folder import SweepFolder
from p2pfl.sweep.grid import Cell, axes_of, cells_of

SAY_S = 0.5
"""Between two words on how far a cell is."""


def main(argv: list[str]) -> int:
    document, home, engine, nodes, *overrides = argv
    sys.stdout = sys.stderr  # the user's own parts may print; the pipe is for `_say` alone
    sweep = load_sweep(Path(document), "dense" if engine == "dense" else "events", int(nodes) or None)
    cells = {cell.id: cell for cell in cells_of(sweep, axes_of(sweep), overrides)}
    folder = SweepFolder(Path(home))
    with suppress(BrokenPipeError):  # nobody listens any more: the sweep was killed
        return _serve(sweep, folder, cells)
    return 1


def _serve(sweep: SweepConfig, folder: SweepFolder, cells: Mapping[str, Cell]) -> int:
    from p2pfl.sweep.cell import run_cell

    for line in sys.stdin:
        try:
            cell = cells.get(line.strip())
            if cell is None:
                _say(error=f"{sweep.path}: it was changed while its cells are run")
                return 2
            folder.keep(run_cell(sweep, cell, _Teller().tell))
        except P2PFLError as error:
            _say(error=str(error))
        else:
            _say(kept=cell.id)
    return 0


class _Teller:
    def __init__(self) -> None:
        self._said = monotonic()

    def tell(self, done: int, of: int) -> None:
        if monotonic() - self._said >= SAY_S:
            self._said = monotonic()
            _say(done=done, of=of)


def _say(**fields: Any) -> None:
    print(json.dumps(fields), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
