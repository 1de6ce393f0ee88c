"""`p2pfl predict`: a trained model on a file."""

from pathlib import Path

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import waiting


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--limit", default=20, show_default=True, help="Rows of the table; 0 for all.")
@click.option("--personal", is_flag=True, help="The node's own copy ([personal]), instead of the shared model.")
@json_option
def predict(run: Path, file: Path, limit: int, personal: bool, as_json: bool) -> None:
    """Use a trained model on a file.

    RUN is a run folder with a model; FILE holds samples: a .csv (for a model of a table: with its header), a .npy, or
    a .npz with an array x.
    """
    with waiting("predicting", as_json):
        from p2pfl.runs.predict import predict as run_model

        result = run_model(run, file, personal)
    if result.values:
        columns: tuple[str, ...] = ("sample", "value")
        rows: list[tuple[object, ...]] = list(enumerate(result.values))
    else:
        columns = ("sample", "class", "probability")
        rows = [(i, *pair) for i, pair in enumerate(zip(result.classes, result.probabilities, strict=True))]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    shown = rows[:limit] if limit else rows
    print_table(columns, shown)
    if len(shown) < len(rows):
        click.echo(f"... and {len(rows) - len(shown)} more (--limit 0 shows all, --json for machines)")
