"""The interactive terminal: a scrollback that is written once, and a small live region below it."""
