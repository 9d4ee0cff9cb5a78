"""RULES: the journal's entries, their chain, and what folding them gives."""
