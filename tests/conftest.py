"""Shared by all tests: pytest puts this directory on the path, so `machine.builders` is found."""
