"""Where rows lie: in one SQLite file, in memory, read from outside. Knows keys and values; knows no meaning."""
