"""Who sums with whom, drawn by all together: a value that no member can foresee or choose. Knows salts and commitments;
no message, clock or graph.

Theory of operation
-------------------
Rounds are cut into windows. Everybody draws a secret salt s_w for each window w and says, in statement number k,

    S_k = (s_{k-1}, commitment to s_k)

When S_w is closed at a member (everybody's is here, or the patience is over), it says S_{w+1}, which opens s_w: so a
salt is opened only after everybody's commitment to it is fixed. When S_{w+1} is closed,

    value_w = BLAKE3(context, w, every member and salt that fits its commitment, in ascending order of the members)

| closed      | known then        | said then                             |
|-------------|-------------------|---------------------------------------|
| S_0         |                   | S_1                                   |
| S_{w+1}     | value of window w | S_{w+2}: opens the salts of window w+1 |

Laws: one salt that is honest makes the value uniform to whoever has committed without knowing it. Who commits and does
not open is left out of the window's cells and named: the one bit of choice that withholding is costs the liar its seat.
The value is a function of the closed statements alone.

Source: Blum 1981 (coin flipping by commitment); windows of commitments and openings as in RANDAO. Differs from both in:
who withholds takes no part, instead of a fine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.secagg.partition import Ground

SALT_BYTES = 32
NUMBERS_AHEAD_MAX = 4
"""Statements of others are kept so many numbers past the one that is open here."""


@dataclass(frozen=True, slots=True)
class Salted:
    """S_k of one member. salt: of window k - 1; empty in what opens nothing. head: signed, as others may quote it."""

    author: NodeId
    number: int
    salt: bytes
    commitment: bytes
    head: bytes = b""

    def says(self, other: "Salted") -> bool:
        """Whether both say the same."""
        return (self.salt, self.commitment) == (other.salt, other.commitment)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One window's value. members: whose salts are in it, ascending. withheld: who committed and did not open."""

    value: Key
    members: tuple[NodeId, ...]
    withheld: tuple[NodeId, ...]


def salt_of(secret: Key, window: int) -> bytes:
    """A member's salt of one window, from what only it knows."""
    return derive(secret, "salt", window)


def commitment(context: bytes, author: NodeId, window: int, salt: bytes) -> bytes:
    """32 bytes that fix a salt and hide it."""
    text = b"".join([context, author, window.to_bytes(8, "big"), salt])
    return blake3(text, derive_key_context="p2pfl secagg beacon commitment v1").digest()


def value_of(context: bytes, window: int, salts: Mapping[NodeId, bytes]) -> Key:
    """The window's value. Law: it does not depend on the order in which salts came."""
    text = b"".join(
        [context, window.to_bytes(8, "big"), *(part for who in sorted(salts) for part in (who, salts[who]))]
    )
    return Key(blake3(text, derive_key_context="p2pfl secagg beacon value v1").digest())


def honest_value(context: bytes, window: int, secrets: Mapping[NodeId, Key]) -> Key:
    """What comes of it where everybody opens: for engines that exchange no messages."""
    return value_of(context, window, {who: salt_of(secret, window) for who, secret in secrets.items()})


def secret_of(entropy: bytes) -> Key:
    """What a member's salts are drawn from: of its first start; it is kept (horizontal/cells_beacon.py)."""
    return derive(entropy, "beacon")


def context_of(recipe: bytes, ground: Ground) -> bytes | None:
    """What values are bound to; None where there is one cell whatever is drawn, and nothing to draw."""
    return None if ground.fixed else blake3(recipe, derive_key_context="p2pfl secagg beacon v1").digest()


class Book:
    """One member's view: statements that came in time, and the values that follow."""

    def __init__(self, context: bytes, me: NodeId, members: Iterable[NodeId], secret: Key) -> None:
        self.context, self.me, self.members, self.secret = context, me, frozenset(members), secret
        self.open = 0
        """The number that is closed next."""
        self.absent: dict[NodeId, int] = {}
        """Numbers in a row that others' statements were not there when they were closed."""
        self._said: dict[int, dict[NodeId, Salted]] = {}
        self._drawn: dict[int, Drawn] = {}

    def begin(self, window: int) -> Salted:
        """Take part from this window on, what was before forgotten; -> what to say."""
        self.open = window
        self._said = {number: said for number, said in self._said.items() if number >= window}
        self._drawn = {}
        return self._say(window)

    def note(self, said: Salted) -> Salted | None:
        """Somebody's statement, signature checked. -> the one that is known of this author and number, which may say
        something else: then both are a proof. None: it is late, too early, or not a member's, and was not kept."""
        if said.author not in self.members or not self.open <= said.number <= self.open + NUMBERS_AHEAD_MAX:
            return None
        return self._said.setdefault(said.number, {}).setdefault(said.author, said)

    def knows(self, author: NodeId, number: int) -> bool:
        return author in self._said.get(number, {})

    def missing(self) -> frozenset[NodeId]:
        """Whose statement of the open number is not here."""
        return self.members - self._said.get(self.open, {}).keys()

    def close(self) -> Salted:
        """The open number is closed as it stands; -> what to say next."""
        number = self.open
        heard = self._said.get(number, {})
        for member in self.members:
            self.absent[member] = 0 if member in heard else self.absent.get(member, 0) + 1
        before = self._said.get(number - 1)
        if before is not None:
            self._drawn[number - 1] = self._draw(number - 1, before, heard)
        for old in [old for old in self._said if old < number - 1]:
            del self._said[old]
        for old in [old for old in self._drawn if old < number - 2]:
            del self._drawn[old]
        self.open = number + 1
        return self._say(number + 1)

    def drawn(self, window: int) -> Drawn | None:
        """The value of a window, if it is known; those long past are not kept."""
        return self._drawn.get(window)

    def kept(self) -> Sequence[Salted]:
        """Everything a member that comes late needs, in order."""
        return [said for number in sorted(self._said) for _, said in sorted(self._said[number].items())]

    def _draw(self, window: int, committed: Mapping[NodeId, Salted], opened: Mapping[NodeId, Salted]) -> Drawn:
        salts = {
            who: opened[who].salt
            for who, said in committed.items()
            if who in opened and commitment(self.context, who, window, opened[who].salt) == said.commitment
        }
        withheld = tuple(sorted(committed.keys() - salts.keys()))
        return Drawn(value_of(self.context, window, salts), tuple(sorted(salts)), withheld)

    def _say(self, number: int) -> Salted:
        fixed = commitment(self.context, self.me, number, salt_of(self.secret, number))
        mine = Salted(self.me, number, salt_of(self.secret, number - 1) if number else b"", fixed)
        return self._said.setdefault(number, {}).setdefault(self.me, mine)
