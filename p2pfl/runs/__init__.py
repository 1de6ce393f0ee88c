"""Runs from start to result: the run folder, one node over HTTP, a network in the simulator, the baselines."""
