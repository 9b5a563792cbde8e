"""Single values of the command line, `--set posenet.lr=0.01`, as overrides that win over a matrix file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, get_type_hints

import yaml

from benchmark.cell import Budget
from benchmark.lookup import ANY_METHODS, checked, choose, find_variant, hparam_names
from benchmark.matrix import Matrix, Override, epochs_budget
from methods.base import Method

BUDGET = "budget"
ENGINE = "engine"
EVERY = "*"
FORM = "write METHOD.NAME=VALUE, '*.NAME=VALUE' for every method that has NAME, budget.NAME=VALUE or engine.NAME=VALUE"


class Setting(NamedTuple):
    """One value that the user set.

    Attributes:
        target: `budget`, `engine`, the name of a method, or `*`.
        name: Of the budget's key, the engine's setting or the hyper-parameter.
        value: As JSON or YAML reads it.
    """

    target: str
    name: str
    value: Any


def parse_setting(text: str) -> Setting:
    """Read `TARGET.NAME=VALUE`.

    Raises:
        ValueError: It has another form.

    Example:
        >>> parse_setting("posenet.lr=1e-3")
        Setting(target='posenet', name='lr', value=0.001)
        >>> parse_setting("*.input_size=[256, 128]").value
        [256, 128]
    """
    key, equals, value = text.partition("=")
    target, _, name = key.strip().rpartition(".")
    if not (equals and target and name):
        raise ValueError(f"--set {text}: {FORM}.")
    return Setting(target, name, _read(value))


def apply_settings(matrix: Matrix, texts: Sequence[str], methods: Mapping[str, type[Method]]) -> Matrix:
    """Return a matrix with settings above everything else in it; a later setting wins over an earlier one.

    Args:
        matrix: As the file and the other options give it.
        texts: `TARGET.NAME=VALUE` each.
        methods: Every method by name.

    Raises:
        ValueError: A setting is mistyped; the message has the nearest name, or the values that the name takes.
    """
    overrides, engine = [], dict(matrix.engine)
    for text in texts:
        try:
            setting = parse_setting(text)
            if setting.target == ENGINE:
                engine[setting.name] = setting.value  # the engine knows what it takes
            else:
                overrides.append(_override(setting, matrix, methods))
        except ValueError as error:
            told = str(error)
            raise ValueError(told if told.startswith("--set") else f"--set {text}: {told}") from error
    return replace(matrix.with_overrides(overrides), engine=engine)


def _override(setting: Setting, matrix: Matrix, methods: Mapping[str, type[Method]]) -> Override:
    if setting.target == BUDGET:
        name = choose(setting.name, [field.name for field in fields(Budget)], "key of the budget called")
        value = checked(setting.value, get_type_hints(Budget)[name], f"{BUDGET}.{name}")
        return Override(budget=epochs_budget(value) if name == "epochs" and value else {name: value})
    here = matrix.variants(methods)
    if setting.target == EVERY:
        every = {name for variant in here for name in hparam_names(variant.method_class)}
        name = choose(setting.name, sorted(every), ANY_METHODS)
        having = [variant for variant in here if name in hparam_names(variant.method_class)]
        return Override(tuple(variant.name for variant in having), hparams={name: setting.value})
    variant = find_variant(setting.target, methods)
    if variant.name not in {other.name for other in here}:
        names = ", ".join(other.name for other in here)
        raise ValueError(f"{variant.name} is not among the methods of this run, which are {names}.")
    name = choose(setting.name, hparam_names(variant.method_class), f"hyper-parameter of {variant.name}")
    return Override((variant.name,), hparams={name: setting.value})


def _read(text: str) -> Any:  # noqa: ANN401  # any value that a signature takes
    """Read JSON, in which 1e-3 is a number, else YAML, in which a text needs no quotes."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
