"""A budget: counted before anything leaves, kept over a restart, obeyed, and told in the signed feed."""

from pathlib import Path

import pytest
import tomli_w

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Compute, Computed, Persist, Put, Started
from p2pfl.errors import BrokenChain, ConfigError
from p2pfl.horizontal.model.work import Train
from p2pfl.horizontal.records.budget import ENTRY, KEY, SPACE, Budget, events_in, record
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.privacy.accounting import Event, epsilon_tight
from p2pfl.privacy.spending import Promise, Spending
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.post import Post

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

PROMISE = Promise("example", 3.0, 0.1, 1e-5, planned=60)


def document(**sections) -> NetworkConfig:
    plain = {
        "format": 1,
        "model": {"name": "linear"},
        "pace": {"mode": "lockstep", "rounds": 6, "window": 2, "evaluate": 2},
        "train": {"lr": 0.1, "steps": 2},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.5}},
        "privacy": {"unit": "example", "noise": 3.0, "rate": 0.2, "delta": 1e-4},
    }
    for name, values in sections.items():
        plain[name] = plain.get(name, {}) | values
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 4)


def run(config: NetworkConfig, world: World = World()) -> Simulation:  # noqa: B008
    simulation = build_simulation(config, world)
    assert run_simulation(simulation).outcome == "stopped"
    return simulation


def spent(simulation: Simulation, name: str) -> tuple[Event, ...]:
    return events_in(simulation.host.store(simulation.shared.ids[name]).load()[SPACE][KEY])


def feed(simulation: Simulation, name: str) -> list[Entry]:
    """The node's own entries, in order."""
    own = simulation.shared.ids[name]
    entries = map(parse, simulation.host.store(own).load()["entry"].values())
    return sorted((entry for entry in entries if entry.author == own), key=lambda entry: entry.seq)


def test_releases_alike_are_one_event_and_others_another() -> None:
    spending = Spending.begin(PROMISE).after(10).after(5)
    assert spending.events == (Event(3.0, 0.1, 15),)
    other = Spending.begin(Promise("example", 2.0, 0.1, 1e-5, 60), spending.events).after(1)
    assert other.events == (Event(3.0, 0.1, 15), Event(2.0, 0.1, 1))
    assert other.epsilon_tight() > spending.epsilon_tight()


def test_a_budget_allows_what_is_left_of_it() -> None:
    enough = epsilon_tight([PROMISE.event(60)], 1e-5) * 1.001
    spending = Spending.begin(Promise("example", 3.0, 0.1, 1e-5, 60, enough))
    assert spending.left == 60
    assert not spending.allows(61)
    assert spending.after(58).allows(2)
    assert not spending.after(58).allows(3)
    again = Spending.begin(spending.promise, spending.after(58).events)
    assert again.left == 2
    assert Spending.begin(spending.promise, [PROMISE.event(60)]).left == 0


def test_without_a_budget_everything_is_allowed_and_counted() -> None:
    spending = Spending.begin(PROMISE).after(1000)
    assert spending.allows(10**6)
    assert spending.count == 1000


def test_the_record_comes_back_as_it_was_and_a_broken_one_stops_the_node() -> None:
    events = (Event(1.5, 0.25, 7), Event(2.0, 1.0, 1))
    assert events_in(record(events)) == events
    for raw in (b"", record(events)[:-1], b"\x92\x02\x90", record((Event(1.0, 0.5, 3),))[:-1] + b"\xff"):
        with pytest.raises(BrokenChain, match="privacy that was spent"):
            Budget(PROMISE).restore({SPACE: {KEY: raw}})


def test_a_budget_of_nodes_counts_phases_and_one_of_examples_counts_steps() -> None:
    assert Budget(PROMISE).cost(5) == 5
    assert Budget(Promise("node", 3.0, 1.0, 1e-2, 60)).cost(5) == 1


def test_a_run_spends_one_release_a_step_and_signs_it() -> None:
    simulation = run(document())
    for name in simulation.nodes:
        assert spent(simulation, name) == (Event(3.0, 0.2, 12),)
        entries = [e for e in feed(simulation, name) if e.kind == ENTRY]
        assert entries[-1].payload == ("example", "zero-out", 10**11, 0, ((3 * 10**9, 2 * 10**8, 12),))
        assert len(entries) == 3  # one a window


