"""Pairwise exchange over edges, for rules that mix two models at a time."""
