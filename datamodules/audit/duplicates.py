"""Films that show the same radiograph, or the same patient, found by hashes and told apart by registration.

1. Every film gets a `FilmSignature`: its local contrast at 320 px, which survives another window or exposure;
   perceptual hashes (pHash) of it and of its parts, which survive cropping, and of their mirror images; SIFT features.
2. Candidates are the films whose hashes are nearest, as they are, inverted, mirrored, or both.
3. A candidate's features are matched and an affine is fitted by RANSAC; then the local contrast of the overlap is
   correlated. Both numbers together say what the two films have in common.

Labels take no part in it. The limits were chosen on AASCE (609 films) and ISBI 2015 (400 films), where every pair near
them was looked at, and so are fitted there. On these two sets the 68 pairs of one film correlate at .87 or more and fit
to .21 px or better; pairs of one patient, taken anew, at .81 or less and .53 px or worse. Films of one patient in one
holder share 52 features or more that are not where they were, films of two patients at most 36, but drawn phantoms up
to 48. Limits lie in between. Phantoms with planted duplicates, in the tests, had no say in what one film is.

The hashes often miss a film that is cropped by more than 15 % at a side, and a new exposure of the same patient: what
is not listed may still be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import cv2
import imagehash
import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import Image

from datamodules.components.transforms import Affine, transform_points

SIDE = 320
"""Pixels of the longer side of the copy by which films are compared."""
SPREAD = 10.0
"""Pixels (standard deviation) over which local mean and contrast are taken."""
HASH_SIZE = 12
NEAREST = 20
"""Candidates of each film; the known pairs are among the first 5, re-cropped films of tests among the first 20."""
FEATURES = 300
REPROJECTION = 3.0
"""Pixels by which a matched feature may miss the affine."""
STILL = 3.0
"""Pixels: features that moved less may be of the holder or the table, which is in the same place in every film."""
FEWEST = 20
"""Matched features without which an affine is chance."""
STRETCH = 2.5
"""Largest ratio of scales between two signatures, in any direction."""
SMALLEST_OVERLAP = 0.3
SAME_FILM = 0.84
"""Correlation of the overlap from which on two films are one exposure."""
EXACT_FIT = 0.35
"""Pixels. A film that was rendered or compressed heavily correlates less, but half of its matches still fit to a third
of a pixel, as those of a patient who has breathed do not."""
SAME_PATIENT = 50
"""Matched features that moved, of `FEATURES`, from which on two exposures are of one patient."""
ALIKE = 0.6
"""Correlation without which neither a fit nor features make two films belong together."""

TRIMS = tuple(
    (left, right, top, bottom)
    for left, right in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1))
    for top, bottom in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1))
)
"""Shares that are cut off left, right, top and bottom for a film's hashes."""

Relation = Literal["same film", "same patient"]


class FilmSignature(NamedTuple):
    """What is kept of a film to compare it with others.

    Attributes:
        image: The film, `SIDE` px long.
        detail: Its local contrast, 128 where there is none.
        hashes: pHash bits of the parts that `TRIMS` leaves, of the film and of its mirror image.
        points: (x, y) of its features.
        descriptors: Their SIFT descriptors.
    """

    image: UInt8[np.ndarray, "height width"]
    detail: UInt8[np.ndarray, "height width"]
    hashes: Bool[np.ndarray, "2 part bit"]
    points: Float32[np.ndarray, "feature 2"]
    descriptors: UInt8[np.ndarray, "feature 128"]


class Symmetry(NamedTuple):
    """How the first film of a pair is turned to look like the second."""

    inverted: bool = False
    mirrored: bool = False


SYMMETRIES = tuple(Symmetry(inverted, mirrored) for mirrored in (False, True) for inverted in (False, True))


class DuplicatePair(NamedTuple):
    """Two films that belong together.

    Attributes:
        first: Index of a film.
        second: Index of a later film.
        symmetry: How the first film is shown in the second.
        affine: From pixels of the first copy of 320 px to pixels of the second.
        correlation: Of the local contrast of the two films where they overlap, 1 for the same.
        overlap: Share of the film that covers less of the patient which the other one shows too.
        shared: Features that both films have in the same places.
        matched: Features of both films that are most like each other, wherever they are.
        moved: The shared ones that are not where they were on the film.
        misfit: Median distance in pixels of the signatures between shared features and where the affine puts them.
    """

    first: int
    second: int
    symmetry: Symmetry
    affine: Affine
    correlation: float
    overlap: float
    shared: int
    matched: int
    moved: int
    misfit: float

    @property
    def relation(self) -> Relation | None:
        """What the films have in common; None for no more than films of two patients."""
        if self.correlation < ALIKE:
            return None
        exact = self.misfit <= EXACT_FIT and self.shared >= self.matched / 2
        if exact or self.correlation >= SAME_FILM:
            return "same film"
        return "same patient" if self.moved >= SAME_PATIENT else None


