"""The command `osteomark`: the table of its commands, and what calls them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark.cli import cache, catalogue, data, leaderboards, new, wandb
from benchmark.cli.arguments import DEFAULT, Commands, build_parser, call, parse_arguments
from benchmark.cli.console import INTERRUPTED
from benchmark.cli.profile import profile
from benchmark.cli.run import run
from benchmark.cli.status import logs, status
from benchmark.cli.stress import stress
from benchmark.cli.trained import export, predict, test

BAD_INPUT = 2
ADVICE = {run: "a hyper-parameter is set by --set METHOD.{name}=VALUE, or --set '*.{name}=VALUE' for all that have it."}
"""What to say of an option that a command lacks."""

COMMANDS: Commands = {
    "run": run,
    "status": status,
    "logs": logs,
    "score": leaderboards.score,
    "leaderboard": {
        DEFAULT: leaderboards.leaderboard,
        "submit": leaderboards.submit,
        "verify": leaderboards.verify,
    },
    "stress": stress,
    "predict": predict,
    "test": test,
    "export": export,
    "profile": profile,
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
    "cache": {DEFAULT: cache.show, "clear": cache.clear},
    "wandb": {"push": wandb.push},
    "new": {"method": new.new_method},
    "check-method": new.check_method,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a cell failed, 2 bad input."""
    parser = build_parser(COMMANDS, prog="osteomark", description="Train and compare landmark methods on X-rays.")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return call(parse_arguments(parser, words, ADVICE))
    except (ValueError, OSError) as error:
        if "--debug" in words:
            raise
        print(f"osteomark: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
