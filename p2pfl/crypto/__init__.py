"""Cryptography for learning together: encrypted numbers, sets that meet unseen. Knows no party, message or file.

Where to look: `curve` (ids onto Curve25519, points to secret powers), `psi` (who is in all sets, from blinded points),
`paillier` (encrypted sums).

This package imports nothing here: its modules need the extra [vertical].
"""
