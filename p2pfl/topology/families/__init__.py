"""Graphs by name and size, those that stay as they are and those that change from round to round."""
