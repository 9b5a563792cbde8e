"""Hyper-parameters that are lengths in pixels: they follow the size that they are counted in.

A length belongs to the size beside which its method states it, so it shrinks with a smaller input unless it is given.
"""

from __future__ import annotations

import math
from abc import ABCMeta
from collections.abc import Mapping
from functools import cache
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, NamedTuple, get_type_hints

SMALLEST = 1.0
"""No length shrinks below one pixel: maps cannot show it."""


class Follows(NamedTuple):
    """Marks the type of a hyper-parameter as a length.

    Attributes:
        size: The hyper-parameter with the size in whose pixels it is counted: a side, or (height, width).
    """

    size: str


Pixels = Annotated[float, Follows("input_size")]
"""A length in pixels of the network's input, or of its maps at a fixed stride."""
Size = int | tuple[int, int]
"""A side, or (height, width)."""


class ResolvesLengths(ABCMeta):
    """Makes a class resolve the lengths that its constructor is not given, before the constructor runs."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as `type` declares it
        """Construct with every hyper-parameter that follows a given size."""
        given = cls.__signature__.bind_partial(*args, **kwargs).arguments
        resolved = resolve(cls, defaults(cls), given)
        return super().__call__(*args, **kwargs, **{name: resolved[name] for name in lengths(cls) if name not in given})

    @property
    def __signature__(cls) -> Signature:
        """That of the constructor, without `self`."""
        constructor = signature(cls.__init__)  # type: ignore[misc]  # each class has its own
        return constructor.replace(parameters=list(constructor.parameters.values())[1:])


def defaults(method: type) -> dict[str, Any]:
    """Return the hyper-parameters that a constructor has values for."""
    return {p.name: p.default for p in signature(method).parameters.values() if p.default is not Parameter.empty}


@cache
def lengths(method: type) -> Mapping[str, str]:
    """Return the hyper-parameters of a class that are lengths, with the names of the sizes that they follow."""
    hints = get_type_hints(method.__init__, include_extras=True)  # type: ignore[misc]
    marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: mark.size for name, found in marks.items() for mark in found if isinstance(mark, Follows)}


def resolve(method: type, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Put `given` hyper-parameters over a method's `own`; a length that is not given follows its size.

    It changes as `scale` says, from its own size to the given one; both sides of a (height, width) alike.

    Args:
        method: The class whose constructor says which are lengths.
        own: Values that belong together.
        given: Values that stay as they are.
    """
    follows = lengths(method)

    def value(name: str) -> Any:  # noqa: ANN401  # a hyper-parameter is what a method's signature says
        if name in given:
            return given[name]
        size = follows.get(name)
        return _at(value(size), own[size], own[name]) if size is not None and size in own else own[name]

    return {name: value(name) for name in {**own, **given}}


def scale(length: float, own: Size, size: Size) -> float:
    """Return what a length at a size is at another one: to three digits, or to a whole number where it is one.

    It changes by the geometric mean of the ratios of both sides, but does not shrink below a pixel.

    Example:
        >>> scale(10.0, (800, 640), (192, 160)), scale(3, 512, 128)
        (2.45, 1)
    """
    (height, width), (new_height, new_width) = _sides(own), _sides(size)
    ratio = math.sqrt(new_height * new_width / (height * width))
    if ratio == 1:
        return length
    scaled = max(length * ratio, min(length, SMALLEST))
    return round(scaled) if isinstance(length, int) else float(f"{scaled:.3g}")


def _at(size: Size, own: Size, length: Any) -> Any:  # noqa: ANN401  # a length is a number, or (height, width)
    """Scale a number, or both sides of a (height, width) alike."""
    return tuple(scale(side, own, size) for side in length) if isinstance(length, tuple) else scale(length, own, size)


def _sides(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
