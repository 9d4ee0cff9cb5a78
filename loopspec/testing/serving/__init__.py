"""A model server for tests: three protocols on loopback, recorded or scripted, with faults on command."""
