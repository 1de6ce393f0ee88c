"""Graphs from files, networkx objects and tables, and back into a file."""
