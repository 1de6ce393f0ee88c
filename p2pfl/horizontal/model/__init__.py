"""A node's own model and the heavy work on it: pure functions of tensors, and the calculations that run them."""
