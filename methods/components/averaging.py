"""An exponential moving average of a network's weights that travels in its checkpoints."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

SEPARATOR: Final = "/"
"""Takes the place of the dots of state names, which a buffer's name must not have."""


class WeightAverage(nn.Module):
    """The moving average of a network's weights and statistics, in buffers: it is saved, resumed and moved with them.

    Call `update` after every optimiser step, in `on_train_batch_end` say. The average is no parameter: no optimiser
    sees it and no count has it.

    Args:
        network: What is averaged; the average starts at its present weights.
        decay: Share of the average that a step keeps, in the long run. After n steps it is at most
            (1 + n) / (10 + n), so that a short training is not held back by its first weights.
    """

    steps: Tensor

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        for name, value in network.state_dict().items():
            self.register_buffer(name.replace(".", SEPARATOR), value.detach().clone())

    def averages(self) -> dict[str, Tensor]:
        """Return the averaged state under the network's own names."""
        return {name.replace(SEPARATOR, "."): value for name, value in self.named_buffers() if name != "steps"}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights; counters are copied."""
        self.steps += 1
        steps = int(self.steps)
        share = 1 - min(self.decay, (1 + steps) / (10 + steps))
        state = network.state_dict()
        for name, average in self.averages().items():
            if average.is_floating_point():
                average.lerp_(state[name].to(average.dtype), share)
            else:
                average.copy_(state[name])

    def forward(self, network: nn.Module, image: Tensor) -> Tensor:
        """Return what the network answers with the averaged weights."""
        output: Tensor = functional_call(network, self.averages(), (image,))
        return output
