"""SIM: the parts of the simulated driver: disk, people, world, process, judge."""
