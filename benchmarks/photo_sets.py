"""The real pictures that photos are measured on, with what is known of them. For testing only, never for training.

They lie in `$JAXHANDS_SHARED/samples` (default: ../shared beside the working directory), with their licences:

- photos/tfjs_hands.jpg with 2 x 21 points, and a video of one hand with 21 points a frame: outputs of MediaPipe Hands
  that its own tests take as a reference (Apache-2.0), not annotations by people;
- hdr/Tzionas_dataset-02-1-rgb-100.png: two interlocked hands, 14 points each, without wrists and tips;
- interhand/mini_dataset: four frames of InterHand2.6M with 3D joints, boxes and cameras (CC BY-NC 4.0).

Which hand is a right one is not said of the first two; it was seen by eye: both of the photo are left, backs up, and
the video's is a right one, its palm to the camera.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from data_builders.interhand26m import InterHandConfig, build
from jaxhands.data.records import DataSet, Records
from jaxhands.geometry import crop
from jaxhands.paths import expanded
from jaxhands.prediction import picture_files, video
from jaxhands.schema import LEFT, RIGHT

# Our order from MediaPipe's: each finger from its tip to its base, then the wrist.
_FROM_MEDIAPIPE = [4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0]
# Our joints of the 14 rows of a hand: little, ring, middle, index finger's three from the knuckle on, thumb's two.
# Which they are was never published; laid over the picture, they are the knuckles and the two joints behind each.
_FROM_TZIONAS = [19, 18, 17, 15, 14, 13, 11, 10, 9, 7, 6, 5, 2, 1]
_INTERHAND_KEYS = (
  "image", "picture", "joints_cam", "joints_cam_valid", "hand_present", "root_depth", "root_depth_valid", "camera_img",
  "camera_valid", "box_img", "joints_img", "joints_img_valid",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """A picture and its T annotated hands.

  Attributes:
    name: of the picture.
    pixels: uint8 [H, W, 3], RGB.
    joints_img: [T, 21, 2], px.
    valid: [T, 21], which are annotated.
    sides: of each hand, 0 = right.
    batch: what a metric reads of it, N = 1; {} where only the picture's points are known.
  """

  name: str
  pixels: np.ndarray
  joints_img: np.ndarray
  valid: np.ndarray
  sides: tuple[int, ...]
  batch: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def boxes(self) -> np.ndarray:
    """[T, 4] as `box_img` has them: the joints' tight box times 1.2."""
    return np.asarray(crop.box_around(self.joints_img, self.valid))

  @property
  def box(self) -> np.ndarray:
    """[4], around all hands."""
    low, high = self.boxes[:, :2].min(0), (self.boxes[:, :2] + self.boxes[:, 2:]).max(0)
    return np.concatenate([low, high - low])


def folder() -> pathlib.Path:
  """Where the samples are.

  Raises:
    FileNotFoundError: they are not there; says how to name them.
  """
  found = expanded(os.environ.get("JAXHANDS_SHARED", pathlib.Path("..", "shared"))) / "samples"
  if not found.is_dir():
    raise FileNotFoundError(f"there are no sample pictures in {found}: set JAXHANDS_SHARED to the folder that has them")
  return found


def photo(samples: pathlib.Path) -> list[Sample]:
  """Two left hands, far from each other, one upside down."""
  known = json.loads((samples / "photos" / "tfjs_hands_keypoints.json").read_text())
  joints = np.array(known["hands"], np.float32)[:, _FROM_MEDIAPIPE]
  path = samples / "photos" / known["image"]
  return [Sample(path.name, picture_files.read(path).pixels, joints, np.ones(joints.shape[:2], bool), (LEFT, LEFT))]


def clip(samples: pathlib.Path, every: int) -> list[Sample]:
  """Each `every`th frame of a right hand that spells."""
  points = np.load(samples / "photos" / "tfjs_asl_hand_landmarks.npz")["image_xyz"][:, _FROM_MEDIAPIPE, :2]
  found = []
  with video.Reader(samples / "photos" / "tfjs_asl_hand.25fps.mp4") as reader:
    for frame in reader:
      if frame.number % every == 0 and frame.number < len(points):
        joints = points[frame.number][None].astype(np.float32)
        name = f"frame {frame.number}"
        found.append(Sample(name, np.asarray(frame.pixels), joints, np.ones((1, 21), bool), (RIGHT,)))
  return found


