"""The version of loopspec."""

__version__ = "0.1.0"
