import pytest
import torch
from torch import Tensor, nn

from datamodules.base import Batch
from methods.components.micro_batches import accumulate, divide

FILMS = 7


@pytest.fixture
def batch() -> Batch:
    """Films that differ."""
    image = torch.arange(FILMS * 4.0).reshape(FILMS, 1, 2, 2) / 10
    points = torch.arange(FILMS * 2.0).reshape(FILMS, 1, 2)
    cases = tuple(f"film{number}" for number in range(FILMS))
    affine = torch.eye(2, 3).expand(FILMS, 2, 3)
    return Batch(cases, image, points, torch.ones(FILMS, 1, dtype=torch.bool), torch.ones(FILMS, 2), affine)


@pytest.mark.parametrize("most", [1, 2, 3, 6, 7, 20, None])
def test_parts_are_the_batch_in_its_order_and_no_larger_than_asked(batch: Batch, most: int | None) -> None:
    parts = divide(batch, most)
    sizes = [len(part.case) for part in parts]
    assert max(sizes) <= (most or FILMS) and max(sizes) - min(sizes) <= 1
    assert sum((part.case for part in parts), ()) == batch.case
    for name in ("image", "points", "visible", "spacing", "to_image"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_gradients_of_parts_add_up_to_those_of_the_batch(batch: Batch, most: int, scale: float) -> None:
    torch.manual_seed(0)
    network, unused = nn.Linear(4, 2), nn.Linear(1, 1)
    frozen = nn.Parameter(torch.ones(()), requires_grad=False)
    weights = [*network.parameters(), *unused.parameters(), frozen]
    seen: list[int] = []

    def loss(part: Batch) -> Tensor:
        seen.append(len(part.case))
        return (network(part.image.flatten(1)) * frozen - part.points[:, 0]).square().sum(dim=1).mean()

    (scale * loss(batch)).backward()
    expected = [weight.grad for weight in weights]
    network.zero_grad()
    seen.clear()
    value = accumulate(loss, divide(batch, most), weights)
    assert max(seen) <= most
    assert all(weight.grad is None for weight in weights), "handed over by backward alone"
    torch.testing.assert_close(value, loss(batch).detach())
    (scale * value).backward()
    assert [weight.grad is None for weight in weights] == [False, False, True, True, True]
    torch.testing.assert_close([weight.grad for weight in network.parameters()], expected[:2])
