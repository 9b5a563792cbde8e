"""What a loader serves: cases by name, which of them stand in a training batch, and what each device gets of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import torch
from torch.utils.data import Dataset, RandomSampler, Sampler

from datamodules.components.samples import Sample

PART_SEED = 2**20
"""Distance between the seeds of parts: farther than loader workers are from each other."""


class NamedSamples(Dataset[Sample]):
    """Cases in the order of their names.

    Args:
        names: Of the cases.
        sample: Makes the sample of a name.
    """

    def __init__(self, names: Sequence[str], sample: Callable[[str], Sample]) -> None:
        self.names, self.sample = names, sample

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.sample(self.names[index])


class PartOfBatch(Sampler[list[int]]):
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

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this part's cases of each batch; random numbers of the parts differ from here on."""
        order = list(RandomSampler(range(self.cases)))
        set_apart(self.part)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = order[start : start + self.batch_size]
            share = len(batch) // self.parts
            yield batch[self.part * share : (self.part + 1) * share]


class StartWorker:
    """What a loader's worker process does first.

    Args:
        part: Of every batch that its process serves.
    """

    def __init__(self, part: int) -> None:
        self.part = part

    def __call__(self, worker: int) -> None:
        """Keep OpenCV from starting threads, and draw other random numbers than the workers of other parts."""
        cv2.setNumThreads(0)
        set_apart(self.part)


def set_apart(part: int) -> None:
    """Let this process draw random numbers of its own; part 0 draws those of one device."""
    if part:
        torch.manual_seed(torch.initial_seed() + part * PART_SEED)
