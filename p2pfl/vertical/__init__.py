"""Vertical learning: parties with different columns of the same people. Never imports the horizontal job.

Each room imports only those before it: `align` (who is in all tables, without saying who is not), `data` (what a party
holds, metrics, noise, leaks), `split` (one net cut between parties), `turns` (jobs in which the label holder asks),
`hetero` (encrypted regression), `sealed` (level 1), `job` (from the first word to the last), `scoring` (prediction).

This package imports nothing here: its modules need the extra [vertical].
"""
