"""The cache of resized films: equal to decoding, shared by processes, healed after damage."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from datamodules.base import DataError
from datamodules.components.images import cache as cache_module
from datamodules.components.images.cache import FilmCache
from datamodules.components.images.decoded import Decoded
from datamodules.components.images.image_io import decode_film, read_film
from datamodules.components.transforms import Box, InputSpec, resize

BOX, SPEC = Box(0, 0, 60, 80), InputSpec(size=(32, 24))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def decoded() -> Iterator[list[Path]]:
    """The films that were decoded, in order."""
    paths: list[Path] = []

    def read(path: Path, *, exif: bool) -> Decoded:
        paths.append(path)
        return decode_film(path, exif=exif)

    with patch.object(cache_module, "decode_film", read):
        yield paths


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_hit_equals_decoding(tmp_path: Path, film: Path, decoded: list[Path], on_disk: bool) -> None:
    cache = FilmCache(tmp_path / "cache" if on_disk else None)
    expected = resize(read_film(film), BOX, SPEC)
    assert all(np.array_equal(cache.read(film, BOX, SPEC, exif=False), expected) for _ in range(3))
    assert len(decoded) == 1


def test_another_process_finds_the_film_on_disk(tmp_path: Path, film: Path, decoded: list[Path]) -> None:
    first = FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False)
    assert np.array_equal(FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False), first)
    assert len(decoded) == 1


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cache_file_is_made_anew(tmp_path: Path, film: Path, decoded: list[Path], damage: bytes) -> None:
    first = FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False)
    (stored,) = (tmp_path / "cache").rglob("*.npy")
    stored.write_bytes(damage)
    assert np.array_equal(FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False), first)
    assert np.array_equal(np.load(stored), first)
    assert len(decoded) == 2


def test_a_cut_cache_file_is_made_anew(tmp_path: Path, film: Path) -> None:
    first = FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False)
    (stored,) = (tmp_path / "cache").rglob("*.npy")
    stored.write_bytes(stored.read_bytes()[:-10])
    assert np.array_equal(FilmCache(tmp_path / "cache").read(film, BOX, SPEC, exif=False), first)


def test_box_and_spec_and_content_each_have_their_own_entry(tmp_path: Path, film: Path) -> None:
    cache = FilmCache(tmp_path / "cache")
    cache.read(film, BOX, SPEC, exif=False)
    cache.read(film, Box(1, 0, 60, 80), SPEC, exif=False)
    cache.read(film, BOX, InputSpec(size=(32, 24), fit="pad"), exif=False)
    Image.fromarray(np.zeros((80, 60), np.uint8)).save(film)
    assert not cache.read(film, BOX, SPEC, exif=False).any()
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 4


def test_a_copy_of_a_film_shares_its_entry(tmp_path: Path, film: Path, decoded: list[Path]) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(film.read_bytes())
    cache = FilmCache(tmp_path / "cache")
    assert cache.content(copy) == cache.content(film)
    cache.read(film, BOX, SPEC, exif=False)
    cache.read(copy, BOX, SPEC, exif=False)
    assert len(decoded) == 1


def test_what_a_caller_does_to_a_film_does_not_reach_the_cache(film: Path) -> None:
    cache = FilmCache()
    first = cache.read(film, BOX, SPEC, exif=False)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(cache.read(film, BOX, SPEC, exif=False), kept)


def test_memory_takes_no_more_than_its_limit(film: Path, decoded: list[Path]) -> None:
    cache = FilmCache()
    with patch.object(cache_module, "MEMORY_LIMIT", 32 * 24):
        cache.read(film, BOX, SPEC, exif=False)
        for _ in range(2):
            cache.read(film, Box(1, 0, 60, 80), SPEC, exif=False)
        cache.read(film, BOX, SPEC, exif=False)
    assert len(decoded) == 3


def test_a_film_is_verified_once_per_content(tmp_path: Path, film: Path, decoded: list[Path]) -> None:
    with patch.object(FilmCache, "_known", {}):
        FilmCache(tmp_path / "cache").statistics(film, exif=False)
        FilmCache().statistics(film, exif=False)
    with patch.object(FilmCache, "_known", {}):
        FilmCache(tmp_path / "cache").statistics(film, exif=False)
    assert len(decoded) == 1


def test_a_film_that_changes_is_verified_again(tmp_path: Path, film: Path) -> None:
    cache = FilmCache(tmp_path / "cache")
    cache.statistics(film, exif=False)
    film.write_bytes(film.read_bytes()[:200])
    os.utime(film)
    with pytest.raises(DataError, match=r"film\.png"):
        cache.statistics(film, exif=False)


def read_in_process(folder: Path, film: Path) -> int:
    """Read a film many times through fresh caches over one folder; return the sum of its pixels."""
    sums = {int(FilmCache(folder).read(film, BOX, SPEC, exif=False).sum()) for _ in range(20)}
    return sums.pop() if len(sums) == 1 else -1


def test_processes_may_share_a_folder(tmp_path: Path, film: Path) -> None:
    expected = int(resize(read_film(film), BOX, SPEC).sum())
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        sums = [pool.submit(read_in_process, tmp_path / "cache", film) for _ in range(3)]
        assert {future.result() for future in sums} == {expected}
    assert not list((tmp_path / "cache").rglob("*.part"))
