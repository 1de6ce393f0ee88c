"""p2pfl: many machines train one model together, with nobody in the middle."""

__version__ = "0.1.0"
