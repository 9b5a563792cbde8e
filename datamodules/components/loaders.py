"""What a loader serves: cases by name, which of them stand in a training batch, and what each device gets of it.

What of that is chance, augmentation too, is drawn in the process that trains, whoever loads the films.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import torch
from torch.utils.data import Dataset, RandomSampler, Sampler

from datamodules.components.samples import Sample

PART_SEED = 2**20
"""Distance between the seeds of parts."""


class Draw(NamedTuple):
    """A training case of a batch.

    Attributes:
        place: Of the case in the list of cases.
        seed: Of its augmentation.
    """

    place: int
    seed: int


class NamedSamples(Dataset[Sample]):
    """Cases in the order of their names.

    Args:
        names: Of the cases.
        sample: Makes the sample of a name, augmented by a `seed` where one is drawn.
    """

    def __init__(self, names: Sequence[str], sample: Callable[..., Sample]) -> None:
        self.names, self.sample = names, sample

    def __len__(self) -> int:
        """Return their number."""
        return len(self.names)

    def __getitem__(self, drawn: Draw | int) -> Sample:
        """Return one, by its place or as it was drawn."""
        place, seed = drawn if isinstance(drawn, Draw) else (drawn, None)
        return self.sample(self.names[place], seed=seed)


class PartOfBatch(Sampler[list[Draw]]):
    """One of equal parts of every batch of shuffled cases; the parts of a batch are the batch that one device has.

    A last batch is left out where a part would be a single film beside earlier batches, since batch normalisation needs
    two. What cannot be divided of it is left out, other films each epoch.

    Args:
        cases: How many there are.
        batch_size: Of the whole batch; a multiple of `parts`.
        part: Which part, from 0.
        parts: How many there are; each serves the same order if torch's random state is the same.

    Raises:
        ValueError: There are fewer cases than parts.
    """

    def __init__(self, cases: int, batch_size: int, part: int = 0, parts: int = 1) -> None:
        if cases < parts:
            raise ValueError(f"{cases} training films cannot be divided among {parts} devices.")
        self.cases, self.batch_size, self.part, self.parts = cases, batch_size, part, parts

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        full, rest = divmod(self.cases, self.batch_size)
        share = rest // self.parts
        return full + (share > 1 or (share == 1 and full == 0))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this part's cases of each batch; random numbers of the parts differ from here on."""
        order = list(RandomSampler(range(self.cases)))
        drawn = list(map(Draw, order, torch.randint(2**31, (self.cases,)).tolist()))
        self._set_apart()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = drawn[start : start + self.batch_size]
            share = len(batch) // self.parts
            yield batch[self.part * share : (self.part + 1) * share]

    def _set_apart(self) -> None:
        """Let this process draw random numbers of its own; part 0 draws those of one device."""
        if self.part:
            torch.manual_seed(torch.initial_seed() + self.part * PART_SEED)


def start_worker(worker: int) -> None:
    """Keep OpenCV from starting threads in a loader's process."""
    del worker
    cv2.setNumThreads(0)


def own_generator() -> torch.Generator:
    """Return what a loader seeds its processes from; by default it would draw from torch's own state, or not."""
    return torch.Generator().manual_seed(torch.initial_seed())
