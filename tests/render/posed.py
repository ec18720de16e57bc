"""Posed hands of the embedded model for the renderer's tests."""

import functools

import numpy as np

from jaxhands.hands.model import HandModel
from jaxhands.render import cameras, sensor, skin, surface
from jaxhands.render.arm import Forearm
from jaxhands.render.lighting import Lighting
from jaxhands.render.scene import Hand, Scene

CLEAN = sensor.Sensor()
LIGHT = Lighting(
  towards=np.array([[0.0, -0.6, -0.8], [0.8, 0.0, -0.6]], np.float32),
  colours=np.array([[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]], np.float32),
  up=np.array([0.0, -1.0, 0.0], np.float32),
  sky=np.full(3, 0.3, np.float32),
  ground=np.full(3, 0.15, np.float32),
)


@functools.cache
def model() -> HandModel:
  return HandModel.default()


@functools.cache
def surfaces() -> tuple[surface.HandSurface, surface.HandSurface]:
  return surface.hand_surfaces(model())


def posed(side: int, seed: int = 0, at_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
  """Vertices [V, 3] of a hand with its fingers a little moved, turned by chance, its middle at `at_mm`."""
  rng = np.random.default_rng(seed)
  pose = rng.normal(0, 0.15, (16, 3)).astype(np.float32)
  pose[0] = rng.normal(0, 1.0, 3)
  vertices = np.asarray(model().forward(pose, np.zeros(10, np.float32), np.zeros(3, np.float32), hand=side).vertices)
  return (vertices - vertices.mean(0) + at_mm).astype(np.float32)


def person(seed: int = 0) -> skin.Skin:
  return skin.sample_skin(np.random.default_rng(seed))


def hand(side: int, seed: int = 0, at_mm=(0.0, 0.0, 0.0), arm: Forearm | None = None) -> Hand:
  return Hand(surfaces()[side], posed(side, seed, at_mm), person(), arm)


def two_hands(seed: int = 0) -> Scene:
  """The left hand behind the right one, partly hidden, both with arms."""
  arm = Forearm((0.1, -0.1), 300.0, 0.2)
  return Scene((hand(0, seed, (0.0, 0.0, 0.0), arm), hand(1, seed + 1, (30.0, 20.0, 90.0), arm)), LIGHT)


def view(size: int = 96, distance_mm: float = 700.0) -> cameras.View:
  """A camera on the z axis that sees about 300 mm."""
  focal = size * distance_mm / 300.0
  camera = np.array([[focal, 0, size / 2 - 0.5], [0, focal, size / 2 - 0.5], [0, 0, 1]], np.float32)
  pose = np.concatenate([np.eye(3), [[0.0], [0.0], [distance_mm]]], axis=1).astype(np.float32)
  return cameras.View(camera, pose, size, size)


def backdrop(size: int = 96, level: int = 90) -> np.ndarray:
  return np.full((size, size, 3), level, np.uint8)
