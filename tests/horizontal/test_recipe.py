"""The recipe: who differs in the job, and who differs in privacy terms alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from p2pfl.assemble.network import assemble
from p2pfl.assemble.private import terms_of
from p2pfl.config import parse_network
from p2pfl.config.schema import PrivacyConfig
from p2pfl.horizontal.terms.recipe import JOB_BYTES, Recipe
from p2pfl.runs.simulate import simulated

PLAIN = Recipe(bytes(32), bytes(32), bytes(32), bytes(32), ("pairwise", ()), ("fp32", ()), "lockstep", 10)
FOUR = replace(PLAIN, terms=(("unit", "example"), ("epsilon", 4.0)))


def test_terms_are_the_end_of_the_digest_and_nothing_without_them() -> None:
    eight = replace(FOUR, terms=(("unit", "example"), ("epsilon", 8.0)))
    digests = [PLAIN.digest, FOUR.digest, eight.digest]
    assert len(set(digests)) == 3
    assert {digest[:JOB_BYTES] for digest in digests} == {PLAIN.digest[:JOB_BYTES]}
    assert replace(FOUR, rounds=11).digest[:JOB_BYTES] != FOUR.digest[:JOB_BYTES]


def test_the_refusal_says_which() -> None:
    code, detail = FOUR.refusal(PLAIN.digest)
    assert code == "terms"
    assert detail.endswith("expected unit example, epsilon 4.0")
    assert PLAIN.refusal(FOUR.digest) == ("terms", "the same job with other privacy terms: expected none")
    assert FOUR.refusal(replace(PLAIN, rounds=11).digest)[0] == "recipe"


@pytest.mark.parametrize(
    "changed", [{"epsilon": 5.0}, {"delta": 1e-6}, {"clip": 2.0}, {"rate": 0.2}, {"group": 2}, {"noise": 3.0}]
)
def test_every_term_counts(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"unit": "example", "epsilon": 4.0}
    assert terms_of(PrivacyConfig(**given)) != terms_of(PrivacyConfig(**{**given, **changed}))
    assert terms_of(PrivacyConfig()) == ()


def test_a_document_gives_its_terms_to_the_recipe() -> None:
    plain: dict[str, Any] = {
        "format": 1,
        "pace": {"rounds": 2, "evaluate": 0},
        "data": {"source": "digits"},
        "privacy": {"unit": "example", "noise": 2.0, "delta": 1e-4},
    }
    config = simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 4)
    private = assemble(config, "cpu").recipe
    open_ = assemble(replace(config, privacy=PrivacyConfig()), "cpu").recipe
    assert private.digest != open_.digest
    assert private.refusal(open_.digest)[0] == "terms"
