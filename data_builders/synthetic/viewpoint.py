"""From where a camera looks at a moment: not along an arm, and with the hands as upright as is asked for."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from data_builders.synthetic.config import SyntheticConfig
from data_builders.synthetic.moment import Stream, moment, stream
from jaxhands.geometry import camera
from jaxhands.geometry.rotations import matrix_from_axis_angle
from jaxhands.render.cameras import View, ViewRange, sample_dome, sample_view

# The roll is drawn here; the cameras of `other` stand where those of `full` never do.
_RANGES = {
  "full": ViewRange(roll_rad=0.0),
  "demo": ViewRange(roll_rad=0.0),
  "other": ViewRange(roll_rad=0.0, distance_mm=(250.0, 420.0), focal_px=(180.0, 500.0)),
  # As InterHand2.6M's: pictures of 334 x 512, focal lengths of about 1,270 px, 1.0 to 1.1 m to the hands.
  "studio": ViewRange(512, 334, (980.0, 1120.0), (1200.0, 1340.0), (90.0, 420.0), roll_rad=0.0),
  # As telephones': lenses of 24 to 60 mm on full frame, from arm's length to that of a table.
  "phone": ViewRange(320, 240, (220.0, 750.0), (220.0, 560.0), (100.0, 230.0), roll_rad=0.0),
}
# Of whole pictures: their heights and widths, how large all hands of one are together, and how much of that may be cut.
_WIDE_HW, _WIDE_PX, _CUT = ((240, 320), (320, 240), (320, 320)), (18.0, 290.0), 0.2
# Hands are upright more often than not: of all views so many are within so many degrees of the upright one.
_TILT_LIMITS_DEG, _TILT_SHARES = (60.0, 90.0, 180.0), (0.5, 0.3, 0.2)
_UP_WORLD = np.array([0.0, -1.0, 0.0])  # where the fingers of the pose bank's hands point, seen from -z
_ALONG_ARM = 0.75  # cosine between an arm and the direction to the camera, above which the arm hides the hand
_TRIES = 20


@functools.lru_cache(maxsize=2)  # the scene's light needs the first camera again
def draw_view(config: SyntheticConfig, split: str, scene: int, number: int) -> View:
  """Camera `number` of a scene.

  One camera stands within `drawn_tilt_deg` of the front, but not where an arm points at it; several stand evenly
  around the scene. Each then rolls by as much as leaves its whole turn, from an upright view from the front, within it.
  """
  now, rng = moment(config, split, scene), stream(config, Stream.VIEW, split, scene, number)
  joints = now.joints_world[now.present].reshape(-1, 3)
  ranges = _wide_range(rng) if config.variant == "wide" else _RANGES[config.variant]
  max_tilt_deg = drawn_tilt_deg(rng, config.max_tilt_deg)
  if config.cameras == 1:
    direction = direction_to_camera(rng, now.forearms, max_tilt_deg)
  else:
    dome = sample_dome(stream(config, Stream.DOME, split, scene), joints, config.cameras, ranges)
    direction = -dome[number].cam_from_world[2, :3].astype(np.float64)
  view = turned_view(rng, joints, direction, max_tilt_deg, ranges)
  return _anywhere(rng, view, joints) if config.variant == "wide" else view


def _wide_range(rng: np.random.Generator) -> ViewRange:
  """A whole picture whose hands have some size, all sizes being as frequent by their logarithm."""
  height, width = _WIDE_HW[int(rng.integers(len(_WIDE_HW)))]
  size_px = float(np.exp(rng.uniform(*np.log(_WIDE_PX))))
  return ViewRange(height, width, (350.0, 3500.0), (150.0, 1500.0), (0.9 * size_px, 1.1 * size_px), roll_rad=0.0)


def _anywhere(rng: np.random.Generator, view: View, joints_world: Float[np.ndarray, "N 3"]) -> View:
  """The same camera with the hands' box anywhere in the picture, at times a little cut by its edge."""
  joints_img = camera.project(view.to_cam(joints_world), view.camera_img)
  low, size = joints_img.min(0), np.ptp(joints_img, axis=0)
  ends = np.array([-_CUT * size, np.array([view.width, view.height]) - 1 - (1 - _CUT) * size])
  camera_img = view.camera_img.copy()
  camera_img[:2, 2] += rng.uniform(ends.min(0), ends.max(0)) - low
  return dataclasses.replace(view, camera_img=camera_img)


def drawn_tilt_deg(rng: np.random.Generator, max_tilt_deg: float) -> float:
  """How far one view may be turned from the upright one: most hands are held upright, some anyhow."""
  return min(float(rng.choice(_TILT_LIMITS_DEG, p=_TILT_SHARES)), max_tilt_deg)


def direction_to_camera(
  rng: np.random.Generator, forearms: Float[np.ndarray, "n 3"], max_tilt_deg: float
) -> Float[np.ndarray, " 3"]:
  """From the hands to a camera within `max_tilt_deg` of the front, where no arm (unit vectors) points at it."""
  candidates = [_near_front(rng, max_tilt_deg) for _ in range(_TRIES)]
  along_arm = [float((forearms @ direction).max()) for direction in candidates]
  return candidates[int(np.argmin(np.maximum(along_arm, _ALONG_ARM)))]


def turned_view(
  rng: np.random.Generator,
  joints_world: Float[np.ndarray, "N 3"],
  direction: Float[np.ndarray, " 3"],
  max_tilt_deg: float,
  ranges: ViewRange,
) -> View:
  """A camera in a direction from the hands, rolled so that its whole turn from the front is within `max_tilt_deg`."""
  roll = rng.uniform(-1, 1) * _roll_left(direction, np.radians(max_tilt_deg))
  tilt = matrix_from_axis_angle(_from_front(direction))
  up = np.asarray(matrix_from_axis_angle(roll * direction) @ tilt) @ _UP_WORLD
  return sample_view(rng, joints_world, direction, ranges, up)


def _from_front(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
  """The least turn, as a rotation vector, of a camera at the front (-z) that then looks from `direction`."""
  axis = np.cross((0, 0, -1), direction)
  sine = float(np.linalg.norm(axis))
  if sine < 1e-9:
    return np.array([0.0, np.arccos(-np.sign(direction[2])), 0.0])
  return axis / sine * np.arctan2(sine, -direction[2])


def _roll_left(direction: Float[np.ndarray, " 3"], max_angle_rad: float) -> float:
  """By how much such a camera may then roll for its whole turn to stay in the limit.

  The two axes are perpendicular, so that the cosine of half the whole turn is the product of those of half of each.
  """
  half_tilt = np.sqrt(max(1 - float(direction[2]), 1e-12) / 2)
  return 2 * float(np.arccos(min(np.cos(max_angle_rad / 2) / half_tilt, 1.0)))


def _near_front(rng: np.random.Generator, max_angle_deg: float) -> Float[np.ndarray, " 3"]:
  """A direction drawn evenly among those at most so far from -z, from where the pose bank's hands are seen."""
  z = -rng.uniform(np.cos(np.radians(max_angle_deg)), 1.0)
  turn = rng.uniform(0, 2 * np.pi)
  return np.array([np.cos(turn) * np.sqrt(1 - z * z), np.sin(turn) * np.sqrt(1 - z * z), z])
