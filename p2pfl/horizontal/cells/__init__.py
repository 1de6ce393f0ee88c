"""Secure cells: exchange where only the sum of a drawn group is ever seen."""
