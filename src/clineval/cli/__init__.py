"""The commands of the door, by what they are about: each parses, calls its step, and says what came of it."""