def signature_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the copy by which a film of `size` is compared.

    Example:
        >>> signature_size((2400, 1200))
        (320, 160)
    """
    height, width = (max(1, round(side * SIDE / max(size))) for side in size)
    return height, width


def sign_film(image: UInt8[np.ndarray, "height width"]) -> FilmSignature:
    """Return the signature of a film that has been resized to its `signature_size`."""
    detail = local_contrast(image)
    hashes = [[_phash(_trim(side, *trim)) for trim in TRIMS] for side in (detail, detail[:, ::-1])]
    sift = cv2.SIFT.create(nfeatures=FEATURES, enable_precise_upscale=True)
    keypoints, descriptors = sift.detectAndCompute(detail, None)
    points = np.array([point.pt for point in keypoints], np.float32).reshape(-1, 2)
    described = np.zeros((0, 128), np.uint8) if descriptors is None else descriptors.round().astype(np.uint8)
    return FilmSignature(image, detail, np.array(hashes), points, described)


def local_contrast(image: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Return how far each pixel is above or below its surroundings, in units of their contrast; 128 is level.

    Windowing and exposure change brightness and contrast slowly over the film and so hardly change this.
    """
    film = image.astype(np.float32)
    above = film - cv2.GaussianBlur(film, (0, 0), SPREAD)
    contrast = np.sqrt(cv2.GaussianBlur(above * above, (0, 0), SPREAD))
    return np.asarray(np.clip(128 + 42 * above / (contrast + 2), 0, 255), np.uint8)


def find_pairs(signatures: Sequence[FilmSignature]) -> list[DuplicatePair]:
    """Return all pairs of films that show the same exposure or the same patient, by index."""
    with ThreadPoolExecutor() as pool:
        compared = pool.map(lambda c: compare(signatures[c[0]], signatures[c[1]], c), candidates(signatures))
        return [pair for pair in compared if pair is not None and pair.relation]


def candidates(signatures: Sequence[FilmSignature], nearest: int = NEAREST) -> list[tuple[int, int, Symmetry]]:
    """Return the pairs (first, second, symmetry) of which one is among the `nearest` of the other by their hashes."""
    bits = np.where(np.array([signature.hashes for signature in signatures]), 1, -1).astype(np.float32)
    found = set()
    for start in range(0, len(signatures), 16):
        agreement = _agreement(bits[start : start + 16, 0], bits)
        best, symmetry = agreement.max(axis=0), agreement.argmax(axis=0)
        for row, index in enumerate(range(start, start + len(best))):
            best[row, index] = -np.inf
            order = np.argsort(-best[row], kind="stable")[: min(nearest, len(signatures) - 1)]
            found |= {(min(index, int(j)), max(index, int(j)), SYMMETRIES[symmetry[row, j]]) for j in order}
    return sorted(found)


def _agreement(
    some: Float32[np.ndarray, "some part bit"], all_: Float32[np.ndarray, "film 2 part bit"]
) -> Float32[np.ndarray, "4 some film"]:
    """Return how well the best parts of two films agree, from -1 to 1, in each of `SYMMETRIES`.

    An inverted film has the opposite bits: a pHash bit says whether a frequency is above the median, which is near 0.
    """
    films, _, parts, bits = all_.shape
    agreements = []
    for mirrored in (0, 1):
        product = some.reshape(-1, bits) @ all_[:, mirrored].reshape(-1, bits).T / bits
        grid = product.reshape(len(some), parts, films, parts)
        agreements += [grid.max(axis=(1, 3)), -grid.min(axis=(1, 3))]
    return np.stack(agreements)


