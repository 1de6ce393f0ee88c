"""What is done to a local update before it becomes part of the model. Knows vectors; knows no data and no neighbour."""

from p2pfl.privacy.gaussian import ClipAndNoise

__all__ = ["ClipAndNoise"]
