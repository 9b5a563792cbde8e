"""Runs the contract's checks on a method and says of each whether it holds, and why not."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch

import methods
from benchmark.contract.checks import CHECKS, STATIC, Check, ContractError
from benchmark.contract.tiny_films import SCHEMA
from datamodules.base import LandmarkSchema
from methods.base import Method


class CheckResult(NamedTuple):
    """What came of one check.

    Attributes:
        check: What a method has to do, in words.
        status: Whether it does; `skip` where the method does not run on the schema.
        reason: Why not, in a sentence.
    """

    check: str
    status: Literal["pass", "fail", "skip"]
    reason: str = ""


def check_results(method_class: type[Method], schema: LandmarkSchema = SCHEMA) -> Iterator[CheckResult]:
    """Run every check on a method, one after the other.

    Args:
        method_class: The method.
        schema: The landmarks that it is built for.
    """
    yield _name_is_free(method_class)
    sound = True
    for check in STATIC:
        result = _result(check, method_class, schema)
        sound &= result.status == "pass"
        yield result
    obstacle = method_class.unsupported(schema) if sound else "what the class states has to be right first."
    for check in CHECKS:
        yield CheckResult(in_words(check), "skip", obstacle) if obstacle else _result(check, method_class, schema)


def in_words(check: Check) -> str:
    """Return what a check demands, as a predicate of the method."""
    return check.__name__.replace("_", " ")


def _result(check: Check, method_class: type[Method], schema: LandmarkSchema) -> CheckResult:
    torch.manual_seed(0)
    try:
        check(method_class, schema)
    except ContractError as error:
        return CheckResult(in_words(check), "fail", str(error))
    except Exception as error:  # whatever a method under test raises is the answer
        return CheckResult(in_words(check), "fail", _what_it_raised(error, Path(inspect.getfile(method_class))))
    return CheckResult(in_words(check), "pass")


def _what_it_raised(error: Exception, file: Path) -> str:
    """Say what a method raised and at which line of its own file."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    place = f"{file.name}, line {own[-1].lineno}, in {own[-1].name}: " if own else ""
    text = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}: {text[0]}" if text else f"{place}{type(error).__name__}"


def _name_is_free(method_class: type[Method]) -> CheckResult:
    """Look for another method that has a variant of the same name: a matrix could not tell them apart."""
    file, check = Path(inspect.getfile(method_class)).resolve(), "has names of its own"
    for other in methods.discover().values():
        shared = sorted(set(other.variants) & set(method_class.variants))
        place = Path(inspect.getfile(other)).resolve()
        if shared and place != file:
            return CheckResult(check, "fail", f"{place.name} has the variant {shared[0]!r}, too; choose another name.")
    return CheckResult(check, "pass")
