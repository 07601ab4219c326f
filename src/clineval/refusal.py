"""The one exception by which a room refuses what it was given."""


class Refusal(ValueError):
    """Bad or missing input: says what was needed, what came, and what to do.

    Every room may raise it; the door turns it into one line and exit code 3. Its message is
    written for the person who typed the command, so it names the file, row or option.
    """
