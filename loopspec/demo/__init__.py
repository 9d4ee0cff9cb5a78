"""The demonstration: a small repository with a failing test suite, and a script to repair it."""
