"""From the two documents to running parts. Follows names, and only local ones; `network` uses the other files."""
