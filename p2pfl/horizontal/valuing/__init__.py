"""What a node does to have work valued: commit, show, judge and reveal."""
