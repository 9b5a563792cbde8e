"""Where commands print."""

import json
import sys
from typing import Final

from rich.console import Console

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""

console = Console(highlight=False, soft_wrap=True)


def print_json(content: object) -> int:
    """Print an object as JSON and return the exit code of success."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")
    return 0
