"""One-peer against static exponential graphs: Ying et al. 2021, "Exponential graph is provably efficient".

The paper's claims: the static graph's spectral gap is 2 / (1 + log2 n); one-peer graphs average exactly after log2 n
rounds if n is a power of 2, with one model sent per node and round instead of log2 n; and SGD with momentum over them
ends at the same accuracy. Rounds to consensus are measured on random vectors, accuracy by the dense engine on digits.

    python docs/reproductions/ying_one_peer.py [--quick]
"""

from math import log2

from tables import learn, mean, parse_args, show

from p2pfl.topology import FAMILIES, study

GRAPHS = {
    "ring": "ring",
    "static exponential": "exponential",
    "one-peer exponential": "one-peer-exponential",
    "complete": "complete",
}


def main() -> None:
    args = parse_args(__doc__ or "")
    print("Rounds until disagreement is 1/1000 of the first, and models that a node sends until then\n")
    show([consensus(n) for n in ((8, 16) if args.quick else (8, 16, 32, 64, 128, 256))])
    n, rounds = (8, 20) if args.quick else (32, 200)
    print(f"Accuracy after {rounds} rounds on digits, {n} nodes, momentum SGD, one step a round\n")
    show([accuracy(name, n, rounds, args.seeds) for name in GRAPHS])


def consensus(n: int) -> dict[str, object]:
    static, one_peer = (study(FAMILIES[GRAPHS[name]](n), name) for name in list(GRAPHS)[1:3])
    ring = study(FAMILIES["ring"](n), "ring")
    return {
        "n": n,
        "gap, static": static.spectral_gap,
        "gap, paper": 2 / (1 + log2(n)),
        "rounds, ring": ring.average.measured,
        "static": static.average.measured,
        "one-peer": one_peer.average.measured,
        "paper (log2 n)": int(log2(n)),
        "models, static": (static.average.models_sent or 0) / n,
        "models, one-peer": (one_peer.average.models_sent or 0) / n,
    }


def accuracy(name: str, n: int, rounds: int, seeds: int) -> dict[str, object]:
    """With even shares and with Dirichlet(0.1) over labels. distance: root mean square, to the mean model."""
    row: dict[str, object] = {"graph": name}
    sent: float | None = None
    for split, partition in (("even", {"by": "iid"}), ("skewed", {"by": "dirichlet", "alpha": 0.1})):
        ends = [
            learn(
                n,
                seed,
                topology={"family": GRAPHS[name]},
                pace={"rounds": rounds, "evaluate": rounds},
                train={"optimizer": "momentum", "lr": 0.05},
                data={"partition": partition},
            )[-1]
            for seed in range(1, seeds + 1)
        ]
        row[f"accuracy, {split}"] = mean([end["accuracy"] for end in ends])
        row[f"distance, {split}"] = mean([end["consensus"] for end in ends])
        sent = mean([end["bytes_per_node"] for end in ends])
    return {**row, "MB a node": None if sent is None else sent / 1e6}


if __name__ == "__main__":
    main()
