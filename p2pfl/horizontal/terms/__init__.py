"""What a gossip job is about, as values: recipe, place in the graph, counters, averages. No tensor, no message."""
