"""The spec reader: a YAML document becomes a frozen machine, or a list of diagnostics."""
