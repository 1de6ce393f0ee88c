"""The record of who did what: each node's own hash-chained, signed feed, its store, and the second opinion on both.

Knows entries and where they lie; knows no gossip, no model and no network. Pure except `store` and `reader`.
"""
