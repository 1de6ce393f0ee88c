"""Which edges to lay over the lines that there are: delays, cycle times, candidates, and the one to take."""
