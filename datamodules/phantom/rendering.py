"""Physics and appearance shared by the procedural radiographs.

A film is built as a map of optical depth (attenuation integrated along the beam), one anatomical part after another:
soft tissue adds little, spongy bone more, its cortical shell most along the outline, gas takes away.
`Radiograph.develop` then exposes that map: Beer-Lambert transmission, scatter, quantum noise, film response.

All coordinates are (x, y) pixels, x right, y down, pixel centres at integers. Optical depths are unitless; useful
values are .5-1.5 for the body, .05-.2 for a rib, .2-.6 for a vertebra or a skull, 2-4 for metal, negative for gas.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.interpolate import CubicSpline

_SHIFT = 6  # sub-pixel bits of OpenCV's integer coordinates
_MASK_PIXELS = 40_000  # a larger shape is drawn with fewer sub-pixels

Points = Float[np.ndarray, "points 2"]
Map = Float32[np.ndarray, "height width"]
Window = tuple[slice, slice]
# From a sub-pixel mask and (on demand, it costs) each sub-pixel's distance from the outline to optical depth.
Profile = Callable[[Map, Callable[[], Map]], Map]


class PhantomFilm(NamedTuple):
    """One finished radiograph with its exact landmarks.

    Attributes:
        image: grey values, uint8 of shape (height, width).
        points: landmarks, (x, y) pixels, float64 of shape (landmark, 2).
        inverted: True where bone is dark on a bright ground.
    """

    image: UInt8[np.ndarray, "height width"]
    points: Float[np.ndarray, "landmark 2"]
    inverted: bool


# --- geometry ---------------------------------------------------------------------------------------------------------


def spline(knots: Points, samples: int, *, closed: bool = False) -> Points:
    """Sample a cubic spline through `knots`, shape (knots, 2), at `samples` even parameters.

    The parameter grows by one from knot to knot, so knots should lie at similar distances. A closed spline returns to
    its first knot; that point is not repeated in the output.
    """
    knots = np.asarray(knots, dtype=np.float64)
    return np.asarray(_spline_weights(len(knots), samples, closed) @ knots)


@lru_cache(maxsize=512)
def _spline_weights(knots: int, samples: int, closed: bool) -> Float[np.ndarray, "samples knots"]:
    """Weights of the knots in each sample: a spline is linear in its knots, and these are used again and again."""
    unit = np.eye(knots)
    if closed:
        unit = np.concatenate([unit, unit[:1]])
    curve = CubicSpline(np.arange(len(unit)), unit, bc_type="periodic" if closed else "natural")
    return np.asarray(curve(np.linspace(0.0, len(unit) - 1, samples, endpoint=not closed)))


def tangents(curve: Points) -> Points:
    """Unit tangents of a sampled curve."""
    step = np.diff(curve, axis=0)
    middle = np.concatenate([step[:1], step[1:] + step[:-1], step[-1:]])
    return np.asarray(middle / np.maximum(np.hypot(middle[:, 0], middle[:, 1]), 1e-9)[:, None])


def rotation(degrees: float) -> Float[np.ndarray, "2 2"]:
    """Matrix R that turns column vectors by `degrees`, clockwise on the screen because y points down."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def transform(points: Points, centre: Points, *, degrees: float = 0.0, scale: float = 1.0) -> Points:
    """Move a shape given around the origin: scale it, turn it, put its origin at `centre`."""
    return np.asarray(np.asarray(points, dtype=np.float64) * scale @ rotation(degrees).T + np.asarray(centre))


