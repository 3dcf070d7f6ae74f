"""`python -m trackkit` is the same as the console script."""

from trackkit.cli import main

if __name__ == "__main__":
    main()