def tzionas(samples: pathlib.Path) -> list[Sample]:
  """Two interlocked hands; the right one is at the picture's left."""
  rows = np.loadtxt(samples / "hdr" / "Tzionas_dataset-02-1-joints_2D_GT-100.txt", dtype=np.float32)
  given = rows[:, 1:].reshape(2, 14, 2)
  joints, valid = np.zeros((2, 21, 2), np.float32), np.zeros((2, 21), bool)
  joints[:, _FROM_TZIONAS], valid[:, _FROM_TZIONAS] = given, (given > 0).any(-1)
  path = samples / "hdr" / "Tzionas_dataset-02-1-rgb-100.png"
  return [Sample(path.name, picture_files.read(path).pixels, joints, valid, (RIGHT, LEFT))]


def interhand(samples: pathlib.Path) -> list[Sample]:
  """Four frames: a left hand, a right hand, two pairs."""
  found = []
  with tempfile.TemporaryDirectory(prefix="photos-") as scratch:
    out, _ = build(InterHandConfig(str(samples / "interhand" / "mini_dataset")), pathlib.Path(scratch) / "built", 1)
    for record in map(dict, _each(Records(DataSet(str(out), "test"), "pair", _INTERHAND_KEYS))):
      hands = tuple(int(hand) for hand in np.flatnonzero(record["joints_img_valid"].any(1)))
      batch = {key: np.asarray(record[key])[None] for key in _INTERHAND_KEYS[2:]}
      pixels = decoded(record["picture"])
      chosen = record["joints_img"][list(hands)], record["joints_img_valid"][list(hands)]
      found.append(Sample(f"InterHand2.6M {record['record_id']}", pixels, *chosen, hands, batch))
  return found


def decoded(picture: bytes) -> np.ndarray:
  """RGB pixels of a record's picture."""
  pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB)
  if pixels is None:
    raise ValueError("a record's picture cannot be decoded")
  return pixels


def _each(records: Records) -> Iterator[dict[str, Any]]:
  return (records[index] for index in range(len(records)))


def without_hands() -> list[tuple[str, np.ndarray]]:
  """Names and pixels of scikit-image's own pictures that show no hand.

  Not among them: the photographer, whose gloves are hands.

  Raises:
    ModuleNotFoundError: scikit-image is not installed; says how.
  """
  try:
    from skimage import data  # pyright: ignore[reportMissingImports]
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError("pictures without hands are scikit-image's: pip install 'jaxhands[photos]'") from error
  makers: tuple[Callable[[], Any], ...] = (
    data.astronaut, data.chelsea, data.rocket, data.coffee, data.coins, data.hubble_deep_field, data.page, data.text,
    data.moon, data.clock, data.brick, data.grass, data.gravel, data.immunohistochemistry, data.retina,
  )  # fmt: skip
  found = []
  for maker in makers:
    pixels = np.asarray(maker())
    found.append((maker.__name__, np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, 2))))
  black = np.zeros((256, 256, 3), np.uint8)
  return [*found, ("black", black), ("white", np.full_like(black, 255))]


@functools.cache
def rendered(records: int) -> list[Sample]:
  """Held-out embedded scenes as whole pictures: the first of the synthetic test split, of all views."""
  from data_builders.synthetic import SyntheticConfig
  from data_builders.synthetic.records import make_record

  config = SyntheticConfig(train=0, val=0, test=records, pictures="input")
  found = []
  for index in range(records):
    record = make_record(config, "test", index)
    pixels = decoded(record["picture"])
    hands = tuple(int(hand) for hand in np.flatnonzero(record["joints_img_valid"].any(1)))
    chosen = record["joints_img"][list(hands)], record["joints_img_valid"][list(hands)]
    found.append(Sample(f"test/{index}", pixels, *chosen, hands))
  return found
