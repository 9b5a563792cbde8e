"""Every film format and bit depth, and files that are none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datamodules.base import DataError
from datamodules.components.images.image_io import film_size, film_sizes, find_film, read_film, to_uint8

HEIGHT, WIDTH = 24, 36
RAMP = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
DEEP = np.tile(np.linspace(100, 4000, WIDTH).round().astype(np.uint16), (HEIGHT, 1))


def palette_of(grey: np.ndarray) -> Image.Image:
    """Store the grey film as a palette image whose indices are not its grey values."""
    image = Image.fromarray(255 - grey).convert("P")
    image.putpalette([255 - i // 3 for i in range(768)])
    return image


def write_8_bit(path: Path, kind: str) -> Path:
    grey = Image.fromarray(RAMP)
    image = palette_of(RAMP) if kind == "palette" else grey.convert({"grey": "L", "rgb": "RGB", "rgba": "RGBA"}[kind])
    if kind == "rgba":
        image.putalpha(7)
    image.save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("kind", ["grey", "palette", "rgb", "rgba"])
def test_8_bit_films_are_read_to_the_grey_value(tmp_path: Path, suffix: str, kind: str) -> None:
    path = write_8_bit(tmp_path / f"film{suffix}", kind)
    assert film_size(path) == (HEIGHT, WIDTH)
    film = read_film(path)
    assert film.dtype == np.uint8
    assert np.abs(film.astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_jpeg_films_are_read_up_to_compression(tmp_path: Path, kind: str) -> None:
    film = read_film(write_8_bit(tmp_path / "film.jpg", kind))
    assert np.abs(film.astype(int) - RAMP).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_16_bit_films_are_windowed_to_8_bit(tmp_path: Path, suffix: str, colour: bool) -> None:
    path = tmp_path / f"film{suffix}"
    cv2.imwrite(str(path), np.repeat(DEEP[..., None], 3, axis=2) if colour else DEEP)
    film = read_film(path)
    assert film_size(path) == (HEIGHT, WIDTH)
    assert (film.min(), film.max()) == (0, 255)
    assert np.abs(film.astype(int) - RAMP).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_1_bit_films_become_black_and_white(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / f"film{suffix}")
    assert np.array_equal(read_film(tmp_path / f"film{suffix}"), np.where(RAMP > 100, 255, 0))


@pytest.mark.parametrize(("pixels", "tolerance"), [(RAMP, 0), (DEEP, 4), (DEEP.astype(np.int16), 4)])
@pytest.mark.parametrize("slices", [True, False])
def test_mha_films_are_read_with_and_without_a_slice_axis(
    tmp_path: Path, pixels: np.ndarray, tolerance: int, slices: bool
) -> None:
    path = tmp_path / "film.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels[None] if slices else pixels), str(path))
    assert film_size(path) == (HEIGHT, WIDTH)
    assert np.abs(read_film(path).astype(int) - RAMP).max() <= tolerance


def test_an_mha_of_several_slices_is_refused(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.stack([RAMP, RAMP])), str(tmp_path / "film.mha"))
    with pytest.raises(DataError, match=r"film\.mha .*2 slices"):
        read_film(tmp_path / "film.mha")


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "film.png")
    assert np.abs(read_film(tmp_path / "film.png")[0] - np.array([76.2, 149.7, 29.1])).max() < 1


def test_the_sizes_of_a_dataset_s_films_are_those_of_the_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP).save(tmp_path / "film.jpg", exif=exif, quality=100)
    assert film_sizes(tmp_path, {"a": tmp_path / "film.jpg"}).sizes == {"a": (HEIGHT, WIDTH)}
    assert film_size(tmp_path / "film.jpg") == (WIDTH, HEIGHT)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of a cut TIFF before it fails
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".mha"])
@pytest.mark.parametrize("damage", ["absent", "empty", "text", "cut"])
def test_an_unreadable_film_is_named_with_the_cure(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"film{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(path))
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"no film at all\n" * 9, "cut": content[: len(content) // 2]}.get(damage, b"")
    )
    if damage == "absent":
        path.unlink()
    with pytest.raises(DataError, match=rf"film\{suffix} cannot be read as a film .*mend or restore the file"):
        read_film(path)


@given(st.lists(st.integers(0, 65535), min_size=4, max_size=60), st.integers(1, 5), st.integers(0, 1000))
def test_the_window_does_not_depend_on_gain_and_offset_and_keeps_order(
    values: list[int], gain: int, offset: int
) -> None:
    film = np.array([values], np.int64)
    scaled = to_uint8(film)
    assert np.abs(scaled.astype(int) - to_uint8(film * gain + offset)).max() <= 1
    order = np.argsort(film[0], kind="stable")
    assert (np.diff(scaled[0][order].astype(int)) >= 0).all()


def test_a_dead_pixel_does_not_flatten_the_film() -> None:
    deep = np.tile(DEEP, (10, 1))
    deep[0, 0] = 65535
    assert np.abs(to_uint8(deep)[1:].astype(int) - to_uint8(np.tile(DEEP, (10, 1)))[1:]).max() <= 2


def test_a_constant_deep_film_is_black_and_an_8_bit_film_stays_as_it_is() -> None:
    assert not to_uint8(np.full((4, 4), 900, np.uint16)).any()
    assert to_uint8(RAMP) is RAMP


def test_films_are_found_in_any_format_and_the_absent_ones_listed(tmp_path: Path) -> None:
    write_8_bit(tmp_path / "a.png", "grey")
    (tmp_path / "b.jpg").write_bytes(b"")
    films = {stem: find_film(tmp_path, stem, ".bmp") for stem in "abc"}
    found = film_sizes(tmp_path, films)
    assert found.sizes == {"a": (HEIGHT, WIDTH)}
    assert found.missing == ("c.bmp",)
    assert len(found.unreadable) == 1
    assert "b.jpg" in found.unreadable[0]
