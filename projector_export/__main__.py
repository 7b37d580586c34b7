"""python -m projector_export"""

from projector_export.cli import main

if __name__ == "__main__":
    main()
