"""What one author says: signed entries, the chain they form, and how they lie in a store. Knows no block."""
