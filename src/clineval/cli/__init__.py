"""The command line, by what its commands are about: each parses, calls its step, and prints the outcome."""
