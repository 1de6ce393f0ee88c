"""Regression over split columns under encryption, with or without a party that only holds keys."""
