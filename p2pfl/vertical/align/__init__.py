"""Who is in all tables, without saying who is not: points that only all parties together can compare."""
