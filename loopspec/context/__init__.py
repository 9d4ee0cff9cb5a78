"""RULES: what the model sees, as a view over the journal."""
