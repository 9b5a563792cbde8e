"""Names that a user types, turned into what they mean; an unknown one is answered with its nearest neighbour."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

import methods
from benchmark.cell import Cell, freeze
from methods.base import Method
from methods.components.lengths import defaults, lengths, resolve

ANY_METHODS = "hyper-parameter of any of the methods"


class Variant(NamedTuple):
    """A row of a method's paper.

    Attributes:
        method: The method's name.
        name: The variant's name.
        method_class: The method's class.
        hparams: What the variant sets.
    """

    method: str
    name: str
    method_class: type[Method]
    hparams: Mapping[str, Any]


def pip_line(extra: str) -> str:
    """Return the words of a message that say how to install one of Osteomark's extras."""
    return f"in Osteomark's checkout: pip install --editable '.[{extra}]'"


def choose(name: str, known: Iterable[str], what: str) -> str:
    """Return `name` as it is spelt in `known`; `-` and `_` are alike.

    Raises:
        ValueError: There is no such name; the message has the nearest one.

    Example:
        >>> choose("mnv2-hm", ["mnv2", "mnv2_hm"], "method")
        'mnv2_hm'
    """
    spelt = {_plain(candidate): candidate for candidate in known}
    if _plain(name) in spelt:
        return spelt[_plain(name)]
    raise unknown(name, spelt.values(), what)


def unknown(name: str, known: Iterable[str], what: str) -> ValueError:
    """Return the error for a name that is not known, with the nearest one that is.

    Example:
        >>> print(unknown("posnet", ["mnv2", "posenet"], "method"))
        there is no method 'posnet'; did you mean 'posenet'?
    """
    spelt = {_plain(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(_plain(name), spelt, n=1, cutoff=0.5)
    hint = f"did you mean {spelt[near[0]]!r}?" if near else f"known are: {', '.join(spelt.values()) or 'none'}."
    return ValueError(f"there is no {what} {name!r}; {hint}")


def discover_methods(plugins: Sequence[Path | str] = ()) -> dict[str, type[Method]]:
    """Return every method by name, with those of plugin files.

    Raises:
        ValueError: A plugin file is not there or holds no method.
    """
    try:
        return methods.discover(plugins)
    except TypeError as error:  # of a file's content: the message names it
        raise ValueError(str(error)) from error


def methods_of_file(path: Path) -> list[type[Method]]:
    """Return the methods that a file defines, which need not be free of names that other methods have.

    Raises:
        ValueError: The file is not there, cannot be imported or holds no method.
    """
    try:
        return methods.methods_of_file(path)
    except TypeError as error:  # of the file's content: the message names it
        raise ValueError(str(error)) from error


def all_variants(known: Mapping[str, type[Method]]) -> dict[str, Variant]:
    """Return every variant by name."""
    return {
        variant: Variant(method, variant, method_class, hparams)
        for method, method_class in known.items()
        for variant, hparams in method_class.variants.items()
    }


def find_variant(name: str, known: Mapping[str, type[Method]]) -> Variant:
    """Return the variant called `name`; a file's name means the first variant of its first method.

    Raises:
        ValueError: No method has it.
    """
    variants = all_variants(known)
    files = {Path(inspect.getfile(variant.method_class)).stem: variant for variant in reversed(variants.values())}
    named = {**files, **variants}
    return named[choose(name, named, "method")]


def hparam_names(method_class: type[Method]) -> list[str]:
    """Return the names of the hyper-parameters that a method takes."""
    return list(inspect.signature(method_class).parameters)[1:]  # after the schema


def checked(value: Any, hint: Any, what: str) -> Any:  # noqa: ANN401  # a value is what its annotation says
    """Return a value from YAML or the command line, after a look at its type.

    A text that stands for a number becomes one (YAML takes 1e-3 for a text), and so does a whole number with a decimal
    point where an integer is due; everything else is returned as given.

    Args:
        value: The value.
        hint: What its annotation says.
        what: Its name, for the message.

    Raises:
        ValueError: The value is of another type.

    Example:
        >>> checked("1e-3", float, "lr"), checked(16.0, int, "batch_size")
        (0.001, 16)
    """
    adapter = _adapter(hint)
    try:
        adapter.validate_json(json.dumps(value), strict=True)  # JSON, since YAML has lists where a signature has tuples
        return value
    except ValidationError:
        try:
            if isinstance(value, (str, float)):
                return adapter.validate_python(value)
        except ValidationError:
            pass
    raise ValueError(f"{what} takes {_plain_type(hint)}, but is {value!r}.")


def effective_hparams(
    variant: Variant, given: Mapping[str, Any], paper: Mapping[str, Any] | None = None
) -> tuple[tuple[str, Any], ...]:
    """Return every hyper-parameter: signature defaults, under the variant's, the `paper`'s for a dataset and `given`.

    Lengths in pixels that are not given follow the input's size.

    Raises:
        ValueError: The constructor does not take a name or a value, or lacks a value.
    """
    names = hparam_names(variant.method_class)
    own = {**defaults(variant.method_class), **variant.hparams, **(paper or {})}
    for name in (*own, *given):
        if name not in names:
            raise unknown(name, names, f"hyper-parameter of {variant.name}")
    if lacking := [name for name in names if name not in own and name not in given]:
        raise ValueError(f"{variant.name} needs a value for {', '.join(lacking)}; give it in the matrix' `overrides`.")
    hints = _hints(variant.method_class)
    given = {n: checked(v, hints[n], f"{variant.name}'s {n}") if n in hints else v for n, v in given.items()}
    own, given = ({name: freeze(value) for name, value in values.items()} for values in (own, given))
    return tuple(sorted(resolve(variant.method_class, own, given).items()))


def changed_hparams(variant: Variant, cell: Cell) -> dict[str, Any]:
    """Return the hyper-parameters of a cell that are not those of its variant's paper on the cell's dataset.

    A length in pixels is compared with what it would be at the cell's size.
    """
    paper, found = variant.method_class.paper_settings(cell.dataset, cell.protocol), dict(cell.hparams)
    own, follows = dict(effective_hparams(variant, {}, paper)), lengths(variant.method_class)

    def papers(name: str) -> Any:  # noqa: ANN401  # a hyper-parameter is what a method's signature says
        others = {other: value for other, value in found.items() if other in own and other != name}
        return dict(effective_hparams(variant, others, paper))[name] if name in follows else own[name]

    return {name: value for name, value in found.items() if name in own and value != papers(name)}


@cache
def _hints(method_class: type[Method]) -> Mapping[str, Any]:
    return get_type_hints(method_class.__init__)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401  # any annotation
    return TypeAdapter(hint)


def _plain_type(hint: Any) -> str:  # noqa: ANN401  # any annotation
    """Write a type as its signature does, a choice as its values."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()
