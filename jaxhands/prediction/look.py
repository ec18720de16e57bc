"""From pictures with their cameras to hands: where to look, how far away, and the predictor."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jaxhands.hands.model import HandModel
from jaxhands.prediction import predictor
from jaxhands.prediction.find import find_hands
from jaxhands.prediction.fit_meshes import fitted
from jaxhands.prediction.hands import Hands
from jaxhands.prediction.intrinsics import Cameras
from jaxhands.prediction.picture import Picture
from jaxhands.prediction.picture_files import BadPicture

_GROUP_PIXELS = 100_000_000
Box = tuple[float, float, float, float]


def groups(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
  """Lists of `size` pictures, or of fewer where these are large: they are all in memory."""
  group: list[Picture] = []
  pixels = 0
  for picture in pictures:
    group.append(picture)
    pixels += picture.pixels.size // 3
    if len(group) == size or pixels > _GROUP_PIXELS:
      yield group
      group, pixels = [], 0
  if group:
    yield group


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
  """The networks of one `predict` call, and the user's box and cameras.

  Attributes:
    model: predicts poses.
    finder: finds hands, and so decides which there are; None = none.
    rootnet: estimates depths of wrists; None = none.
    box: x, y, width, height in pixels, of every picture; None = the finder's, or the whole picture.
    cameras: see `intrinsics`.
    mesh: hands whose system gives joints alone get parameters and a mesh, fitted to these.
    fitted_model: whose parameters `mesh` finds; None = the model's own hands.
  """

  model: predictor.Model
  finder: predictor.Model | None = None
  rootnet: predictor.Model | None = None
  box: Box | None = None
  cameras: Cameras = dataclasses.field(default_factory=Cameras)
  mesh: bool = False
  fitted_model: HandModel | None = None

  @functools.cached_property
  def hand_model(self) -> HandModel | None:
    """Of the meshes, which the model predicts or which are fitted; None = there are none."""
    if {"mano", "vertices_cam"} <= self.model.predicts:
      return self.model.hand_model
    return (self.fitted_model or self.model.hand_model) if self.mesh else None

  def ready(self, picture: Picture) -> Picture:
    """A picture with its camera and, where it is given, the box.

    Raises:
      BadPicture: its camera or the box does not fit it; names it.
    """
    try:
      camera_img, source = self.cameras.find(picture)
      return dataclasses.replace(picture, camera_img=camera_img, camera_source=source, boxes=self.box)
    except ValueError as error:
      raise BadPicture(f"{picture.path}: {str(error).removeprefix(f'{picture.path}: ')}") from error

  def hands(self, pictures: Sequence[Picture]) -> Hands:
    """Those of pictures that are ready, without the meshes that `meshed` fits.

    Raises:
      WrongSystem: the finder predicts no boxes or masks, the rootnet estimates no depths, or the model has no poses.
      ValueError: what a system predicts of these pictures is not finite.
    """
    prob = None
    if self.box is None and self.finder is not None:
      located = find_hands(self.finder, [picture.pixels for picture in pictures])
      prob = located.prob
      pictures = [
        dataclasses.replace(picture, boxes=boxes if boxes.any() else None)
        for picture, boxes in zip(pictures, located.boxes, strict=True)
      ]
    return self._placed(pictures, prob)

  def _placed(self, pictures: Sequence[Picture], prob: np.ndarray | None) -> Hands:
    """Hands with depths by the rootnet where the camera is known, with the finder's probabilities."""
    known = np.array([picture.camera_img is not None for picture in pictures])
    if self.rootnet is not None and known.any() and not known.all():
      # Apart: where one picture's hands are placed does not depend on its neighbours' cameras.
      rows = [np.flatnonzero(known), np.flatnonzero(~known)]
      parts = [
        self._placed([pictures[int(row)] for row in some], None if prob is None else prob[some]) for some in rows
      ]
      joined = Hands.joined(parts)
      return Hands.joined([joined.one(int(at)) for at in np.argsort(np.concatenate(rows))])
    depth = _depths(self.rootnet, pictures) if self.rootnet is not None and known.all() else None
    return self.model.predict(pictures, root_depth_mm=depth, hand_prob=prob)

  def meshed(self, hands: Hands, clip: bool = False) -> Hands:
    """The same with meshes, if they are asked for.

    Args:
      hands: of pictures.
      clip: they are the frames of one clip, as they go on: each hand has one shape in all of them.
    """
    model = self.hand_model
    return fitted(hands, model, one_shape=clip) if self.mesh and model is not None else hands


def _depths(rootnet: predictor.Model, pictures: Sequence[Picture]) -> np.ndarray:
  """Depths of both wrists [N, 2], mm, by RootNet.

  Raises:
    WrongSystem: the system does not estimate them.
  """
  maps, _ = rootnet.maps(pictures)
  if "root_cam" not in maps:
    raise predictor.WrongSystem(
      f"--rootnet: system {rootnet.config.system.name!r} estimates no depths of wrists; name a run of rootnet"
    )
  return maps["root_cam"][..., 2]
