"""`python -m everline`."""

from everline.cli import main

main()
