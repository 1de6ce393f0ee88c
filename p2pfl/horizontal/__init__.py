"""Horizontal learning: the gossip job. The only place where mixing, compression and training meet."""
