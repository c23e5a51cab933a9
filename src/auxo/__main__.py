"""Run the command line as ``python -m auxo``."""

from auxo.cli import main

if __name__ == "__main__":
    main()
