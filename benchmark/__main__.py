"""`python -m benchmark` is the command `osteomark`."""

import sys

from benchmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
