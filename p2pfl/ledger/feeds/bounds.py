"""Every bound of finality and of feed sync. Each has a test at the bound and one past it."""

from p2pfl.core.limits import KIB, MIB, PEERS_MAX

VALIDATORS_MAX = 128
"""Votes go from all to all."""

AUTHORITIES_MAX = 64
"""Keys that a genesis names as authorities."""

CUT_FEEDS_MAX = PEERS_MAX
"""Feeds that one block advances."""

BLOCK_ENTRIES_MAX = 4096
"""Entries that one block makes final; more wait for the next."""

BLOCK_FAULTS_MAX = 8
"""Proofs in one block: each is two feed entries at most."""

BLOCK_BYTES_MAX = 2 * MIB
"""Cut of all feeds, and all proofs."""

CERTIFICATE_BYTES_MAX = 64 * VALIDATORS_MAX + KIB

VIEWS_AHEAD_MAX = 64
"""Votes and proposals for later views are kept; what is farther ahead comes with a certificate when it matters."""

GAPS_MAX = 16
"""Nullifications asked for, and sent, at a time."""

BLOCKS_WANTED_MAX = 8
"""Blocks asked for by hash at a time."""

ANCESTORS_MAX = 8
"""Ancestors sent along with a block that was asked for."""

FINALS_MAX = 32
"""Final blocks in one message."""

FINALS_KEPT = 256
"""Final blocks kept in memory; older ones are read from the store."""

DECIDED_MAX = 128
"""Blocks whose certificate is here and whose entries are not."""

FAULTS_KEPT_MAX = 256
"""Proofs that wait for a block."""

MESSAGE_BYTES_MAX = 8 * MIB
"""One message of finality or of sync."""

CLOCK_AHEAD_MS = 60_000
"""A header's time may be so far ahead of one's own clock."""

HEADS_MAX = PEERS_MAX
"""Feeds in one state vector."""

RANGES_MAX = 256
"""Ranges of entries asked for in one message."""

ENTRIES_SENT_MAX = 512
"""Entries in one message."""

ENTRIES_SENT_BYTES_MAX = 4 * MIB

PARKED_MAX = 1024
"""Entries whose predecessor is not here yet."""

BRANCH_MAX = 4096
"""Entries kept of branches that are not the first seen, over all feeds."""

FORKS_SENT_MAX = 16
"""Proofs of forks in one message."""

RULE_PROPOSALS_MAX = 16
"""Proposals of rules that are open at a time; one of each validator."""

TASKS_OPEN_MAX = 64
TASKS_OF_ONE_MAX = 4
"""Tasks that are not paid yet: of all, and of one publisher."""

BIDS_MAX = 256
"""Bids for one task."""

RELEASES_OPEN_MAX = 8
"""Parts of one node's stake that wait to be free."""

RELEASE_WINDOWS = 8
"""Accounting windows for which what leaves a stake can still be burned."""
