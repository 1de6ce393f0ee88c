"""What the schedules are made of: every seed draws size, network, crashes, epochs and adversaries."""

from random import Random

from finality_adversaries import ALL
from finality_swarm import Machine, Plan

SIZES = (4, 5, 7, 4, 7, 5, 4, 1)


def plan_for(seed: int) -> Plan:
    """As many adversaries as the validators tolerate, each of another kind; none in a quarter of the schedules."""
    random = Random(f"plan {seed}")
    n = SIZES[seed % len(SIZES)]
    spare = random.choice((0, 0, 1))
    kinds: list[type[Machine]] = random.sample(ALL, (n - 1) // 3) if random.random() < 0.75 else []
    return Plan(
        n=n,
        heal_s=random.choice((6.0, 12.0)),
        drop=random.choice((0.0, 0.1, 0.3)),
        slow=random.choice((0.0, 0.2, 0.5)),
        crashes=random.randrange(4),
        partitions=random.randrange(4),
        entries=random.randrange(3, 12),
        sparse=random.random() < 0.5,
        epoch=random.choice((2, 4, 100)),
        step=spare,
        spare=spare,
        adversaries=dict(zip(random.sample(range(n + spare), len(kinds)), kinds, strict=True)),
    )


def hostile(seed: int, adversary: type[Machine], **more: object) -> Plan:
    """Four validators, one of them this adversary, in a world in which half of all messages take as long as a view."""
    liar = {seed % 4: adversary}
    world = {"heal_s": 25.0, "slow": 0.5, "crashes": 4, "partitions": 6, "entries": 40, "epoch": 100}
    return Plan(n=4, adversaries=liar, **{**world, **more})  # type: ignore[arg-type]
