"""`python -m splitbill AMOUNT PERSON…`"""

import sys

from splitbill.money import parse, show
from splitbill.split import evenly


def main(argv: list[str]) -> int:
    if len(argv) < 2:
        print("usage: python -m splitbill AMOUNT PERSON…", file=sys.stderr)
        return 2
    for person, cents in evenly(parse(argv[0]), argv[1:]).items():
        print(f"{person}: {show(cents)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
