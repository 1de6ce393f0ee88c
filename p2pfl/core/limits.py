"""Every bound of the system in one place. Each has a test at the bound and one past it."""

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

HEADER_BYTES_MAX = 64 * KIB
"""A message's signed header. Read before anything is known about the sender."""

CHUNK_BYTES = MIB
"""Bodies are hashed and streamed in chunks of this size; a wrong chunk is refused when it is complete."""

BODY_BYTES_MAX = GIB
"""A message's raw body: 1,024 chunk digests of 32 bytes stay well inside the header's bound."""

INFLIGHT_BYTES_MAX = 2 * GIB
"""Bodies that a host reads or has in work at one time."""

PARAMS_MAX = 1 << 28
"""Values in one model vector (1 GiB of float32)."""

SECTIONS_MAX = 64
"""Parameter groups in one update."""

CONTROL_BYTES_MAX = 64 * KIB
"""A body-less message's reply, a refusal, a status answer."""

NODES_MAX = 16384
"""Nodes of one graph or network document, simulated ones too."""

PEERS_MAX = 4096
"""Members of a network that keeps a ledger."""

NEIGHBOURS_MAX = 256
"""Neighbours of one node: each costs a reference vector and an inbox slot."""

FEED_ENTRY_BYTES_MAX = 64 * KIB
"""One signed feed entry."""

RECEIPTS_PER_ENTRY_MAX = 512
"""Receipts batched into one feed entry; a window with more is written as several."""

ROUNDS_MAX = 1_000_000
"""Rounds of one run."""

WINDOWS_KEPT_MAX = 4096
"""Accounting windows whose shown updates a node keeps, to judge them again later."""

ROUNDS_AHEAD_MAX = 2
"""A neighbour's row is held for at most so many rounds before its turn."""

STATE_PARTS_MAX = 4096
"""Parts in which a newcomer fetches the model."""

STALENESS_MAX = 8
"""Rounds that a neighbour's row may be old and still be mixed in."""

SEND_ATTEMPTS_LOG2_MAX = 6
"""The back-off of repeats stops doubling here."""

RETRY_AFTER_S_MAX = 60.0
"""How long a neighbour that says BUSY is left alone, whatever it asks for."""

STRANGER_SLOTS_MAX = 64
"""Requests of strangers whose header is still being read, from one address."""

HEADER_SECONDS_MAX = 5.0
"""A request's header must be in by then."""

CHUNK_SECONDS_MAX = 10.0
"""Each chunk of an admitted body must be in by then."""

METRICS_BYTES_MAX = 64 * MIB
"""A run's metrics.jsonl: the next line begins a new file, and only one old file is kept."""

HTTP_REQUEST_BYTES = 230
"""Request line and headers of one exchange as the HTTP host sends them; counted as traffic, measured by a test."""

HTTP_REPLY_BYTES = 160
"""Status line and headers of one reply."""

PUBLIC_MAX = 1 << 16
"""Examples that nodes of unlike models answer about."""

PHASE_STEPS_MAX = 1 << 20
"""Local steps of one phase."""
