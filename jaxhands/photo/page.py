"""One page that works without a network: each picture with its hands, beside them the hands in space, to be turned."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from jaxhands import draw
from jaxhands.photo.records import Failed, Found
from jaxhands.render import overlay
from jaxhands.schema import HANDS

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_SIDE_PX = 900  # of a picture in the page
MAX_SHOWN = 300  # pictures, or frames of a video; more would make the page slow
_MAX_MESHES = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """A picture of the page: what was found, and the picture with it drawn in, as a JPEG in a data URI."""

  found: Found
  image: str

  @classmethod
  def of(cls, found: Found, drawn: np.ndarray) -> Shown:
    scale = _SIDE_PX / max(drawn.shape[:2])
    if scale < 1:
      drawn = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cls(found, draw.jpeg_uri(drawn))


def html(
  shown: Sequence[Shown], failed: Sequence[Failed], about: str, fps: float = 0.0, faces: np.ndarray | None = None
) -> str:
  """The page.

  Args:
    shown: pictures, or the frames of one video.
    failed: files that were left out.
    about: a line below the title.
    fps: of the video; 0 = pictures.
    faces: [2, F, 3], triangles of the meshes of both hands, where the system gives `vertices_cam`.
  """
  meshes = faces is not None and len(shown) <= _MAX_MESHES
  data = {
    "about": about,
    "video": fps > 0,
    "fps": fps,
    "colours": [overlay.FINGER_RGB[hand] for hand in HANDS],
    "chains": overlay.CHAINS.tolist(),
    "faces": faces.tolist() if faces is not None and meshes else None,
    "pictures": [_entry(each, meshes) for each in shown],
    "failed": [f"{each.file} ({each.reason})" for each in failed],
  }
  # "</" would end the script element.
  text = json.dumps(data, allow_nan=False).replace("</", "<\\/")
  return _TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text)


def _entry(shown: Shown, meshes: bool) -> dict[str, Any]:
  found, hands = shown.found, shown.found.hands
  valid = hands.joints_cam_valid[0]
  vertices = hands.raw.get("vertices_cam") if meshes else None
  name = pathlib.PurePath(found.file).name
  return {
    "name": name if found.frame is None else f"{name}, frame {found.frame}",
    "image": shown.image,
    "scale": hands.scale[0],
    "present": hands.present[0].tolist(),
    "probability": hands.hand_prob[0].round(3).tolist(),
    "confidence": hands.confidence[0].round(3).tolist(),
    "joints": [hands.joints_cam[0, hand].round(1).tolist() if valid[hand] else None for hand in range(2)],
    "reprojection": hands.reprojection_px[0].mean(-1).round(2).tolist(),
    "vertices": None
    if vertices is None
    else [vertices[0, hand].round(1).tolist() if valid[hand] else None for hand in range(2)],
  }
