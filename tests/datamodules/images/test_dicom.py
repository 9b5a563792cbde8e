"""DICOM films: grey as a viewer shows it, millimetres in the right order, and nothing made up."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, dicom_text
from datamodules.components.images.image_io import film_size, read_film
from datamodules.phantom.card_formats import write_dicom

RAMP = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
Elements = dict[str, object]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_white_is_white_whatever_the_bits_and_the_photometric_interpretation(
    bits: int, photometric: str, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, bits=bits, photometric=photometric)
    film = read_film(tmp_path / "a.dcm").astype(int)
    assert film_size(tmp_path / "a.dcm") == film.shape == (40, 256)
    assert np.abs(film - RAMP).max() <= (0 if bits == 8 else 2)  # deep films are scaled by their percentiles


def window(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, with 0 and 255 as the ends of the output."""
    inner = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return np.where(values <= low, 0, np.where(values > high, 255, inner)).round()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_is_applied_after_the_rescale(photometric: str, tmp_path: Path) -> None:
    rescale: Elements = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    write_dicom(tmp_path / "a.dcm", RAMP, photometric=photometric, window=(3000, 2000), **rescale)
    stored = pydicom.dcmread(tmp_path / "a.dcm").pixel_array * 2.0 - 100
    expected = window(stored, 3000, 2000)
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    assert np.abs(read_film(tmp_path / "a.dcm") - expected).max() <= 1


def test_a_voi_lut_is_applied(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 12], [int((i / 4095) ** 2 * 4095) for i in range(4096)]
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
    write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[lut])
    expected = (RAMP / 255.0) ** 2 * 255
    assert np.abs(read_film(tmp_path / "a.dcm") - expected).max() < 1.5


@pytest.mark.parametrize("broken", [("2000", "0"), ("2000", "-4")])
def test_a_window_without_width_is_as_none(broken: tuple[str, str], tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=broken[0], WindowWidth=broken[1])
    assert np.abs(read_film(tmp_path / "a.dcm").astype(int) - RAMP).max() <= 2


def test_spacing_is_x_then_y_though_dicom_has_rows_first(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, spacing=(0.2, 0.3))
    assert list(pydicom.dcmread(tmp_path / "a.dcm").PixelSpacing) == [0.3, 0.2]
    assert dicom_spacing(tmp_path / "a.dcm") == (0.2, 0.3)


@pytest.mark.parametrize("elements", [{}, {"PixelSpacing": ["0", "0"]}, {"PixelSpacing": ["0.1", "0"]}])
def test_a_missing_or_zero_spacing_stays_unknown_and_the_imagers_is_not_taken_for_it(
    elements: Elements, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, ImagerPixelSpacing=["0.15", "0.14"], **elements)
    assert np.isnan(dicom_spacing(tmp_path / "a.dcm")).all()
    assert dicom_spacing(tmp_path / "a.dcm", "ImagerPixelSpacing") == (0.14, 0.15)


def test_jpeg_2000_is_decoded_without_loss(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, bits=8)
    dataset, encoded = pydicom.dcmread(tmp_path / "a.dcm"), io.BytesIO()
    Image.fromarray(RAMP).save(encoded, "JPEG2000", irreversible=False, no_jp2=True)
    dataset.PixelData = encapsulate([encoded.getvalue()])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "a.dcm")
    assert np.array_equal(read_film(tmp_path / "a.dcm"), RAMP)


def test_a_compression_without_a_decoder_is_a_sentence_with_the_cure(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, bits=8)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.PixelData = encapsulate([b"\xff\xd8no jpeg-ls here"])
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"JPEG-LS .*pylibjpeg"):
        read_film(tmp_path / "a.dcm")


def test_several_frames_and_files_without_an_image_are_refused(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, NumberOfFrames=3)
    with pytest.raises(DataError, match="3 frames"):
        film_size(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"no dicom")
    with pytest.raises(DataError, match=r"b\.dcm"):
        read_film(tmp_path / "b.dcm")


def test_a_file_without_suffix_is_known_by_its_mark(tmp_path: Path) -> None:
    write_dicom(tmp_path / "IM0001", RAMP, bits=8, patient="P7")
    assert np.array_equal(read_film(tmp_path / "IM0001"), RAMP)
    assert dicom_text(tmp_path / "IM0001", "PatientID") == "P7"
    assert dicom_text(tmp_path / "IM0001", "StudyID") == ""


def test_a_value_that_pydicom_cannot_convert_is_as_none(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, bits=8, spacing=(0.2, 0.2))
    content = (tmp_path / "a.dcm").read_bytes()
    at = content.index(b"\x28\x00\x30\x00DS") + 4
    (tmp_path / "a.dcm").write_bytes(content[:at] + b"D\0" + content[at + 2 :])  # found by `make fuzz`
    assert np.isnan(dicom_spacing(tmp_path / "a.dcm")).all()
