"""The command `osteomark`: the table of its commands, and what calls them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark.cli import catalogue, data, leaderboards, new
from benchmark.cli.arguments import DEFAULT, Commands, build_parser, call
from benchmark.cli.console import INTERRUPTED
from benchmark.cli.run import run
from benchmark.cli.stress import stress
from benchmark.cli.trained import predict, test

BAD_INPUT = 2

COMMANDS: Commands = {
    "run": run,
    "score": leaderboards.score,
    "leaderboard": {
        DEFAULT: leaderboards.leaderboard,
        "submit": leaderboards.submit,
        "verify": leaderboards.verify,
    },
    "stress": stress,
    "predict": predict,
    "test": test,
    "site": leaderboards.site,
    "list": catalogue.list_,
    "describe": catalogue.describe,
    "data": {
        "check": data.check,
        "preview": data.preview,
        "audit": data.audit,
        "phantom": data.phantom,
        "readers": data.readers,
        "new-card": data.new_card,
    },
    "new": {"method": new.new_method},
    "check-method": new.check_method,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a cell failed, 2 bad input."""
    parser = build_parser(COMMANDS, prog="osteomark", description="Train and compare landmark methods on X-rays.")
    given = parser.parse_args(arguments)
    try:
        return call(given)
    except (ValueError, OSError) as error:
        if given.debug:
            raise
        print(f"osteomark: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
