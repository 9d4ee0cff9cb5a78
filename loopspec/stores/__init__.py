"""HANDS: where journals live."""
