"""Conformance checks for parts of your own: does a codec, mixer, learner, rule or graph keep what others rely on?

    from p2pfl.testing import check_codec
    check_codec(MyCodec(levels=4))          # nothing, or an AssertionError with one sentence that says what is wrong

Plain functions, for any test runner or none. All built-ins pass them (tests/testing). They try many cases, and prove
nothing; how well a part learns is not theirs to say. docs/your_own_parts.md has an example of each.
"""

from p2pfl.ledger.check.laws import check_rule
from p2pfl.testing.codec import check_codec
from p2pfl.testing.learner import check_learner
from p2pfl.testing.mixer import check_mixer
from p2pfl.testing.topology import check_topology

__all__ = ["check_codec", "check_learner", "check_mixer", "check_rule", "check_topology"]
