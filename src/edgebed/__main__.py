"""`python -m edgebed`: the command line."""

from edgebed.cli import main

if __name__ == "__main__":
    main()
