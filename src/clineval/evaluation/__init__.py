"""A table's statistics side by side: Evaluation, to and from JSON."""