def ellipse(
    centre: Points | tuple[float, float],
    semi_axes: tuple[float, float],
    *,
    degrees: float = 0.0,
    power: float = 2.0,
    samples: int = 40,
) -> Points:
    """Outline of a superellipse; `power` 2 is an ellipse, 4 a rounded rectangle."""
    angle = np.linspace(0.0, 2 * np.pi, samples, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    unit = np.sign(unit) * np.abs(unit) ** (2.0 / power)
    return transform(unit * np.asarray(semi_axes), np.asarray(centre), degrees=degrees)


# --- masks ------------------------------------------------------------------------------------------------------------


def smooth_noise(rng: np.random.Generator, height: int, width: int, sigma: float) -> Map:
    """Gaussian noise field of unit deviation, correlated over `sigma` pixels, drawn on a coarse grid for speed."""
    step = max(1.0, sigma / 1.5)
    coarse = rng.standard_normal((max(3, round(height / step) + 2), max(3, round(width / step) + 2)), dtype=np.float32)
    wave = cv2.GaussianBlur(coarse, (0, 0), max(sigma / step, 0.3))
    field = cv2.resize(wave, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)


def blur(image: Map, sigma: float) -> Map:
    """Gaussian blur; a wide one is computed on a reduced copy."""
    if sigma <= 0.2:
        return image
    if sigma < 6:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)
    factor = 3.0 / sigma
    height, width = image.shape
    size = (max(4, round(width * factor)), max(4, round(height * factor)))
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 3.0)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _fixed(points: Points, origin: tuple[int, int], factor: int) -> np.ndarray:
    """OpenCV fixed-point coordinates of `points` on a grid with `factor` sub-pixels that starts at pixel `origin`."""
    moved = (np.asarray(points) - np.asarray(origin) + 0.5) * factor - 0.5
    return np.asarray(np.rint(moved * (1 << _SHIFT)), dtype=np.int32)


def _fill(grid: np.ndarray, at: np.ndarray) -> None:
    cv2.fillPoly(grid, [at], 1, 8, _SHIFT)


def _shell(cortex: float, medulla: float, rim: float) -> Profile:
    """Depth profile of a cortical shell as a function of the distance from the outline."""

    def profile(mask: Map, measure: Callable[[], Map]) -> Map:
        if cortex == 0:
            return np.asarray(mask * np.float32(medulla))
        shell = cv2.exp(measure() * np.float32(-1 / max(rim, 0.05)))
        return np.asarray(mask * (medulla + cortex * shell), dtype=np.float32)

    return profile


