"""Checks of a compiled machine beyond the parser: lint, exploration, properties."""
