"""`python -m audiomamba` is the command line."""

from audiomamba.cli import main

main()
