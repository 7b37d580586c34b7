"""Make `python -m projector_export` the command line."""

from projector_export.cli import main

if __name__ == "__main__":
    main()
