"""A method for grouped landmarks only."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction


class GroupsOnly(Method):
    """Needs vertebrae."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"groups-only": {}}
    smoke: ClassVar = {}

    @classmethod
    def unsupported(cls, schema: LandmarkSchema) -> str | None:
        """Say that hands have none."""
        return None if schema.groups else "needs landmarks grouped into vertebrae"

    @property
    def input_spec(self) -> InputSpec:
        """Hardly an image."""
        return InputSpec((16, 16))

    def loss(self, batch: Batch) -> Tensor:
        """Never come here."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> Prediction:
        """Never come here."""
        raise NotImplementedError
