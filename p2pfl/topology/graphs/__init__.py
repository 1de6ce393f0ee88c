"""What a graph is: edges and weights, their colouring and schedule, digest, parameters; and numbered nodes."""
