"""HANDS: the built-in tools, and what keeps a tool inside its time, size and directory."""
