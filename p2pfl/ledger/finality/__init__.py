"""One node's part in finality and in the spreading of feeds. Knows votes, blocks and timers; no network, no disk."""
