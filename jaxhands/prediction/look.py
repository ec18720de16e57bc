"""From pictures with their cameras to hands: where to look, how far away, and the predictor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jaxhands.prediction import predictor, shown
from jaxhands.prediction.find import find_hands
from jaxhands.prediction.fit_meshes import fitted
from jaxhands.prediction.hands import Hands
from jaxhands.prediction.intrinsics import Cameras
from jaxhands.prediction.picture_files import BadPicture, Picture

_GROUP_PIXELS = 100_000_000
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Ready:
  """A picture or frame with its camera.

  Attributes:
    picture: its pixels and name.
    camera_img: [3, 3]; None = not known.
    source: where the camera is from.
    frame: number in a video; None = a picture.
    time_s: of the frame.
  """

  picture: Picture
  camera_img: np.ndarray | None
  source: str
  frame: int | None = None
  time_s: float | None = None


def groups(items: Iterable[Ready], size: int) -> Iterator[list[Ready]]:
  """Lists of `size` pictures, or of fewer where these are large: they are all in memory."""
  group: list[Ready] = []
  pixels = 0
  for item in items:
    group.append(item)
    pixels += item.picture.pixels.size // 3
    if len(group) == size or pixels > _GROUP_PIXELS:
      yield group
      group, pixels = [], 0
  if group:
    yield group


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
  """Networks and what they are told.

  Attributes:
    model: predicts poses.
    finder: finds hands, and so decides which there are; None = none.
    rootnet: estimates depths of wrists; None = none.
    box: x, y, width, height in pixels, of every picture; None = the finder's, or the whole picture.
    cameras: see `intrinsics`.
    mesh: hands whose system gives joints alone get parameters and a mesh, fitted to these.
  """

  model: predictor.Model
  finder: predictor.Model | None = None
  rootnet: predictor.Model | None = None
  box: Box | None = None
  cameras: Cameras = dataclasses.field(default_factory=Cameras)
  mesh: bool = False

  def ready(self, picture: Picture, frame: int | None = None, time_s: float | None = None) -> Ready:
    """A picture with its camera, that the predictor will take.

    Raises:
      ValueError: its camera or the box does not fit it; names it.
    """
    camera_img, source = self.cameras.find(picture)
    try:
      shown.check(picture.pixels, self.box, camera_img)
    except ValueError as error:
      raise BadPicture(f"{picture.path}: {error}") from error
    return Ready(picture, camera_img, source, frame, time_s)

  def hands(self, ready: Sequence[Ready]) -> list[Hands]:
    """Those of each picture, N = 1, without the meshes that `meshed` fits.

    Raises:
      ValueError: the finder predicts no boxes or masks, the rootnet estimates no depths, or the model has no poses.
    """
    pixels = [each.picture.pixels for each in ready]
    cameras = [each.camera_img for each in ready]
    looked = found = None
    if self.box is not None:
      looked = [self.box] * len(ready)
    elif self.finder is not None:
      found = find_hands(self.finder, pixels)
      looked = [box if box.any() else None for box in found.boxes]
    depth = None
    if self.rootnet is not None and all(camera is not None for camera in cameras):
      depth = _depths(self.rootnet, pixels, looked, cameras)
    prob = None if found is None else found.prob
    hands = self.model.predict(pixels, looked, cameras, depth, prob)
    return [hands.one(index) for index in range(len(ready))]

  def meshed(self, hands: Sequence[Hands], clip: bool = False) -> list[Hands]:
    """The same with meshes, if they are asked for.

    Args:
      hands: of pictures, N = 1 each.
      clip: they are the frames of one clip, as they go on: each hand has one shape in all of them.
    """
    if not self.mesh or not hands:
      return list(hands)
    found = fitted(Hands.joined(hands), self.model.hand_model, one_shape=clip)
    return [found.one(index) for index in range(len(hands))]


def _depths(rootnet: predictor.Model, pixels: Sequence[np.ndarray], looked: object, cameras: object) -> np.ndarray:
  """Depths of both wrists [N, 2], mm, by RootNet.

  Raises:
    ValueError: the system does not estimate them.
  """
  found, _ = rootnet.maps(pixels, looked, cameras)  # pyright: ignore[reportArgumentType]
  if "root_cam" not in found:
    raise ValueError(
      f"--rootnet: system {rootnet.config.system.name!r} estimates no depths of wrists; name a run of rootnet"
    )
  return found["root_cam"][..., 2]
