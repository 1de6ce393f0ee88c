"""Many settings of one network, run and reported: the grid, its cells, their files, tables and the report."""
