"""The command `osteomark`.

This table is the one place of the package that knows of leaderboards, which lie above it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import wraps
from pathlib import Path

from benchmark import commands
from benchmark.arguments import Command, Commands, build_parser, call
from benchmark.commands import INTERRUPTED

BAD_INPUT = 2


def leaderboard(
    *,
    store: Path = Path("runs"),
    out: Path | None = None,
    plugin: list[Path] = [],  # noqa: B006  # never changed
    predictions: bool = False,
) -> int:
    """Score the finished runs, write their leaderboards and show them.

    Args:
        store: Folder of the runs.
        out: Folder for the leaderboards; `leaderboards` in the store if not given.
        plugin: Python files with methods of your own.
        predictions: Write the predicted points beside the tables, too, without the films' labels.
    """
    from leaderboards.build import build, show
    from leaderboards.predictions import publish_predictions

    commands.score(store=store, plugin=plugin)
    folder = out or store / "leaderboards"
    show(build(store, folder))
    if predictions:
        publish_predictions(store, folder / "predictions")
    return 0


def _with_leaderboard(run: Command) -> Command:
    """Let a run end with the leaderboards of all that is finished."""

    @wraps(run)
    def command(*, store: Path, plugin: list[Path], **arguments: object) -> int:
        code = run(store=store, plugin=plugin, **arguments)
        if code != INTERRUPTED:
            leaderboard(store=store, plugin=plugin)
        return code

    return command


COMMANDS: Commands = {
    "run": _with_leaderboard(commands.run),
    "score": commands.score,
    "leaderboard": leaderboard,
    "list": commands.list_,
    "describe": commands.describe,
    "data": {"check": commands.check, "phantom": commands.phantom, "new-card": commands.new_card},
    "new": {"method": commands.new_method},
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


if __name__ == "__main__":
    sys.exit(main())
