"""Exits: what a run's rest means as an exit code, and in words (see `loopspec.drivers.outcome`)."""

from loopspec.drivers.outcome import exit_of as exit_of
from loopspec.drivers.outcome import words_of as words_of
