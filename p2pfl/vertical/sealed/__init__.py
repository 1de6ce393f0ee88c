"""Level 1: the layer where the parties' data meet, computed on ciphertexts."""
