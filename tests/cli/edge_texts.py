"""What the edge agent reads in its test, and how often."""

LONG = "".join(
    f"line {n}: the pump at station {n % 7} reports {n * 37 % 991} units\n" for n in range(4000)
)
ROUNDS = 24
