"""Damaged films of every format: a picture of the size that the header says, or one sentence."""

import io
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK
from hypothesis import strategies as st
from PIL import Image

from datamodules.components.errors import DataError
from datamodules.components.images.decoded import MAX_PIXELS
from datamodules.components.images.dicom import dicom_spacing, dicom_text
from datamodules.components.images.image_io import decode_film, film_size
from datamodules.components.images.statistics import FilmStatistics
from datamodules.phantom.card_formats import write_dicom
from tests.fuzz.fuzzing import cuts, fuzz, mutated, mutations

FILM = np.random.default_rng(0).integers(0, 255, (24, 20), dtype=np.uint8)


@cache
def written(suffix: str, deep: bool) -> bytes:
    """Return the content of a small sound film."""
    pixels = FILM.astype(np.uint16) * 16 if deep else FILM
    if suffix == ".dcm":
        with tempfile.TemporaryDirectory() as folder:
            write_dicom(Path(folder) / "a.dcm", FILM, bits=12 if deep else 8, window=(2000, 3000), spacing=(0.1, 0.2))
            return (Path(folder) / "a.dcm").read_bytes()
    if suffix == ".mha":
        with tempfile.TemporaryDirectory() as folder:
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), f"{folder}/a.mha", useCompression=deep)
            return (Path(folder) / "a.mha").read_bytes()
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    names = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF"}
    image = Image.fromarray(pixels if suffix in (".png", ".tif") else FILM)
    image.save(content, names[suffix], **({} if suffix == ".bmp" else {"exif": exif}))
    return content.getvalue()


def reads_or_refuses(name: str, content: bytes) -> None:
    """Read a file as every part of the data layer does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            size = film_size(path)
            film = decode_film(path)
        except DataError as error:
            assert str(path) in str(error)
            assert str(error).endswith(".")
        else:
            assert film.pixels.shape == size
            assert film.pixels.dtype == np.uint8
            assert film.pixels.size <= MAX_PIXELS
            assert FilmStatistics.of(film).levels >= 1
        assert len(dicom_spacing(path)) == 2
        assert isinstance(dicom_text(path, "PatientID"), str)


@fuzz(st.booleans(), mutations, cuts)
def test_png(deep: bool, places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses("a.png", mutated(written(".png", deep), places, cut))


@fuzz(mutations, cuts)
def test_jpeg(places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses("a.jpg", mutated(written(".jpg", False), places, cut))


@fuzz(st.booleans(), mutations, cuts)
def test_tiff(deep: bool, places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses("a.tif", mutated(written(".tif", deep), places, cut))


@fuzz(mutations, cuts)
def test_bmp(places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses("a.bmp", mutated(written(".bmp", False), places, cut))


@fuzz(st.booleans(), mutations, cuts)
def test_mha(deep: bool, places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses("a.mha", mutated(written(".mha", deep), places, cut))


@fuzz(st.booleans(), st.sampled_from(["a.dcm", "IM0001"]), mutations, cuts)
def test_dicom(deep: bool, name: str, places: list[tuple[int, bytes]], cut: int | None) -> None:
    reads_or_refuses(name, mutated(written(".dcm", deep), places, cut))


@fuzz(st.binary(max_size=400))
def test_any_bytes_under_any_name(content: bytes) -> None:
    for suffix in (".png", ".jpg", ".tif", ".bmp", ".mha", ".nh2", ".dcm", ""):
        reads_or_refuses(f"a{suffix}", content)
