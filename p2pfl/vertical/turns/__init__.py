"""Jobs in which the label holder asks and all others answer: what they share, whatever is computed."""
