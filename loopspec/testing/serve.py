"""`python -m loopspec.testing.serve FILE`: a model server with the replies of a recording or a script."""

import contextlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from loopspec.errors import Exit, LoopspecError
from loopspec.spec.source import load_plain
from loopspec.testing.server import ModelServer


def main(argv: Sequence[str]) -> int:
    """Serve until interrupted; the address is the one line on stdout. Gives back the exit code."""
    if len(argv) != 1:
        print("usage: python -m loopspec.testing.serve FILE", file=sys.stderr)
        return Exit.USAGE
    path = Path(argv[0])
    try:
        data = load_plain(path)
        recording = isinstance(data, dict) and "interactions" in data
        server = ModelServer.recorded(path) if recording else ModelServer.scripted(path)
    except LoopspecError as err:
        print(f"loopspec: {err}", file=sys.stderr)
        return int(err.exit)
    except OSError as err:
        print(f"loopspec: {path}: {err.strerror or err}", file=sys.stderr)
        return Exit.USAGE
    with server, contextlib.suppress(KeyboardInterrupt):
        print(server.base, flush=True)
        threading.Event().wait()
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
