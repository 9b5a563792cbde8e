"""Measures what the cache of films saves, for docs/performance.md: `python -m tests.scale.cache`.

Drawn skulls of the full 1935 x 2400 pixels, written as BMP (as ISBI 2015 has them), PNG and JPEG, are decoded and
resized as in an epoch without a cache, and read from its files by one that has not read them before, then again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from datamodules.components.images.cache import FilmCache
from datamodules.components.images.image_io import read_film
from datamodules.components.transforms import Box, InputSpec, resize
from datamodules.phantom.skull.films import OFFICIAL_HEIGHT, OFFICIAL_WIDTH, skull_film

FORMATS = ("bmp", "png", "jpg")
SIZES = ((512, 416), (800, 640), (OFFICIAL_HEIGHT, OFFICIAL_WIDTH))


def main() -> None:
    """Measure and print JSON: milliseconds a film, the median of the films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=16)
    given = parser.parse_args()
    box = Box(0, 0, OFFICIAL_WIDTH, OFFICIAL_HEIGHT)
    with TemporaryDirectory() as folder:
        images = [skull_film(seed, OFFICIAL_HEIGHT).image for seed in range(given.films)]
        for suffix in FORMATS:
            films = [Path(folder, f"{number}.{suffix}") for number in range(given.films)]
            for path, image in zip(films, images, strict=True):
                cv2.imwrite(str(path), image)
            for size in SIZES:
                spec, full = InputSpec(size=size), FilmCache(Path(folder, "cache"))
                _each(films, lambda path, s=spec, c=full: c.read(path, box, s, exif=False))
                cache = FilmCache(Path(folder, "cache"))
                for path in films:
                    cache.content(path)  # hashed once in a process, whether films are cached or not
                epochs = {
                    "decoded": _each(films, lambda path, s=spec: resize(read_film(path), box, s)),
                    "first epoch": _each(films, lambda path, s=spec, c=cache: c.read(path, box, s, exif=False)),
                    "later epochs": _each(films, lambda path, s=spec, c=cache: c.read(path, box, s, exif=False)),
                }
                saved = round(epochs["decoded"] / epochs["later epochs"], 1)
                print(json.dumps({"film": suffix, "size": size, **epochs, "times as fast": saved}), flush=True)


def _each(films: list[Path], read: Callable[[Path], object]) -> float:
    """Return the median milliseconds of a film."""
    spent = []
    for path in films:
        start = time.perf_counter()
        read(path)
        spent.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(spent), 2)


if __name__ == "__main__":
    main()
