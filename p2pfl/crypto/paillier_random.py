"""A stream of secret bytes out of one 32-byte key. Knows BLAKE3; no system entropy and no cipher.

A party that must do the same after a restart draws from a key derived for the step; others hand in `os.urandom`.
"""

from blake3 import blake3

_BLOCK = 1 << 16


class Stream:
    """Called with a number of bytes, returns the next ones of BLAKE3's output under `key`: as secret as the key."""

    def __init__(self, key: bytes) -> None:
        self._output = blake3(b"p2pfl/paillier-stream\0", key=key)
        self._read = 0
        self._left = b""

    def __call__(self, size: int) -> bytes:
        while len(self._left) < size:
            length = max(_BLOCK, size - len(self._left))
            self._left += self._output.digest(length=length, seek=self._read)
            self._read += length
        taken, self._left = self._left[:size], self._left[size:]
        return taken
