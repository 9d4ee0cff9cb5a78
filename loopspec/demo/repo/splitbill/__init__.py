"""Split a shared bill without losing a cent."""
