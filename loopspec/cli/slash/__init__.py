"""The `/` commands and `@file` mentions of the terminal: what a typed line asks for."""