class Radiograph:
    """Optical depth of an anatomy on a film of `height` x `width` pixels, and its development into grey values.

    Every `add_*` method adds to `depth`, takes (x, y) pixel coordinates that may lie outside of the film, and returns
    nothing. Sizes such as blur radii are in pixels: multiply by `unit` (= height / 512) to be independent of the size.

    Args:
        height: film height in pixels.
        width: film width in pixels.
        rng: source of every random choice; the same state gives the same film.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width, self.rng = height, width, rng
        self.unit = height / 512
        self.depth: Map = np.zeros((height, width), dtype=np.float32)
        fine = smooth_noise(rng, height, width, 0.9 * self.unit)
        coarse = smooth_noise(rng, height, width, 3.0 * self.unit)
        self.trabeculae: Map = (0.6 * fine + 0.5 * coarse).astype(np.float32)

    def add_polygon(self, outline: Points, depth: float, *, soft: float = 0.0) -> None:
        """Add a region of constant `depth`; `soft` blurs its edge (sigma in pixels)."""
        self._add(outline, soft, lambda mask, _: mask * np.float32(depth))

    def add_round(self, outline: Points, depth: float, *, soft: float = 0.0, edge: float | None = None) -> None:
        """Add a body that is `depth` thick in the middle and thins to its outline like a lens.

        `edge` is the distance in pixels over which the thickness rises; by default the shape's own half width.
        """

        def profile(mask: Map, measure: Callable[[], Map]) -> Map:
            distance = measure()
            reach = max(float(distance.max()) if edge is None else edge, 1e-3)
            inner = 1.0 - np.minimum(distance / reach, 1.0)
            return np.asarray(mask * depth * np.sqrt(np.maximum(1.0 - inner * inner, 0.0)), dtype=np.float32)

        self._add(outline, soft, profile)

    def add_bone(
        self,
        outline: Points,
        *,
        cortex: float,
        medulla: float,
        rim: float,
        texture: float = 0.15,
        soft: float = 0.0,
    ) -> None:
        """Add a bone: a cortical shell, brightest along the outline, around a darker spongy interior.

        Args:
            outline: closed polygon, shape (points, 2).
            cortex: extra optical depth at the outline; it fades over `rim` pixels inwards.
            medulla: optical depth of the interior.
            rim: thickness of the shell in pixels.
            texture: strength of the trabecular pattern relative to `medulla`.
            soft: blur of the whole bone (sigma in pixels), for bones far from the film.
        """
        self._add(outline, soft, _shell(cortex, medulla, rim), texture=texture)

    def add_tube(
        self,
        centreline: Points,
        radius: float | Float[np.ndarray, " points"],
        *,
        cortex: float = 0.0,
        medulla: float,
        rim: float = 1.0,
        texture: float = 0.15,
        soft: float = 0.0,
    ) -> None:
        """Add a long bone, rib, rod or vessel: a thick curve with round ends; see `add_bone` for the depths.

        Args:
            centreline: sampled curve, shape (points, 2).
            radius: half width in pixels, one number or one per point (tapering).
            cortex: extra depth along the two edges; 0 gives a plain rod.
            medulla: depth of the interior.
            rim: thickness of the shell in pixels.
            texture: strength of the trabecular pattern relative to `medulla`.
            soft: blur of the whole (sigma in pixels).
        """
        centreline = np.asarray(centreline, dtype=np.float64)
        radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(centreline))
        along = tangents(centreline)
        side = np.stack([-along[:, 1], along[:, 0]], axis=1) * radii[:, None]
        left, right = centreline + side, centreline - side

        def draw(grid: np.ndarray, at: np.ndarray) -> None:
            one, two = at[: len(at) // 2], at[len(at) // 2 :]
            for quad in np.stack([one[:-1], one[1:], two[1:], two[:-1]], axis=1):
                cv2.fillConvexPoly(grid, quad, 1, 8, _SHIFT)
            for i in (0, len(one) - 1):
                middle = (one[i] + two[i]) // 2
                cv2.circle(grid, tuple(map(int, middle)), int(np.linalg.norm(one[i] - middle)), 1, -1, 8, _SHIFT)

        outline = np.concatenate([left, right])
        self._add(outline, soft, _shell(cortex, medulla, rim), draw, texture=texture, margin=float(radii.max()))

    def add_ellipse(
        self,
        centre: Points | tuple[float, float],
        semi_axes: tuple[float, float],
        depth: float,
        *,
        degrees: float = 0.0,
        soft: float = 0.0,
        rounded: bool = True,
    ) -> None:
        """Add an ellipsoid (`rounded`, thick in the middle) or a flat elliptical disc of optical depth `depth`."""
        outline = ellipse(centre, semi_axes, degrees=degrees)
        if rounded:
            self.add_round(outline, depth, soft=soft)
        else:
            self.add_polygon(outline, depth, soft=soft)

    def add_line(self, curve: Points, depth: float, *, thickness: float = 1.0, soft: float = 0.0) -> None:
        """Add a thin line such as an end plate seen edge-on or a skull suture; `thickness` in pixels."""
        self.add_tube(curve, thickness / 2, medulla=depth, texture=0.0, soft=soft)

    def add_field(self, field: Map) -> None:
        """Add a full-size map (height, width), e.g. mottled soft tissue made by `smooth_noise`."""
        self.depth += field

    def add_gradient(self, down: float, right: float = 0.0) -> None:
        """Add a linear ramp of optical depth: `down` from top to bottom and `right` from left to right."""
        self.depth += np.linspace(0, down, self.height, dtype=np.float32)[:, None]
        self.depth += np.linspace(0, right, self.width, dtype=np.float32)[None, :]

    def develop(
        self,
        *,
        inverted: bool = False,
        photons: float = 4e3,
        scatter: float = 0.25,
        unsharpness: float = 0.5,
        window: tuple[float, float] = (1.0, 99.5),
        gamma: float = 1.0,
        black: float = 0.03,
        white: float = 0.97,
        enhance: float = 0.0,
    ) -> UInt8[np.ndarray, "height width"]:
        """Expose and develop the film.

        Args:
            inverted: True shows bone dark on bright.
            photons: photons per pixel in the open beam; fewer are noisier, most of all behind thick tissue.
            scatter: scattered fraction of the beam, which veils dense regions.
            unsharpness: blur of the focal spot, sigma in pixels of a 512 px high film.
            window: percentiles of the developed density that become black and white.
            gamma: exponent of the film response; above 1 darkens the middle.
            black: grey value of the window's lower end, 0..1.
            white: grey value of the window's upper end, 0..1.
            enhance: strength of the edge enhancement that computed radiography applies (0 is none).

        Returns:
            Grey values, uint8 of shape (height, width), before collimation (see `collimate`) and marker (`mark`).
        """
        transmitted = cv2.exp(-np.maximum(blur(self.depth, unsharpness * self.unit), 0.0))
        signal = transmitted + scatter * blur(transmitted, 24 * self.unit)
        noise = self.rng.standard_normal(signal.shape, dtype=np.float32)
        signal += blur(noise, 0.45) * np.sqrt(signal / photons)
        density = -np.log(np.maximum(signal, 1e-4))
        if enhance > 0:
            density += enhance * (density - blur(density, 6 * self.unit))
        low, high = np.percentile(density[::4, ::4], window)
        grey = np.clip((density - low) / max(float(high - low), 1e-3), 0.0, 1.2)
        grey = black + (white - black) * grey**gamma
        image = np.clip(grey * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return np.asarray(255 - image if inverted else image, dtype=np.uint8)

    def _window(self, outline: Points, margin: float) -> Window | None:
        """Rows and columns of the film that a shape can touch, or None where it lies outside."""
        (left, top), (right, bottom) = outline.min(axis=0) - margin, outline.max(axis=0) + margin
        x0, y0 = max(int(left), 0), max(int(top), 0)
        x1, y1 = min(int(right) + 2, self.width), min(int(bottom) + 2, self.height)
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def _add(
        self,
        outline: Points,
        soft: float,
        profile: Profile,
        draw: Callable[[np.ndarray, np.ndarray], None] = _fill,
        *,
        texture: float = 0.0,
        margin: float = 0.0,
    ) -> None:
        """Draw a shape on a sub-pixel grid, give it its depth profile, and add it anti-aliased."""
        outline = np.asarray(outline, dtype=np.float64)
        window = self._window(outline, 2 + margin + 3 * soft)
        if window is None:
            return
        rows, columns = window
        height, width = rows.stop - rows.start, columns.stop - columns.start
        finest, coarsest = (2, 1) if soft > 0.3 else (4, 2)
        factor = min(max(round((_MASK_PIXELS / (height * width)) ** 0.5), coarsest), finest)
        grid = np.zeros((height * factor, width * factor), dtype=np.uint8)
        draw(grid, _fixed(outline, (columns.start, rows.start), factor))
        mask, scale = grid.astype(np.float32), np.float32(1 / factor)
        part = profile(mask, lambda: np.asarray(cv2.distanceTransform(grid, cv2.DIST_L2, 3) * scale))
        part = blur(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), soft)
        self.depth[window] += part if texture == 0 else part * (1 + texture * self.trabeculae[window])


# --- what a technician adds -------------------------------------------------------------------------------------------


def collimate(
    image: UInt8[np.ndarray, "height width"],
    margins: tuple[float, float, float, float],
    *,
    grey: int = 0,
    soft: float = 1.0,
) -> UInt8[np.ndarray, "height width"]:
    """Cover the film's border as the collimator's blades do.

    Args:
        image: grey values, (height, width).
        margins: covered widths in pixels: left, top, right, bottom; 0 leaves that side open.
        grey: value of the covered border.
        soft: blur of the blades' edge, sigma in pixels.
    """
    height, width = image.shape
    left, top, right, bottom = margins
    across = _blade(width, left, soft) * _blade(width, right, soft)[::-1]
    down = _blade(height, top, soft) * _blade(height, bottom, soft)[::-1]
    open_beam = down[:, None] * across[None, :]
    return np.asarray(image * open_beam + grey * (1 - open_beam) + 0.5, dtype=np.uint8)


def _blade(size: int, margin: float, soft: float) -> Float32[np.ndarray, " size"]:
    if margin <= 0:
        return np.ones(size, dtype=np.float32)
    return np.asarray(np.clip((np.arange(size) - margin) / max(2 * soft, 0.5) + 0.5, 0.0, 1.0), dtype=np.float32)


def mark(
    image: UInt8[np.ndarray, "height width"],
    text: str,
    position: tuple[float, float],
    *,
    size: float,
    grey: int = 250,
) -> UInt8[np.ndarray, "height width"]:
    """Stamp a lead marker such as "L" at `position` (x, y of its lower left corner); `size` is its height in pixels."""
    scale = size / 21  # the Hershey capitals are 21 px high at scale 1
    origin = (round(position[0]), round(position[1]))
    stamped = image.copy()
    cv2.putText(stamped, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, grey, max(1, round(size / 6)), cv2.LINE_AA)
    return np.asarray(stamped, dtype=np.uint8)