@pytest.mark.parametrize("mode", ["lockstep", "async"])
def test_a_node_whose_budget_is_spent_stops_training_and_the_run_ends(mode: str) -> None:
    whole = epsilon_tight([Event(3.0, 0.2, 7)], 1e-4) * 1.0001
    simulation = run(document(pace={"mode": mode}, privacy={"epsilon": whole}))
    for name, node in simulation.nodes.items():
        (event,) = spent(simulation, name)
        assert 5 <= event.count <= 7  # phases of two steps, and a percent that the search may leave
        assert epsilon_tight([event], 1e-4) <= whole
        assert node.job.local.finished
        assert node.job.budget.public()["releases"] == event.count
    assert all(outcome.failure is None for outcome in simulation.outcomes.values())


def test_what_was_released_before_a_crash_stays_counted() -> None:
    """Between two snapshots, where all else of the training is lost and done again."""
    config = document(pace={"mode": "async", "rounds": 12, "window": 100})
    victim = config.nodes[0].key
    simulation = run(config, World(faults=Faults(crashes=(Crash(victim, 0.15, 0.05),))))
    (event,) = spent(simulation, config.nodes[0].name)
    done = simulation.nodes[config.nodes[0].name].job.local.opt.steps
    assert event.count > done > 0


def test_the_record_is_durable_before_anything_follows_from_a_release() -> None:
    """In the effects of every handle in which a local phase lands, its record comes before every message."""
    config = document(mix={"rule": "average"})
    shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
    rows = shares_of(held, config.data, 4, config.seed)[0]
    name = config.nodes[0].name
    signer = Signer(derive(root(config.seed), "key", name))
    node = shared.node(name, signer, splits_of(held, rows, config.data, config.seed, 0))
    job = node.job
    (restore,) = [e.task for e in job.handle(Started(bytes(range(32)), {}), 0.0) if isinstance(e, Compute)]
    job.handle(Computed(restore, node.work.run(restore)), 0.1)
    phase = Train(0, 2, job.local.x, job.local.opt, None, root(3))
    effects = job.handle(Computed(phase, node.work.run(phase)), 1.0)
    (at,) = [i for i, e in enumerate(effects) if isinstance(e, Persist) and any(p.space == SPACE for p in e.puts)]
    others = [i for i, e in enumerate(effects) if isinstance(e, Post | Compute)]
    assert others
    assert all(at < i for i in others)


WRONG = [
    ({"privacy": {"noise": 0}}, "privacy.noise: expected a number from 0.001"),
    ({"privacy": {"unit": "nobody"}}, "privacy.unit: expected 'none' or 'example' or 'node'"),
    ({"privacy": {"unit": "none"}}, "expected unit = "),
    ({"privacy": {"delta": 0.02}}, "less than 1 over the number of examples"),
    ({"privacy": {"unit": "node", "delta": 0.25}}, "less than 1 over the number of examples, 1/4"),
    ({"train": {"clip_norm": 1.0}}, "train.clip_norm: with"),
    ({"train": {"weighting": "samples"}}, "train.weighting: with"),
    ({"pace": {"stop_at": 0.9}}, "pace.stop_at: with"),
    ({"model": {"name": "cnn", "args": {"norm": "batch"}}}, "batch norm"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[m for _, m in WRONG])
def test_what_cannot_be_promised_is_one_line(change, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_simulation(document(**change), World())
    assert "\n" not in str(caught.value)


def test_epochs_would_tell_how_many_examples_there_are() -> None:
    text = 'format = 1\n[train]\nepochs = 1.0\n[privacy]\nunit = "example"\nnoise = 1.0\n'
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        build_simulation(simulated(parse_network(text, Path("network.toml")), 4), World())


def test_feeds_with_such_entries_verify(tmp_path: Path) -> None:
    simulation = run(document())
    store = SqliteStore(tmp_path / "node.db")
    held = simulation.host.store(next(iter(simulation.shared.ids.values()))).load()
    store.commit([Put(space, key, value) for space, rows in held.items() for key, value in rows.items()])
    store.close()
    assert verify_store(tmp_path / "node.db").ok
