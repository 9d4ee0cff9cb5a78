"""loopspec: an AI agent's loop as a YAML document, interpreted, durable and replayable."""

from loopspec.version import __version__ as __version__
