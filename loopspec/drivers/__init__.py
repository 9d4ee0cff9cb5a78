"""HANDS: the loop around the core. Drivers stamp, step, write, then act."""
