import re
from collections.abc import Sequence

import pytest

from benchmark.cli.arguments import DEFAULT, build_parser, call, parse_arguments

seen: list[object] = []


def board(*, store: str = "runs", deep: bool = False) -> int:
    """Show the board.

    Args:
        store: Where.
        deep: All of it.
    """
    seen.append(("board", store, deep))
    return 0


def submit(folder: str, *, store: str = "none") -> int:
    """Pack a folder.

    Args:
        folder: Which.
        store: Another one.
    """
    seen.append(("submit", folder, store))
    return 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("board", ("board", "runs", False)),
        ("board --store here --deep", ("board", "here", True)),
        ("board submit there", ("submit", "there", "none")),
        ("board submit there --store x", ("submit", "there", "x")),
    ],
)
def test_a_group_may_be_a_command_itself(line: str, expected: tuple) -> None:
    parser = build_parser({"board": {DEFAULT: board, "submit": submit}}, prog="p")
    assert call(parser.parse_args(line.split())) == 0
    assert seen.pop() == expected


def test_a_group_without_a_default_asks_for_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser({"board": {"submit": submit}}, prog="p")
    with pytest.raises(SystemExit):
        parser.parse_args(["board"])
    assert "COMMAND" in capsys.readouterr().err


def test_the_help_of_a_group_names_its_default_and_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser({"board": {DEFAULT: board, "submit": submit}}, prog="p")
    for line, words in (("--help", ("Show the board.", "submit")), ("board --help", ("--store", "Pack a folder."))):
        with pytest.raises(SystemExit):
            parser.parse_args(line.split())
        printed = capsys.readouterr().out
        assert all(word in printed for word in words)


def run(*, matrix: str = "", set_: Sequence[str] = (), epochs: int = 0) -> int:
    """Run a matrix.

    Args:
        matrix: Which.
        set_: Values.
        epochs: How many.
    """
    seen.append((matrix, list(set_), epochs))
    return 0


@pytest.mark.parametrize(
    "line", ["run --set a.b=1 c.d=2", "run --set a.b=1 --set c.d=2", "run --set=a.b=1 --set=c.d=2"]
)
def test_an_option_with_several_values_may_be_repeated(line: str) -> None:
    parser = build_parser({"run": run}, prog="p")
    for _ in range(2):  # a second line of the same process starts from nothing
        assert call(parse_arguments(parser, line.split(), {})) == 0
        assert seen[-1] == ("", ["a.b=1", "c.d=2"], 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --lr 0.01", "there is no option --lr; write --set X.lr=VALUE"),
        ("run --epoch-s 3", "there is no option --epoch-s; did you mean --epochs?"),
        ("run quick", "'quick' is one word too many"),
        ("board --lr=0.01", "there is no option --lr; --help lists"),
    ],
)
def test_a_word_that_a_command_does_not_take_is_named_with_the_cure(line: str, message: str) -> None:
    parser = build_parser({"run": run, "board": board}, prog="p")
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_arguments(parser, line.split(), {run: "write --set X.{name}=VALUE"})
