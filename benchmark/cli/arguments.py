"""A command line from functions: the signature gives the arguments, the docstring their help.

Parameters before `*` are positional, the others are options: `data_root: Path` is `--data-root PATH`, a `bool` is a
flag, a `Sequence` takes several values and may be repeated, a `Literal` is a choice; `set_` is `--set`. A group of
commands may be a command itself: the function whose name is `DEFAULT` is called where no further word is given.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from docstring_parser import parse

Command = Callable[..., int]
Commands = Mapping[str, "Command | Commands"]
DEFAULT = ""
"""Name of the command that a group is without a further word."""
NEAR = 0.75
"""How alike an option must be to be proposed."""


def build_parser(commands: Commands, **options: Any) -> argparse.ArgumentParser:  # noqa: ANN401  # argparse's own
    """Return the parser of a tree of commands; the chosen function is the namespace's `command`.

    Args:
        commands: Name -> function, or -> a further tree.
        options: Of `argparse.ArgumentParser`.
    """
    parser = argparse.ArgumentParser(**options)
    _add_commands(parser, commands)
    return parser


def parse_arguments(
    parser: argparse.ArgumentParser, words: Sequence[str], advice: Mapping[Command, str]
) -> argparse.Namespace:
    """Return the chosen command and its arguments.

    Args:
        parser: What `build_parser` returned.
        words: The command line.
        advice: What to say of an option that a command lacks, `{name}` standing for its name without hyphens.

    Raises:
        ValueError: The command does not take a word.
    """
    given, rest = parser.parse_known_args(words)
    if not rest:
        return given
    first, usual = rest[0].partition("=")[0], "--help lists what there is."
    if not first.startswith("-"):
        raise ValueError(f"{first!r} is one word too many; {usual}")
    options = [f"--{_spelt(name)}" for name in inspect.signature(given.command).parameters]
    near = difflib.get_close_matches(first, options, n=1, cutoff=NEAR)
    hint = f"did you mean {near[0]}?" if near else advice.get(given.command, usual).format(name=first.lstrip("-"))
    raise ValueError(f"there is no option {first}; {hint}")


def call(arguments: argparse.Namespace) -> int:
    """Call the chosen function with its arguments and return its exit code."""
    given = vars(arguments)
    command: Command = given["command"]
    return command(**{name: given[name] for name in inspect.signature(command).parameters})


def _add_commands(parser: argparse.ArgumentParser, commands: Commands) -> None:
    choices = parser.add_subparsers(metavar="COMMAND", required=DEFAULT not in commands)
    for name, command in commands.items():
        if isinstance(command, Mapping):
            summary = _summary(command[DEFAULT]) if DEFAULT in command else None
            words = f"{', '.join(filter(None, command))}; see osteomark {name} --help"
            text = " ".join(filter(None, [summary, words]))
            _add_commands(choices.add_parser(name, help=text, description=summary), command)
        elif name == DEFAULT:
            _add_command(parser, command)
        else:
            _add_command(choices.add_parser(name, help=_summary(command), description=_summary(command)), command)


def _summary(command: Command | Commands) -> str | None:
    return parse(inspect.getdoc(command) or "").short_description


def _add_command(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    parser.set_defaults(command=command)
    hints = typing.get_type_hints(command)
    text = parse(inspect.getdoc(command) or "")
    helps = {item.arg_name: " ".join((item.description or "").split()) for item in text.params}
    for parameter in inspect.signature(command).parameters.values():
        _add_argument(parser, parameter, hints[parameter.name], helps.get(parameter.name, ""))


def _add_argument(parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: object, text: str) -> None:
    option = parameter.kind is parameter.KEYWORD_ONLY
    names = [f"--{_spelt(parameter.name)}"] if option else [parameter.name]
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "default": parameter.default}
    settings |= {"dest": parameter.name} if option else {}
    if hint is bool:
        parser.add_argument(*names, **settings, action="store_true")
        return
    several = typing.get_origin(hint) is Sequence
    settings |= _values(typing.get_args(hint)[0] if several else hint)
    if several:
        settings |= {"nargs": "+", "action": "extend", "default": []} if option else {"nargs": "*"}
    if option:
        settings["metavar"] = _spelt(parameter.name).split("-")[-1].upper()
        if parameter.default not in (None, parameter.empty) and not several:
            settings["help"] += f" Default: {parameter.default}."
    if parameter.default is parameter.empty:
        del settings["default"]
        settings |= {"required": True} if option else {}
    parser.add_argument(*names, **settings)


def _spelt(name: str) -> str:
    """Return a parameter's name as an option's; `set_` stands for a name that Python has already."""
    return name.rstrip("_").replace("_", "-")


def _values(hint: object) -> dict[str, Any]:
    """Return how one value of a type is read."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return {"choices": typing.get_args(hint)}
    return {"type": hint}
