"""One machine's Party: its identity, its feed, its door. Runs jobs without knowing what they learn."""
