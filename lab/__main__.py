"""`python -m lab` is `glasshouse`."""

from lab.cli import main

main()
