"""YAML files of moderate size, whose aliases and nesting cannot exhaust the machine."""

from __future__ import annotations

from pathlib import Path

import yaml

LARGEST_BYTES = 1_000_000
MOST_VALUES = 100_000
"""Once every alias stands for what it repeats."""


def read_yaml(path: Path) -> object:
    """Return what a YAML file holds; an empty mapping for an empty file.

    Raises:
        ValueError: It is no UTF-8, not YAML, too large, nested too deeply, or a key stands twice.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES:,} bytes; a card has a few hundred lines.")
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return {}
        _count(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:  # without the line's text, which may be private
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line} is not YAML ({error.problem}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"line 1 is not YAML ({' '.join(str(error).split())}).") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply.") from error


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values a node holds, those of aliases counted each time.

    Raises:
        ValueError: There are too many of them, a value holds itself, or a key stands twice in a mapping.
    """
    if id(node) in counted:
        if not counted[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias holds itself; write the values out.")
        return counted[id(node)]
    counted[id(node)] = 0
    children = list(node.value) if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated_keys(node)
        children = [child for pair in node.value for child in pair]
    total = 1 + sum(_count(child, counted) for child in children)
    if total > MOST_VALUES:
        raise ValueError(f"line {node.start_mark.line + 1}: its aliases stand for too many values; write fewer.")
    counted[id(node)] = total
    return total


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    keys: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in keys:
                raise ValueError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice; remove one.")
            keys.add(key.value)
