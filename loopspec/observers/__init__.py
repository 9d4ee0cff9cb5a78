"""Observers loopspec ships. They watch a session and change nothing."""
