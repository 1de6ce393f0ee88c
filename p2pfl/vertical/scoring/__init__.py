"""Prediction over the parts that were trained: the label holder asks for rows, the others embed them."""
