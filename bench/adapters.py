"""Low-rank adapters over gossip: a small transformer, pre-trained here on the pooled text of all of Shakespeare's roles
but four, is brought to these four, each the data of one node. Next-character accuracy on the last fifth of the four.

    as is       the pre-trained model
    local only  each role trains adapters alone; the mean of the four on all four
    pooled      adapters trained on all four roles' text on one machine
    adapters    over gossip, adapters alone are learned and sent
    whole       over gossip, every weight is learned and sent

All have the same settings and as many steps a machine. `--cache DIR` keeps the pre-trained model. One seed.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from harness import add_data, bar, parse_args, table, write_json

import p2pfl

HERE = Path(__file__).resolve().parent.parent / "examples" / "adapting"
FILE = "shakespeare-roles/by_role.jsonl.gz"


def extra(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the pre-trained model here, and use that there")


def pretrained(cache: Path, changes: dict[str, Any]) -> Path:
    out = cache / f"pooled-{changes['pace.rounds']}"
    if not (out / "summary.json").exists():
        p2pfl.simulate(HERE / "roles_pooled.toml", nodes=1, **changes).save(out)
    return out


def row(way: str, accuracy: float, summary: dict[str, Any] | None = None) -> dict[str, Any]:
    sent = 0.0 if summary is None else summary["bytes_sent_per_node"] / 1e3
    return {"way": way, "accuracy": accuracy, "kB a node": sent}


def main() -> None:
    args = parse_args(__doc__, extra)
    torch.set_num_threads(1)
    file = ((args.data or Path(__file__).resolve().parents[2] / "shared" / "data") / FILE).absolute()
    rounds = 2 if args.quick else 30
    with TemporaryDirectory() as folder:
        common: dict[str, Any] = {"data.path": str(file)}
        model = pretrained(args.cache or Path(folder), common | {"pace.rounds": 4 if args.quick else 100})
        target = common | {"model.start": str(model), "pace.rounds": rounds}
        still = p2pfl.simulate(HERE / "roles_adapted.toml", nodes=1, **target | {"pace.rounds": 1, "train.lr": 1e-9})
        low = p2pfl.simulate(HERE / "roles_adapted.toml", nodes=4, baselines=True, **target).summary
        whole = p2pfl.simulate(HERE / "roles_adapted.toml", nodes=4, **target | {"model.adapters.rank": 0}).summary
    rows = [
        row("as is", still.summary["accuracy_mean"]),
        row("local only", low["accuracy_alone_mean"]),
        row("pooled", low["accuracy_centralised"]),
        row("adapters", low["accuracy_mean"], low),
        row("whole", whole["accuracy_mean"], whole),
    ]
    table(rows)
    bar("accuracy, adapters minus local only", low["accuracy_mean"] - low["accuracy_alone_mean"], 0.0)
    bar("accuracy, adapters minus pooled", low["accuracy_mean"] - low["accuracy_centralised"], -0.01)
    bar("bytes, whole over adapters", whole["bytes_sent_per_node"] / low["bytes_sent_per_node"], 4.0)
    write_json(args, rows)


if __name__ == "__main__":
    main()
