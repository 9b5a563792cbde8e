import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, RandomSampler

from datamodules.components.loaders import PartOfBatch


def batches(cases: int, batch_size: int, part: int, parts: int, seed: int = 3) -> list[list[int]]:
    torch.manual_seed(seed)
    return [[draw.place for draw in batch] for batch in PartOfBatch(cases, batch_size, part, parts)]


@given(st.integers(1, 40), st.integers(1, 9))
def test_one_part_is_the_shuffled_order_of_a_loader(cases: int, batch_size: int) -> None:
    torch.manual_seed(3)
    plain = list(BatchSampler(RandomSampler(range(cases)), batch_size, cases % batch_size == 1 and cases > 1))
    assert batches(cases, batch_size, 0, 1) == plain
    assert len(PartOfBatch(cases, batch_size)) == len(plain)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 30))
def test_parts_are_equal_and_together_the_batch_of_one_device(parts: int, share: int, more: int) -> None:
    cases, batch_size = parts + more, parts * share
    whole = batches(cases, batch_size, 0, 1)
    split = [batches(cases, batch_size, part, parts) for part in range(parts)]
    assert len({len(part) for part in split}) == 1
    for index, together in enumerate(zip(*split, strict=True)):
        assert len({len(part) for part in together}) == 1
        joined = [case for part in together for case in part]
        assert joined == whole[index][: len(joined)]
        assert len(joined) > len(whole[index]) - parts


def test_parts_draw_other_random_numbers_after_the_order() -> None:
    drawn = []
    for part in range(3):
        batches(6, 3, part, 3)
        drawn.append(torch.rand(()).item())
    assert len(set(drawn)) == 3
    batches(6, 3, 0, 1)
    assert torch.rand(()).item() == drawn[0]


def test_fewer_films_than_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="1 training films cannot be divided among 2 devices"):
        PartOfBatch(1, 2, 0, 2)


def test_each_case_is_augmented_alike_on_any_device_and_anew_in_each_epoch() -> None:
    def seeds(parts: int, epoch: int) -> dict[int, int]:
        drawn = {}
        for part in range(parts):
            torch.manual_seed(epoch)
            drawn.update(draw for batch in PartOfBatch(8, 4, part, parts) for draw in batch)
        return drawn

    assert seeds(1, epoch=0) == seeds(2, epoch=0) == seeds(4, epoch=0)
    assert not set(seeds(1, epoch=0).values()) & set(seeds(1, epoch=1).values())
    assert len(set(seeds(1, epoch=0).values())) == 8
