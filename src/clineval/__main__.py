"""``python -m clineval`` is the command ``clineval``."""

from clineval.cli.main import main

main()
