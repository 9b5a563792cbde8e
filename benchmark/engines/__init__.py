"""Where cells run: one module per engine."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from benchmark.engines.base import Engine

ENGINES = {"local": "LocalEngine", "ray": "RayEngine", "slurm": "SlurmEngine"}
"""Name of each engine, which is that of its module and of its extra, and its class."""


def engine_settings(matrix: Mapping[str, Any], name: str = "", slots: int | None = None) -> dict[str, Any]:
    """Return an engine's settings: the matrix', under what the command line says.

    Args:
        matrix: What the matrix says; settings of another engine than `name` do not count.
        name: Of the engine; the matrix' if empty.
        slots: Of the local engine; the matrix' if not given.
    """
    other = name and name != matrix.get("name", "local")
    settings = {**({} if other else matrix), **({"name": name} if name else {})}
    return settings if slots is None else {**settings, "slots": slots}


def make_engine(settings: Mapping[str, Any]) -> Engine:
    """Return an engine.

    Args:
        settings: Its `name`, local if not given, and arguments of its class.

    Raises:
        ValueError: There is no such engine or argument, its packages are not installed, or it cannot start.
    """
    from benchmark.lookup import checked, choose, pip_line, unknown

    given = {"name": "local", **settings}
    name = choose(str(given.pop("name")), ENGINES, "engine")
    try:
        engine_class = getattr(importlib.import_module(f"benchmark.engines.{name}"), ENGINES[name])
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the engine {name} needs the package {error.name}, which is not installed; {pip_line(name)}"
        ) from error
    hints = get_type_hints(engine_class.__init__)
    for key, value in given.items():
        if key not in inspect.signature(engine_class).parameters:
            raise unknown(key, inspect.signature(engine_class).parameters, f"setting of the engine {name} called")
        given[key] = checked(value, hints[key], f"engine.{key}")
    engine: Engine = engine_class(**given)
    return engine
