"""Model cards (Mitchell et al., FAT* 2019) of the methods of a set of boards, as Markdown, one per variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from leaderboards.boards.badges import board_caveats
from leaderboards.boards.board import Board, Row
from leaderboards.boards.numbers import count, duration, interval, number
from leaderboards.pages.scores import OVER_FLOOR, RANK, TIED, start_text
from leaderboards.text.markdown import markdown_table

CARDS: Final = "model-cards"
"""Folder of the cards."""
_USE: Final = (
    "Comparison of methods on the datasets named below. It is no medical device: no number here was measured on films "
    "of another hospital, and none is fit for diagnosis."
)
_WEIGHTS: Final = (
    "No weights are published. The settings below and the commit train the row again; "
    "`osteomark describe {variant}` prints all of its hyper-parameters."
)


def model_cards(boards: Sequence[Board], facts: Mapping[str, Any]) -> dict[str, str]:
    """Write a card for every variant that a board ranks.

    Args:
        boards: All boards.
        facts: `methods` of `facts.json`.

    Returns:
        File name to Markdown.
    """
    variants = sorted({row.variant for board in boards for row in board.ranked})
    return {f"{CARDS}/{variant}.md": _card(variant, boards, facts.get(variant, {})) for variant in variants}


def _card(variant: str, boards: Sequence[Board], known: Mapping[str, Any]) -> str:
    paper = known.get("paper", {})
    found = [(board, row) for board in boards for row in board.ranked if row.variant == variant]
    cited = ", ".join(str(paper[part]) for part in ("title", "authors", "year") if paper.get(part))
    parts = [
        f"# {variant}",
        f"Method `{known.get('method', variant)}` after: {cited or 'no paper'}. {paper.get('url', '')}".strip(),
        f"**Intended use.** {_USE}",
        f"**Weights.** {_WEIGHTS.format(variant=variant)}",
        *_differences(paper.get("differs", ())),
        "## Results",
        _results(found),
        "## Training",
        "\n\n".join(_training(found)),
        "## Limits",
        "\n".join(f"- {text}" for text in _limits(found)),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(texts: Sequence[str]) -> list[str]:
    return (
        [
            "**Differs from the paper** (today; each row was trained at the commit named below).",
            "\n".join(f"- {text}" for text in texts),
        ]
        if texts
        else []
    )


def _results(found: Sequence[tuple[Board, Row]]) -> str:
    lines = []
    for board, row in found:
        column = board.columns[0]
        score = row.score(column.name)
        text = f"{number(score.value, column.unit)} {interval(score.low, score.high, column.unit)}".strip()
        outcome = {True: "yes", False: "not shown", None: "-"}[board.beats_floor(row)]
        rank = f"{board.rank_text(row)} of {len(board.ranked)}"
        lines.append((board.name, column.heading, text, rank, board.tied_text(row), outcome, str(row.cases)))
    heads = ("Board", "Score", "Value [95 % interval]", RANK.title, TIED, OVER_FLOOR, "Films")
    return markdown_table(heads, lines)


def _training(found: Sequence[tuple[Board, Row]]) -> Iterator[str]:
    pages: dict[str, Row] = {}
    for board, row in found:
        pages.setdefault(f"{board.dataset}, protocol {board.protocol}", row)
    for place, row in pages.items():
        cost = row.cost
        entries = (
            f"budget {row.budget}",
            start_text(cost),
            f"input {cost.input_size}" if cost.input_size else "",
            f"{count(row.parameters)} parameters" if row.parameters else "",
            f"{duration(cost.train_seconds)} on {', '.join(cost.devices)}" if cost.train_seconds is not None else "",
            f"seeds {', '.join(row.seeds)}",
            f"set differently: {', '.join(row.settings)}" if row.settings else "",
            f"commit {cost.commit[:12]}" if cost.commit else "",
        )
        yield f"**{place}.** {'; '.join(filter(None, entries))}."


def _limits(found: Sequence[tuple[Board, Row]]) -> list[str]:
    """Say what the boards and the rows themselves warn of."""
    said = [f"{board.name}: {caveat}." for board, _ in found for caveat in board_caveats(board)]
    said += [f"{board.name}: {badge}." for board, row in found for badge in row.badges]
    seeds = {len(row.seeds) for _, row in found}
    said += ["One training each: intervals do not hold the spread between trainings."] if seeds == {1} else []
    return [*dict.fromkeys(said), "Trained and tested on films of one source; other machines and ages were not tried."]
