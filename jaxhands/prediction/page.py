"""One page that works without a network: each picture with its hands, beside them the hands in space, to be turned."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from jaxhands.drawing import certainty, overlay, two_hands
from jaxhands.prediction.file_names import printable
from jaxhands.prediction.hands import Hands
from jaxhands.prediction.predictions_json import About, Failed, PictureResult, deviations_of, sampled
from jaxhands.schema import HANDS

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_SIDE_PX, _THUMB_PX = 900, 72  # of a picture in the page, and of the small one to jump to it
MAX_SHOWN = 300  # pictures, or frames of a video; more would make the page slow
# Of a hand's size: from this mean reprojection error on its pose in space does not explain the picture. The same tenth
# that makes a joint right in the picture (`evaluation.metrics.confidence`).
LARGE_ERROR = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """A picture of the page: what was found, and the picture with it drawn in, large and small, as JPEGs in data URIs.

  `sure`: the picture with what a distribution is sure of; "" = there is none.
  """

  result: PictureResult
  image: str
  thumb: str
  sure: str = ""

  @classmethod
  def of(cls, result: PictureResult, drawn: np.ndarray, sure: np.ndarray | None = None) -> Shown:
    large = "" if sure is None else two_hands.jpeg_uri(within(sure, _SIDE_PX))
    return cls(result, two_hands.jpeg_uri(within(drawn, _SIDE_PX)), two_hands.jpeg_uri(within(drawn, _THUMB_PX)), large)


@dataclasses.dataclass(eq=False)
class Gallery:
  """What one page shows: the pictures, or frames of a video.

  Attributes:
    file: of the page.
    title: of the page, in links.
    fps: of the frames that are used; 0 = pictures.
    shown: of pictures the first 300; of a video each `stride`-th frame, as many as 300 at most.
    count: of all that were added.
  """

  file: str
  title: str
  fps: float = 0.0
  shown: list[Shown] = dataclasses.field(default_factory=list)
  stride: int = 1
  count: int = 0

  def add(self, result: PictureResult, drawn: np.ndarray, sure: Callable[[], np.ndarray | None] = lambda: None) -> None:
    """Takes the next picture, if it is one that the page shows; `sure` is only asked then."""
    if self.fps and len(self.shown) == MAX_SHOWN and self.count % self.stride == 0:
      del self.shown[1::2]
      self.stride *= 2
    if self.count % self.stride == 0 and len(self.shown) < MAX_SHOWN:
      self.shown.append(Shown.of(result, drawn, sure()))
    self.count += 1

  def renew(self, results: Sequence[PictureResult]) -> None:
    """Takes, of all that were added and in their order, results that know more now."""
    self.shown = [dataclasses.replace(each, result=results[at * self.stride]) for at, each in enumerate(self.shown)]


def html(
  gallery: Gallery,
  galleries: Sequence[Gallery],
  failed: Sequence[Failed],
  passed_over: Sequence[pathlib.Path],
  about: About,
  faces: np.ndarray | None = None,
) -> str:
  """The page.

  Args:
    gallery: what it shows.
    galleries: those of all pages, this one among them.
    failed: files that were left out, or used in part.
    passed_over: files that nobody looked at.
    about: what predicted.
    faces: [2, F, 3], triangles of the meshes of both hands, where the system gives `vertices_cam`.
  """
  shown = gallery.shown
  less = not gallery.fps and len(shown) < gallery.count
  data = {
    "about": (about.system if about.system == about.run else f"{about.system} of {printable(about.run)}")
    + (f"; the first {len(shown)} of {gallery.count} pictures" if less else ""),
    "video": gallery.fps > 0,
    "fps": gallery.fps / gallery.stride,
    "large": LARGE_ERROR,
    "colours": [overlay.FINGER_RGB[hand] for hand in HANDS],
    "chains": overlay.CHAINS.tolist(),
    "stops": certainty.STOPS_RGB.tolist(),
    "unsure_mm": certainty.UNSURE_MM,
    "faces": None if faces is None else [two_hands.base64_of(own.astype("<u2")) for own in faces],
    "pictures": [_entry(each, about.samples) for each in shown],
    "pages": [[each.title, urllib.parse.quote(each.file)] for each in galleries if each is not gallery],
    "failed": [[printable(each.file), each.reason, each.part] for each in failed],
    "passed_over": by_kind(passed_over),
  }
  # "<" could begin what ends the script element.
  text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
  template = _TEMPLATE.read_text(encoding="utf-8").replace("__SPACE__", two_hands.space_script())
  return template.replace("__DATA__", text)


def by_kind(files: Sequence[pathlib.Path]) -> str:
  """How many there are of each kind: "2 hidden, 1 folder, 3 .txt"."""

  def kind(file: pathlib.Path) -> str:
    if file.name.startswith("."):
      return "hidden"
    if not os.path.isfile(file):  # unlike pathlib's, this says no of what is in a folder that may not be looked into
      return "folder" if os.path.isdir(file) else "no file (a device, or a link to nothing)"
    return file.suffix.lower() or "without suffix"

  kinds = collections.Counter(map(kind, files))
  return ", ".join(f"{count} {printable(kind)}" for kind, count in kinds.most_common())


def large_error(hands: Hands, row: int) -> list[bool]:
  """Of the right and the left hand of a picture: whether its pose in space does not explain the picture."""
  size = np.ptp(hands.joints_img[row], axis=1).max(-1)
  mean = hands.reprojection_px[row].mean(-1)
  return (hands.joints_cam_valid[row] & (mean > LARGE_ERROR * size)).tolist()


def within(drawn: UInt8[np.ndarray, "h w 3"], side_px: int) -> UInt8[np.ndarray, "*hw 3"]:
  """A picture whose longer side has at most so many pixels."""
  scale = side_px / max(drawn.shape[:2])
  if scale >= 1:
    return drawn
  height, width = (max(round(side * scale), 1) for side in drawn.shape[:2])
  return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _entry(shown: Shown, samples: int) -> dict[str, Any]:
  """What the page says of a picture, or of a frame of a video; with so many samples."""
  result, hands, row = shown.result, shown.result.hands, shown.result.row
  spread = [sampled(hands, row, hand) for hand in range(2)]
  valid, meshed = hands.joints_cam_valid[row], hands.meshed[row]
  name = printable(pathlib.PurePath(result.file).name)
  return {
    "name": name if result.frame is None else f"{name}, frame {result.frame}",
    "image": shown.image,
    "thumb": shown.thumb,
    "overlay": urllib.parse.quote(result.overlay),
    "remarks": list(result.remarks),
    "scale": hands.scale[row],
    "present": hands.present[row].tolist(),
    "probability": hands.hand_prob[row].round(3).tolist(),
    "confidence": hands.confidence[row].round(3).tolist(),
    "joints": [hands.joints_cam[row, hand].round(1).tolist() if valid[hand] else None for hand in range(2)],
    "reprojection": hands.reprojection_px[row].mean(-1).round(2).tolist(),
    "large": large_error(hands, row),
    "meshes": [[pathlib.PurePath(path).name, urllib.parse.quote(path)] for path in result.meshes],
    "sure": shown.sure,
    "samples": [
      None if poses is None or not samples else two_hands.packed(poses[:samples].reshape(-1, 3)) for poses in spread
    ],
    "deviation": [
      None if poses is None else [values.round(1).tolist() for values in deviations_of(poses)] for poses in spread
    ],
    "vertices": [two_hands.packed(hands.raw["vertices_cam"][row, hand]) if meshed[hand] else None for hand in range(2)]
    if meshed.any()
    else None,
  }
