"""A whole vertical job: what all agree on, then the alignment, then the training."""
