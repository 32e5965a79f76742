"""``python -m pairscope`` is the command line."""

from pairscope.cli import main

if __name__ == "__main__":
    main()
