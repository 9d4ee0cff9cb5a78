"""RULES: who may do what, and which texts may leave."""
