"""What a graph costs and how fast it averages, as numbers and pictures."""
