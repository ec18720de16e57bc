"""Cameras: one that sees the hands at a wanted size, or a dome of them around a scene."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

_UP = np.array([0.0, -1.0, 0.0])
_LOOK_UP_LIMIT = 0.95
_TRIES = 50


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """A pinhole camera at a picture size; `cam_from_world` in mm."""

  camera_img: Float32[np.ndarray, "3 3"]
  cam_from_world: Float32[np.ndarray, "3 4"]
  height: int
  width: int

  def to_cam(self, points_world: Float[np.ndarray, "*n 3"]) -> Float32[np.ndarray, "*n 3"]:
    """Points in the camera's frame, mm."""
    rotation, translation = self.cam_from_world[:, :3], self.cam_from_world[:, 3]
    return (points_world @ rotation.T + translation).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class ViewRange:
  """What cameras are drawn from. Distances in mm from the middle of the hands, sizes in px."""

  height: int = 320
  width: int = 320
  distance_mm: tuple[float, float] = (500.0, 1200.0)
  focal_px: tuple[float, float] = (300.0, 1100.0)  # drawn evenly by its logarithm
  box_px: tuple[float, float] = (90.0, 280.0)  # longer side of the hands' box
  roll_rad: float = 0.5  # standard deviation about the optical axis
  margin_px: float = 12.0  # that the hands' box keeps from the picture's edge where it can


def sample_view(
  rng: np.random.Generator,
  points_world: Float[np.ndarray, "N 3"],
  direction: Float[np.ndarray, " 3"] | None = None,
  ranges: ViewRange = ViewRange(),
  up: Float[np.ndarray, " 3"] = _UP,
) -> View:
  """A camera that has `points_world` in the picture.

  Distance and focal length are drawn, neither of them from the other, until the hands are as large as `ranges` wants
  them, so that with a known focal length size tells about depth. Where they never are (other scenes than hands), the
  focal length is the one that makes them so.

  Args:
    rng: source of chance.
    points_world: vertices or joints of the hands, mm.
    direction: from the hands to the camera; drawn evenly over the sphere when None.
    ranges: what to draw from.
    up: up in the world's frame; the picture's upper edge points there, but for the roll.
  """
  if direction is None:
    direction = rng.normal(size=3)
  rotation = _facing(np.asarray(direction, np.float64), np.asarray(up, np.float64), rng.normal(0, ranges.roll_rad))
  low, high = points_world.min(0), points_world.max(0)
  centre = (low + high) / 2
  reach = float(np.linalg.norm(points_world - centre, axis=1).max())
  # The hands stay ahead of the camera however large the scene is.
  distances = np.maximum(rng.uniform(*ranges.distance_mm, _TRIES), 2 * reach)
  least, most = np.log(ranges.focal_px)
  focals = np.exp(rng.uniform(least, most, _TRIES))
  from_centre = (points_world - centre) @ rotation.T
  places = from_centre[:, :2] / (from_centre[:, 2:] + distances[:, None, None])
  sizes = np.ptp(places, axis=1)
  sizes_px = focals * sizes.max(-1)
  fits = (sizes_px >= ranges.box_px[0]) & (sizes_px <= ranges.box_px[1])
  chosen = int(fits.argmax())  # the first that fits
  distance, corner, size = float(distances[chosen]), places[chosen].min(0), sizes[chosen]
  wanted_px = float(rng.uniform(*ranges.box_px))
  focal = float(focals[chosen]) if fits[chosen] else wanted_px / float(size.max())
  translation = np.array([0.0, 0.0, distance]) - rotation @ centre
  extent = np.array([ranges.width, ranges.height], np.float64)
  room = np.maximum(extent - 1 - focal * size - 2 * ranges.margin_px, 0.0)
  # A bell-shaped place in the picture: mostly near the middle, sometimes at the margin.
  at = (extent - 1 - focal * size - room) / 2 + room * rng.beta(2.5, 2.5, 2)
  principal = at - focal * corner
  camera = np.array([[focal, 0.0, principal[0]], [0.0, focal, principal[1]], [0.0, 0.0, 1.0]])
  pose = np.concatenate([rotation, translation[:, None]], axis=1)
  return View(camera.astype(np.float32), pose.astype(np.float32), ranges.height, ranges.width)


def sample_dome(
  rng: np.random.Generator,
  points_world: Float[np.ndarray, "N 3"],
  count: int,
  ranges: ViewRange = ViewRange(),
  up: Float[np.ndarray, " 3"] = _UP,
) -> list[View]:
  """`count` cameras spread evenly around a scene (a Fibonacci sphere, turned by chance)."""
  k = np.arange(count) + 0.5
  height = 1 - 2 * k / count
  turn = np.pi * (1 + 5**0.5) * k
  ring = np.sqrt(1 - height**2)
  directions = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
  random_turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  return [sample_view(rng, points_world, direction, ranges, up) for direction in directions @ random_turn]


def _facing(direction: np.ndarray, up: np.ndarray, roll_rad: float) -> Float[np.ndarray, "3 3"]:
  """World-to-camera rotation of a camera that stands in `direction` and looks back; y is down."""
  forward = -direction / np.linalg.norm(direction)
  up = up / np.linalg.norm(up)
  if abs(up @ forward) > _LOOK_UP_LIMIT:  # looking along `up`: any other axis does
    up = np.eye(3)[np.abs(forward).argmin()]
  right = np.cross(forward, up)
  right = right / np.linalg.norm(right)
  down = np.cross(forward, right)
  cos, sin = np.cos(roll_rad), np.sin(roll_rad)
  return np.stack([cos * right + sin * down, cos * down - sin * right, forward])
