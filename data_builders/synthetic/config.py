"""What a synthetic data set is made of. Imports nothing heavy, so that a configuration costs nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxhands.paths import expanded

SPLITS = ("train", "val", "test")
VARIANTS = ("full", "demo", "other", "studio", "phone", "wide")
PICTURES = ("all", "input")
HANDS = ("all", "single", "pair")

VERSION = 7  # of how records are drawn and rendered; raised by changes, so that old records are not mixed with new ones
_DEMO_UPRIGHT_DEG = 60.0


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
  """Arguments of a synthetic data set; equal arguments give equal files.

  Attributes:
    train, val, test: numbers of records. Subjects, pose families and backgrounds of the three are disjoint.
    seed: of everything drawn.
    variant: `full`; `demo`: hands within 60 degrees of upright, input pictures only; `other`: backgrounds and cameras
      that `full` never has; `studio`: the cameras of InterHand2.6M, `phone`: those of telephones; `wide`: whole
      pictures, in which hands of any size are anywhere, apart or together, among faces and other skin, and of which one
      in four shows none (its `box_img` is then the picture). Input pictures only.
    pictures: `input`: the picture and its label maps; `all`: also the de-occluded and distractor-free ones. None: as
      the variant says.
    upright_deg: by how much a camera's view is turned at most, in all, from that of the pose bank's upright hands from
      their front. Of the views, half are turned by at most 60 degrees, most by 90. None: as the variant says.
    cameras: how many consecutive records show one scene, each from another camera.
    background_dir: folder of pictures that join the procedural backgrounds.
    hands: `all`: three pictures in five show two interacting hands, the others one; `single` or `pair`: these alone.
  """

  train: int = 10_000
  val: int = 1_000
  test: int = 1_000
  seed: int = 0
  variant: str = "full"
  pictures: str | None = None
  upright_deg: float | None = None
  cameras: int = 1
  background_dir: str | None = None
  hands: str = "all"

  def __post_init__(self) -> None:
    for split in SPLITS:
      if getattr(self, split) < 0:
        raise ValueError(f"{split} is {getattr(self, split)} records, expected 0 or more")
    if not any(self.counts.values()):
      raise ValueError("train, val and test are all 0: there is nothing to build")
    if self.seed < 0:
      raise ValueError(f"seed is {self.seed}, expected 0 or more")
    if self.variant not in VARIANTS:
      raise ValueError(f"variant is {self.variant!r}, expected one of {', '.join(VARIANTS)}")
    if self.pictures not in (None, *PICTURES):
      raise ValueError(f"pictures is {self.pictures!r}, expected one of {', '.join(PICTURES)}")
    if self.upright_deg is not None and not 0 < self.upright_deg <= 180:
      raise ValueError(f"upright is {self.upright_deg} degrees, expected more than 0 and at most 180")
    if self.cameras < 1:
      raise ValueError(f"cameras is {self.cameras}, expected 1 or more")
    if self.cameras > 1 and self.max_tilt_deg < 180:
      raise ValueError(
        f"cameras is {self.cameras}, which stand all around the hands; views within {self.max_tilt_deg:g} degrees of "
        "upright need 1"
      )
    if self.cameras > 1 and self.variant == "wide":
      raise ValueError(f"cameras is {self.cameras}; variant wide has one camera a scene")
    if self.hands not in HANDS:
      raise ValueError(f"hands is {self.hands!r}, expected one of {', '.join(HANDS)}")
    if self.background_dir is not None:
      background_files(self.background_dir)

  @property
  def counts(self) -> dict[str, int]:
    return {split: getattr(self, split) for split in SPLITS}

  @property
  def folder_name(self) -> str:
    """Of the data set, without the hash of its arguments."""
    return "-".join(["synthetic", *[word for word in (self.variant, self.hands) if word not in ("full", "all")]])

  @property
  def all_pictures(self) -> bool:
    return self.pictures == "all" if self.pictures else self.variant not in ("demo", "wide")

  @property
  def max_tilt_deg(self) -> float:
    if self.upright_deg is not None:
      return self.upright_deg
    return _DEMO_UPRIGHT_DEG if self.variant == "demo" else 180.0

  def arguments(self) -> dict[str, Any]:
    """What decides the records, under the names of the command line's flags; a folder counts by its content."""
    return {
      **self.counts,
      "seed": self.seed,
      "variant": self.variant,
      "pictures": "all" if self.all_pictures else "input",
      "upright": self.max_tilt_deg,
      "cameras": self.cameras,
      "background-dir": None if self.background_dir is None else content(background_files(self.background_dir)),
      "assets": _assets(),
      "version": VERSION,
      # Left out where it is the usual one: folders from before it was there are the same data.
      **({"hands": self.hands} if self.hands != "all" else {}),
    }


def _assets() -> str:
  """Stands for the hand model and the pose bank that come with the package."""
  folder = importlib.resources.files("jaxhands.hands.assets")
  content = b"".join(folder.joinpath(name).read_bytes() for name in ("embedded_v1.npz", "pose_bank_v1.npz"))
  return hashlib.sha256(content).hexdigest()[:8]


def background_files(folder: str) -> list[pathlib.Path]:
  """Pictures of a folder and its subfolders, sorted; files that are none, whatever their names say, are left out.

  Raises:
    ValueError: there is no such folder, no picture in it, or one of over 100 megapixels.
  """
  from jaxhands.render import backgrounds, picture_size  # heavy, and most configurations have no such folder

  root = expanded(folder)
  if not root.is_dir():
    raise ValueError(f"background-dir {root} is not a folder")
  files = [path for path in backgrounds.photos_in(root) if is_picture(path)]
  if not files:
    raise ValueError(f"background-dir {root} holds no readable picture ({', '.join(backgrounds.PHOTO_SUFFIXES)})")
  picture_size.check_all(files)
  return files


def is_picture(path: pathlib.Path) -> bool:
  """Whether a file begins as those of a kind that OpenCV reads."""
  import cv2  # here, because most configurations have no such folder

  with path.open("rb") as file:  # OpenCV crashes on a name that is not UTF-8
    return cv2.haveImageReader(f"/dev/fd/{file.fileno()}")


def content(files: Sequence[pathlib.Path]) -> str:
  """Stands for the pictures and their order; where the folder lies does not count."""
  digests = (hashlib.sha256(path.read_bytes()).digest() for path in files)
  return f"{len(files)} pictures {hashlib.sha256(b''.join(digests)).hexdigest()[:8]}"
