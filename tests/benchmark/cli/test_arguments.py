import pytest

from benchmark.cli.arguments import DEFAULT, build_parser, call

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
