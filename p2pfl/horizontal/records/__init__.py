"""What a gossip node writes down and comes back from: edges, windows, budget, the journal."""
