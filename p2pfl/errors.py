"""Every error of p2pfl on one screen. Knows no room.

Strategy: what a person gave us wrong is a `ConfigError` (the command line prints its one line and exits with 2).
What a peer gave us wrong is a `RemoteError`, either `Reject` (the peer is at fault; counted) or `Ignore` (harmless:
late, duplicate); neither leaves a Party's `handle`. What our own disk holds wrong is a `LedgerError`. Anything else
that remote bytes can raise is a bug.
"""


class P2PFLError(Exception):
    """The root of all errors raised on purpose."""


class ConfigError(P2PFLError):
    """A file, flag or value given by the user: says what was expected and what came."""


class TrainingError(P2PFLError):
    """Local training cannot go on (loss or parameters not finite); says where and what to try."""


class RemoteError(P2PFLError):
    """Bytes from the network that lead nowhere. `code` is the machine-readable reason sent back."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Reject(RemoteError):
    """The peer is at fault: malformed, badly signed, of another recipe, out of bounds."""


class Ignore(RemoteError):
    """Nobody is at fault: late, duplicate, already applied."""


class LedgerError(P2PFLError):
    """The stored feed or ledger is not what it must be."""


class BrokenChain(LedgerError):
    """An entry's hash, signature, position or predecessor does not check; names the entry."""


class ForkFound(LedgerError):
    """A second entry was about to be, or has been, signed at one position."""


class HostError(P2PFLError):
    """The world around a Party failed: port in use, disk full."""
