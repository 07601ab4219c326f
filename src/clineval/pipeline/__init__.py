"""The main job and its sister commands, each a short list of steps that call the other packages."""
