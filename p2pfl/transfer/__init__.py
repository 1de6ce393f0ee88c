"""Learning from each other where nodes differ. Knows models and data; knows no message, neighbour or round."""
