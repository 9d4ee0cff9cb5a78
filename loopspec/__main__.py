"""`python -m loopspec`."""

from loopspec.cli.main import main

main()
