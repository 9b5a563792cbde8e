"""The command `osteomark`.

This table is the one place of the package that knows of leaderboards, which lie above it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import wraps
from pathlib import Path

from benchmark.cli import commands
from benchmark.cli import packs as pack_commands
from benchmark.cli.arguments import DEFAULT, Command, Commands, build_parser, call
from benchmark.cli.audit import audit
from benchmark.cli.commands import INTERRUPTED
from benchmark.cli.readers import readers
from benchmark.cli.stress import stress

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
    from benchmark.store import STRESS
    from leaderboards.build import read_leaderboards, write_leaderboards
    from leaderboards.publish import publish_predictions
    from leaderboards.robustness.page import write_stress
    from leaderboards.text.terminal import show

    commands.score(store=store, plugin=plugin)
    folder = out or store / "leaderboards"
    content = read_leaderboards(store)
    show(content, write_leaderboards(content, folder))
    if (store / STRESS).is_file():
        write_stress(store, folder)
    if predictions:
        publish_predictions(store, folder / "predictions")
    return 0


def site(*, store: Path = Path("runs"), out: Path = Path("site"), data_root: Path | None = None) -> int:
    """Write the leaderboards of a scored store as a static site that opens from its index.html.

    Args:
        store: Folder of the runs, gone over by `osteomark score`.
        out: Folder for the site.
        data_root: Folder with the datasets' folders: thumbnails of their films are shown. Without it only phantoms are.
    """
    from benchmark.thumbnails import Gallery
    from leaderboards.site.build import build_site

    commands.console.print(f"site: {build_site(store, out, Gallery(store, data_root))[0]}")
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


def _with_robustness(stress: Command) -> Command:
    """Let a stress test end with its tables and plots."""

    @wraps(stress)
    def command(*, store: Path, out: Path | None, **arguments: object) -> int:
        from leaderboards.robustness.page import show_stress, write_stress
        from leaderboards.robustness.scores import read_stress

        code = stress(store=store, out=out, **arguments)
        show_stress(read_stress(store))
        for path in write_stress(store, out or store / "leaderboards"):
            commands.console.print(f"  {path}", markup=False)
        return code

    return command


COMMANDS: Commands = {
    "run": _with_leaderboard(commands.run),
    "score": commands.score,
    "leaderboard": {DEFAULT: leaderboard, "submit": pack_commands.submit, "verify": pack_commands.verify},
    "stress": _with_robustness(stress),
    "site": site,
    "list": commands.list_,
    "describe": commands.describe,
    "data": {
        "check": commands.check,
        "audit": audit,
        "phantom": commands.phantom,
        "readers": readers,
        "new-card": commands.new_card,
    },
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
