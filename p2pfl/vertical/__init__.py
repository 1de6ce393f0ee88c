"""Vertical learning: parties with different columns of the same people. Never imports the horizontal job.

Where to look: `alignment` (who is in all tables, without saying who is not), `table`, `columns` (what a party holds),
`linear` (encrypted regression), `split` (bottom nets and a top net), `job` (all of it as one job of a peer), `leaks`
(what the training gave away).

This package imports nothing here: its modules need the extra [vertical].
"""
