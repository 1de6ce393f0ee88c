"""Who is in the network: records, failure detection (SWIM), admission, and the graph that follows from who is alive."""
