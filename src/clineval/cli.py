"""The door: parses, calls, prints, chooses the exit code; nothing else prints or exits."""


def main() -> None:
    """Run the command line."""
