"""DOORS: the command line. It shows and asks; it decides nothing."""
