"""What people look at: pages about a network, from what nodes tell and write down. Reads, never writes."""
