"""Weights of another run that training starts from: a checkpoint read, compared and taken over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, on the processor.

    Raises:
        ValueError: The file is absent, or is no checkpoint.
    """
    if not path.is_file():
        raise ValueError(f"init_from names {path}, which is no file; give the checkpoint of a finished run.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        return dict(stored["state_dict"])
    except Exception as error:  # damaged bytes lead to errors of any kind
        raise ValueError(f"init_from names {path}, which is no checkpoint; give that of a finished run.") from error


def load_part(module: nn.Module, name: str, weights: Mapping[str, Tensor]) -> None:
    """Put every weight that a checkpoint has for a part of a method into that part.

    Args:
        module: The part.
        name: What the method calls it.
        weights: The checkpoint's weights, of the whole method.

    Raises:
        ValueError: The checkpoint lacks a weight, has one too many or one of another shape.
    """
    own = module.state_dict()
    given = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    if not own.keys() & given.keys():
        raise ValueError(f"init_from names a checkpoint without a {name}; give a run of the same method.")
    for key in sorted(own.keys() | given.keys()):
        shapes = [tuple(each[key].shape) if key in each else "absent" for each in (given, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"init_from names a checkpoint whose {name}.{key} is {shapes[0]} where this run's is {shapes[1]}; both "
                f"runs need the same network and as many landmarks to a crop."
            )
    module.load_state_dict(given)
