"""Views: what a person is shown of a session. Pure functions over machine, snapshot and entries."""
