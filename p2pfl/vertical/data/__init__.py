"""What a party holds and what becomes of it: ids, tables, metrics, noise at the cut, what leaks. Knows no party."""
