"""What exchanges share while they wait: the desk, patience with a neighbour, outboxes, what became late."""
