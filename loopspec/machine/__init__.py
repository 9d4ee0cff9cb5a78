"""RULES: the pure floor. No clock, no dice, no disk, no network, no async."""
