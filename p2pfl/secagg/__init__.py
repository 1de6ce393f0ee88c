"""Secure sums in cells: members learn the sum of their vectors and nothing else of each other. Knows bytes and integers
mod 2^32; no model, message transport, clock or graph.

Bonawitz et al. 2017 among equals: a rotating chair relays signed, sealed control statements; every member sums one
slice of the masked vectors, so nobody is an aggregator. Theory of operation:
member.py; what it hides: docs/secure_cells.md.
"""
