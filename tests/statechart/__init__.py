"""Tests of what a statechart means: cases, an interpreter of its own, and random charts."""
