"""Bounds of an alignment, each with a test at the bound and one past it. Knows numbers only."""

ALIGN_PARTIES_MAX = 5
"""In a ring every party raises every set, so work grows with the number of parties."""

ALIGN_IDS_MAX = 50_000_000
"""Ids of one party, padding included: the label holder keeps 16 bytes for every id of every party."""

ALIGN_ID_BYTES_MAX = 1024
"""One id in its normal form."""

ALIGN_CHUNK_POINTS = 8192
"""Points of one message (256 KiB), raised in about a quarter of a second."""

ALIGN_CHUNK_ROWS = 65_536
"""Row positions of one message (256 KiB)."""

ALIGN_WINDOW = 4
"""Chunks under way between two parties on one route before the first of them must be acknowledged."""

ALIGN_MESSAGE_BYTES_MAX = ALIGN_CHUNK_POINTS * 32 + 1024
"""One packed message."""
