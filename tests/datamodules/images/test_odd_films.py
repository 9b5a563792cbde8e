"""Films as people have them: whatever the header says, bone is bright, upright and not squeezed into a few levels."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from datamodules.base import DataError
from datamodules.components.images.decoded import Repair, to_uint8
from datamodules.components.images.dicom import is_dicom
from datamodules.components.images.image_io import decode_film, film_size, read_film
from datamodules.components.images.statistics import FilmStatistics, odd_films
from datamodules.phantom.card_formats import write_dicom

RAMP = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
DEEP = (RAMP.astype(np.uint16) * 8 + 1000).astype("<u2")


def write_tiff(path: Path, pixels: np.ndarray, photometric: int = 1, *more: tuple[int, int]) -> Path:
    """Write an uncompressed TIFF with the tags that a test needs, short ones in `more`."""
    height, width = pixels.shape
    data, bits = pixels.tobytes(), 8 * pixels.dtype.itemsize
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, len(data)), *((tag, 3, value) for tag, value in more)]
    content = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags))
    for tag, kind, value in sorted(tags):
        content += struct.pack("<HHII", tag, kind, 1, value)
    path.write_bytes(content + struct.pack("<I", 0))
    return path


def lut(values: np.ndarray, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), 0, bits], values.astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return item


def repairs(path: Path) -> set[Repair]:
    return set(decode_film(path).repairs)


def stored(path: Path, change: Callable[[np.ndarray], np.ndarray], **elements: object) -> Path:
    """Write a 12-bit film and change its stored words."""
    write_dicom(path, RAMP)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = change(dataset.pixel_array.copy()).astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("bits", [12, 16])
def test_a_voi_lut_is_scaled_by_its_largest_entry(bits: int, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[lut(np.arange(4096), bits)])
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 1
    assert repairs(tmp_path / "a.dcm") == ({Repair.LUT_SCALE} if bits == 16 else set())


def test_a_broken_voi_lut_gives_way_to_the_window(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, window=(2048, 4096), VOILUTSequence=[lut(np.arange(10), 9)])
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 1
    assert Repair.LUT in repairs(tmp_path / "a.dcm")


@pytest.mark.parametrize("window", [(-4000, 400), (40000, 100), (2048, 2)])
def test_a_window_that_clips_every_pixel_is_as_none(window: tuple[float, float], tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, window=window)
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 2
    assert repairs(tmp_path / "a.dcm") == {Repair.WINDOW}


def test_of_several_windows_the_first_that_shows_something_is_taken(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=["40000", "2048"], WindowWidth=["100", "4096"])
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("slope", ["0", "0.0"])
def test_a_slope_of_zero_is_as_none(slope: str, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=slope, RescaleIntercept="0")
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 2
    assert repairs(tmp_path / "a.dcm") == {Repair.SLOPE}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 65500])
def test_padding_is_black_and_has_no_say_in_the_window(photometric: str, limit: int | None, tmp_path: Path) -> None:
    def pad(words: np.ndarray) -> np.ndarray:
        words[:8] = 65535 if limit is None else 65500 + np.arange(8)[:, None]
        return words

    write_dicom(tmp_path / "plain.dcm", RAMP[8:], photometric=photometric)
    path = stored(tmp_path / "a.dcm", pad, BitsStored=16, HighBit=15, PhotometricInterpretation="MONOCHROME2")
    dataset = pydicom.dcmread(path)
    words = dataset.pixel_array.copy()
    words[8:] = 4095 - words[8:] if photometric == "MONOCHROME1" else words[8:]
    dataset.PhotometricInterpretation, dataset.PixelData = photometric, words.tobytes()
    dataset.add_new("PixelPaddingValue", "US", 65535 if limit is None else 65507)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", "US", limit)
    dataset.save_as(path)
    film = read_film(path)
    assert not film[:8].any()
    assert np.abs(film[8:].astype(int) - read_film(tmp_path / "plain.dcm")).max() <= 1
    assert repairs(path) == {Repair.PADDING}


def test_a_constant_border_that_is_not_declared_has_no_say_in_the_window_either() -> None:
    film = DEEP.copy()
    film[:8] = 65535
    assert np.abs(to_uint8(film)[8:].astype(int) - to_uint8(DEEP)[8:]).max() <= 1
    assert (to_uint8(film)[:8] == 255).all()
    marker = DEEP.copy()
    marker[10:14, 10:40] = 65535  # not along an edge: metal
    assert to_uint8(marker)[20, 128] < 20


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_padding(hole: float, tmp_path: Path) -> None:
    film = DEEP.astype("<f4")
    film[:8] = hole
    Image.fromarray(film).save(tmp_path / "a.tif")
    read = read_film(tmp_path / "a.tif")
    assert not read[:8].any()
    assert np.abs(read[8:].astype(int) - to_uint8(DEEP[8:])).max() <= 1


def test_overlay_bits_are_no_values(tmp_path: Path) -> None:
    def overlay(words: np.ndarray) -> np.ndarray:
        words[5:30, ::3] |= 0x8000
        return words

    assert np.abs(read_film(stored(tmp_path / "a.dcm", overlay)).astype(int) - RAMP).max() <= 2


def test_values_lie_where_high_bit_says_or_else_where_they_are(tmp_path: Path) -> None:
    shifted = stored(tmp_path / "a.dcm", lambda words: (words << 4) | 5, HighBit=15)
    assert np.abs(read_film(shifted).astype(int) - RAMP).max() <= 2
    assert repairs(shifted) == {Repair.HIGH_BIT}
    wrong = stored(tmp_path / "b.dcm", lambda words: words, HighBit=15)
    assert np.abs(read_film(wrong).astype(int) - RAMP).max() <= 2
    assert not repairs(wrong)


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "INVERSE")])
def test_an_inverse_presentation_lut_turns_a_film_round_once(photometric: str, shape: str, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, photometric=photometric, PresentationLUTShape=shape)
    expected = RAMP if photometric == "MONOCHROME1" else 255 - RAMP  # the phantom stores MONOCHROME1 turned round
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - expected).max() <= 2


@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_whose_white_is_zero_is_turned_round(deep: bool, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", 4095 - DEEP if deep else 255 - RAMP, 0)
    assert np.abs(read_film(path).astype(int) - (to_uint8(DEEP) if deep else RAMP)).max() <= 1
    assert repairs(path) == ({Repair.WHITE_IS_ZERO} if deep else set())
    upright = write_tiff(tmp_path / "b.tif", DEEP if deep else RAMP, 1)
    assert np.array_equal(read_film(path), read_film(upright))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_film_is_turned_as_its_exif_orientation_says(orientation: int, suffix: str, tmp_path: Path) -> None:
    shown = np.zeros((16, 32), np.uint8)
    shown[:8, :8], shown[:8, 8:16] = 220, 120
    turns = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM},
        **{5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
        8: Image.Transpose.ROTATE_270,
    }
    image, exif = Image.fromarray(shown), Image.Exif()
    exif[0x0112] = orientation
    image = image.transpose(turns[orientation]) if orientation > 1 else image
    path = tmp_path / f"a{suffix}"
    image.save(path, exif=exif, quality=100)
    assert np.abs(read_film(path).astype(int) - shown).max() <= 6
    assert film_size(path) == shown.shape
    assert np.abs(read_film(path, exif=False).astype(int) - np.array(image)).max() <= 6
    assert film_size(path, exif=False) == image.size[::-1]
    assert decode_film(path, exif=False).orientation == orientation
    assert repairs(path) == ({Repair.EXIF} if orientation > 1 else set())


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_s_own_orientation_is_always_followed(compression: str | None, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP).save(tmp_path / "a.tif", exif=exif, compression=compression)
    for followed in (True, False):
        assert np.array_equal(read_film(tmp_path / "a.tif", exif=followed), np.rot90(RAMP, -1))
        assert film_size(tmp_path / "a.tif", exif=followed) == (256, 40)


def test_a_tiff_of_several_pages_is_refused_and_one_with_a_reduced_copy_is_read(tmp_path: Path) -> None:
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP[:, ::2])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for read in (read_film, film_size):
        with pytest.raises(DataError, match=r"a\.tif .*several pages"):
            read(tmp_path / "a.tif")
    copy = Image.fromarray(RAMP[:, ::2])
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[copy])
    assert np.array_equal(read_film(tmp_path / "b.tif"), RAMP)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_16_bit_png_with_alpha_is_read(tmp_path: Path) -> None:
    pixels = np.stack([DEEP, np.full_like(DEEP, 7)], axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 256, 40, 16, 4, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert np.abs(read_film(tmp_path / "a.png").astype(int) - to_uint8(DEEP)).max() <= 1


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", ["a.dcm", "IM0001"])
def test_dicom_without_preamble_and_transfer_syntax_is_read(implicit: bool, name: str, tmp_path: Path) -> None:
    write_dicom(tmp_path / "whole.dcm", RAMP, spacing=(0.2, 0.3))
    raw = Dataset()
    raw.update({element.tag: element for element in pydicom.dcmread(tmp_path / "whole.dcm")})
    raw.save_as(tmp_path / name, implicit_vr=implicit, little_endian=True)
    assert is_dicom(tmp_path / name)
    assert np.array_equal(read_film(tmp_path / name), read_film(tmp_path / "whole.dcm"))


def test_a_picture_is_not_taken_for_dicom_nor_reverse(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    (tmp_path / "IM0001").write_bytes((tmp_path / "a.png").read_bytes())
    assert not is_dicom(tmp_path / "IM0001")
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(DataError, match=r"b\.dcm .*it is no DICOM file.*restore"):
        read_film(tmp_path / "b.dcm")


def statistics(path: Path) -> FilmStatistics:
    return FilmStatistics.of(decode_film(path))


def test_the_statistics_count_levels_flat_and_clipped_pixels(tmp_path: Path) -> None:
    film = np.full((20, 50), 90, np.uint8)
    film[:5], film[5:7], film[7, :10] = 0, 255, np.arange(100, 110)
    Image.fromarray(film).save(tmp_path / "a.png")
    found = statistics(tmp_path / "a.png")
    assert (found.levels, found.flat, found.clipped) == (13, 0.64, 0.35)
    assert found.mean == pytest.approx(film.mean(), abs=0.01)


@pytest.mark.parametrize(("film", "reason"), [(RAMP // 32, "8 grey levels"), (RAMP * 0, "1 grey level only")])
def test_films_that_show_nothing_are_named(film: np.ndarray, reason: str, tmp_path: Path) -> None:
    Image.fromarray(film).save(tmp_path / "a.png")
    Image.fromarray(RAMP).save(tmp_path / "b.png")
    (said,) = odd_films({"a": statistics(tmp_path / "a.png"), "b": statistics(tmp_path / "b.png")})
    assert said.startswith("a: ")
    assert reason in said


@pytest.mark.parametrize("inverted", [0, 1, 4])
def test_films_of_the_rarer_polarity_are_named(inverted: int, tmp_path: Path) -> None:
    films = {}
    for index in range(10):
        noise = np.random.default_rng(index).integers(-20, 20, RAMP.shape)
        film = np.clip(RAMP[:, ::-1] * 0.5 + 60 + noise, 0, 255).astype(np.uint8)
        Image.fromarray(255 - film if index < inverted else film).save(tmp_path / f"{index}.png")
        films[f"film{index}"] = statistics(tmp_path / f"{index}.png")
    named = [said.partition(":")[0] for said in odd_films(films)]
    assert named == [f"film{index}" for index in range(inverted)]


def claim(path: Path, width: int, height: int) -> None:
    """Write a small file of the path's format whose header claims a size."""
    if path.suffix == ".png":
        chunks = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        bomb = zlib.compress(bytes(10**6))
        content = b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b"")
    elif path.suffix == ".jpg":
        Image.fromarray(RAMP).save(path)
        content = path.read_bytes()
        at = content.index(b"\xff\xc0") + 5
        content = content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]
    elif path.suffix == ".bmp":
        Image.fromarray(RAMP).save(path)
        content = path.read_bytes()
        content = content[:18] + struct.pack("<ii", width, height) + content[26:]
    elif path.suffix == ".tif":
        content = write_tiff(path, RAMP).read_bytes()
        for tag, value in ((256, width), (257, height), (278, height)):
            start = content.index(entry := struct.pack("<HHI", tag, 4, 1)) + len(entry)
            content = content[:start] + struct.pack("<I", value) + content[start + 4 :]
    elif path.suffix == ".mha":
        header = f"ObjectType = Image\nNDims = 2\nDimSize = {width} {height}\nElementType = MET_UCHAR\n"
        content = f"{header}CompressedData = True\nElementDataFile = LOCAL\n".encode() + zlib.compress(bytes(10**6))
    else:
        write_dicom(path, RAMP, bits=8)
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = height, width
        dataset.save_as(path)
        return
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".mha", ".dcm"])
def test_a_header_that_claims_a_huge_film_is_a_sentence_before_anything_is_decoded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    claim(path, 60_000, 60_000)
    for read in (film_size, read_film):
        with pytest.raises(DataError, match=rf"a\{suffix} cannot be read .*pixels"):
            read(path)
    claim(path, 256, 40)
    assert film_size(path) == (40, 256)


def test_a_deflated_dicom_is_read_unless_it_inflates_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "b.dcm")
    assert np.array_equal(read_film(tmp_path / "b.dcm"), read_film(tmp_path / "a.dcm"))
    monkeypatch.setattr("datamodules.components.images.dicom.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"b\.dcm .*inflates to more"):
        read_film(tmp_path / "b.dcm")


def test_an_mha_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(16))
    header = "ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = secret.raw\n"
    (tmp_path / "a.mha").write_text(header)
    with pytest.raises(DataError, match=r"a\.mha .*another file"):
        read_film(tmp_path / "a.mha")
