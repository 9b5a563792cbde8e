"""Let a CUDA build of torchvision be imported beside a CPU build of torch.

The common wheels of torchvision are CUDA builds.  Beside a torch without CUDA their compiled operators cannot be
loaded, and ``import torchvision`` (so timm, lightning and torchmetrics too) ends in ``operator torchvision::nms does
not exist``.  Osteomark calls none of these operators: it is enough that their schemas exist.

``make install`` copies this file and its ``.pth`` into site-packages of a CPU environment.  At interpreter start the
``.pth`` only adds an import hook: torch is not imported.  The hook acts once, when torchvision reaches the module that
needs the schemas; by then it has tried to load its own operators, and where that worked the hook does nothing.
"""

from __future__ import annotations

import sys

WAITS_FOR = "torchvision._meta_registrations"
OPERATORS = ("nms", "qnms")


class SchemaHook:
    """Import hook that finds nothing itself and defines the missing schemas just before they are needed."""

    library: object = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Return None always, so that the ordinary finders load the module."""
        if name == WAITS_FOR:
            sys.meta_path.remove(self)
            define_missing_schemas()


def define_missing_schemas() -> None:
    """Define torchvision's operator schemas where a CPU build of torch has none of them."""
    import torch

    missing = [name for name in OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if torch.version.cuda or torch.version.hip or not missing:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    SchemaHook.library = library  # torch forgets the schemas when the library object is collected


if "torchvision" not in sys.modules:
    sys.meta_path.insert(0, SchemaHook())
