"""What a height makes final, as values: votes, blocks, cuts, proofs of faults, the log. Pure; takes no part."""