def compare(first: FilmSignature, second: FilmSignature, candidate: tuple[int, int, Symmetry]) -> DuplicatePair | None:
    """Register two films and correlate them.

    Args:
        first: A film.
        second: Another one.
        candidate: Their indices, and how the first is turned to look like the second.

    Returns:
        The pair, whatever its kind; None where too little fits to register the two.
    """
    here, there = _matched(first, second, candidate[2])
    if len(here) < FEWEST:
        return None
    affine, inliers = cv2.estimateAffine2D(here, there, ransacReprojThreshold=REPROJECTION)
    if affine is None or inliers.sum() < FEWEST or not _plausible(affine):
        return None
    kept = inliers.ravel().astype(bool)
    here, there = here[kept], there[kept]
    misfit = float(np.median(np.linalg.norm(transform_points(affine, here) - there, axis=1)))
    moved = int((np.linalg.norm(here - there, axis=1) > STILL).sum())
    correlation, overlap = _correlate(first.detail, second.detail, affine)
    sign = -1 if candidate[2].inverted else 1
    return DuplicatePair(*candidate, affine, sign * correlation, overlap, len(here), len(kept), moved, misfit)


def _matched(
    first: FilmSignature, second: FilmSignature, symmetry: Symmetry
) -> tuple[Float32[np.ndarray, "match 2"], Float32[np.ndarray, "match 2"]]:
    """Return where the features lie that are each other's nearest."""
    if not len(first.points) or not len(second.points):
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    here, there = _unit(first.descriptors[:, _order(symmetry)]), _unit(second.descriptors)
    # OpenCV's product: each of many threads that calls BLAS would start more of them and wait for them in a loop
    nothing = np.zeros((len(here), len(there)), np.float32)
    similarity = np.asarray(cv2.gemm(here, there, 1, nothing, 0, flags=cv2.GEMM_2_T))
    best, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    mutual = back[best] == np.arange(len(best))
    return first.points[mutual], second.points[best[mutual]]


def _unit(descriptors: UInt8[np.ndarray, "feature 128"]) -> Float32[np.ndarray, "feature 128"]:
    numbers = descriptors.astype(np.float32)
    return np.asarray(numbers / np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1))


def _order(symmetry: Symmetry) -> Int[np.ndarray, " 128"]:
    """Return the order that makes a descriptor (row, column, direction) that of the inverted or mirrored film.

    Inverting turns all gradients and so a feature's own direction by half a turn, which turns its rows and columns
    round; mirroring turns its rows round and its directions the other way.
    """
    grid = np.arange(128).reshape(4, 4, 8)
    if symmetry.inverted:
        grid = grid[::-1, ::-1]
    if symmetry.mirrored:
        grid = grid[::-1, :, -np.arange(8) % 8]
    return grid.ravel()


def _plausible(affine: Affine) -> bool:
    """Whether an affine is what cropping, scaling, turning and mirroring a film may come to."""
    large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
    return bool(large < STRETCH and small > 1 / STRETCH)


def _correlate(
    first: UInt8[np.ndarray, "h1 w1"], second: UInt8[np.ndarray, "h2 w2"], affine: Affine
) -> tuple[float, float]:
    """Return (correlation, overlap) of two signatures; no correlation where the overlap is small."""
    moved, both = align(second, affine, first.shape)
    covered = min(first.size, second.size / abs(np.linalg.det(affine[:, :2])))
    overlap = min(1.0, float(both.sum() / covered))
    if overlap < SMALLEST_OVERLAP:
        return 0.0, overlap
    a, b = first[both].astype(np.float32), moved[both].astype(np.float32)
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a * a).sum() * (b * b).sum())  # not `@`, which is BLAS: see `_matched`
    return float((a * b).sum() / max(float(spread), 1e-6)), overlap


def align(
    second: UInt8[np.ndarray, "h2 w2"], affine: Affine, size: tuple[int, ...]
) -> tuple[UInt8[np.ndarray, "h1 w1"], Bool[np.ndarray, "h1 w1"]]:
    """Return the second film as the first film shows it, and where it has anything to show."""
    whole = np.full(second.shape, 255, np.uint8)
    moved, covered = (
        cv2.warpAffine(image, affine, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        for image in (second, whole)
    )
    return np.asarray(moved, np.uint8), np.asarray(covered == 255)


def _trim(
    image: UInt8[np.ndarray, "height width"], left: float, right: float, top: float, bottom: float
) -> UInt8[np.ndarray, "h w"]:
    height, width = image.shape
    return image[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def _phash(image: UInt8[np.ndarray, "height width"]) -> Bool[np.ndarray, " bit"]:
    small = cv2.resize(image, (4 * HASH_SIZE, 4 * HASH_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(imagehash.phash(Image.fromarray(small), hash_size=HASH_SIZE).hash.ravel())
