"""Command entry: `distserver` and `python -m distserver`."""

from distserver.cli import main

if __name__ == "__main__":
    main()
