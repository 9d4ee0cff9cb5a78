"""Drill: what a loop does when the worst happens, tried out on a copy of everything."""
