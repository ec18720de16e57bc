"""One call of `predict`: files come in, batch by batch; drawn pictures, a page and the predictions go out."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import rich.progress

from jaxhands import draw, predict
from jaxhands.photo import page, records, video
from jaxhands.photo.find import find_hands
from jaxhands.photo.identity import Identity
from jaxhands.photo.intrinsics import Cameras
from jaxhands.photo.pictures import BadPicture, Picture, is_video, read
from jaxhands.photo.records import Failed, Found
from jaxhands.photo.smooth import OneEuro

_JPEG_QUALITY = 92


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user asks for.

  Attributes:
    box: x, y, width, height in pixels, of every picture; None = the finder's, or the whole picture.
    cameras: see `intrinsics`.
    smooth: videos.
    every: frame of videos is used.
  """

  box: tuple[float, float, float, float] | None = None
  cameras: Cameras = dataclasses.field(default_factory=Cameras)
  smooth: bool = False
  every: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
  """A picture or frame with its camera."""

  picture: Picture
  camera_img: np.ndarray | None
  source: str
  frame: int | None = None


class Session:
  """Goes through files.

  Attributes:
    found: pictures and frames so far.
    failed: files that could not be used.
  """

  def __init__(
    self, out: pathlib.Path, run: str, model: predict.Model, finder: predict.Model | None = None,
    rootnet: predict.Model | None = None, options: Options | None = None,
  ):  # fmt: skip
    self._out, self._run, self._model, self._finder, self._rootnet = out, run, model, finder, rootnet
    self._options = options or Options()
    self.found: list[Found] = []
    self.failed: list[Failed] = []
    self._pages: list[tuple[str, list[page.Shown], float]] = []
    self._names: collections.Counter[str] = collections.Counter()
    self._overlays = out / "overlays"
    self._overlays.mkdir(parents=True, exist_ok=True)

  def run(self, files: Sequence[pathlib.Path], bar: rich.progress.Progress) -> None:
    """Goes through all files; what is wrong with one is noted and shown, and does not stop the others."""
    stills = [file for file in files if not is_video(file)]
    if stills:
      self._stills(stills, bar)
    for file in files:
      if is_video(file):
        try:
          self._video(file, bar)
        except BadPicture as error:
          self._fail(file, str(error), bar)

  def write(self) -> None:
    """Writes predictions and pages of what was found so far."""
    content = records.as_json(
      self.found, self.failed, self._run, self._model.config.system.name, self._model.calibration is not None
    )
    records.write(self._out, content, self.found)
    about = f"{self._model.config.system.name} of {self._run}"
    for index, (name, shown, fps) in enumerate(self._pages):
      if shown:
        file = "index.html" if index == 0 else f"{name}.html"
        stills = sum(each.frame is None for each in self.found)
        more = f"; the first {len(shown)} of {stills} pictures" if not fps and stills > len(shown) else ""
        text = page.html(shown, self.failed, about + more, fps, self._faces())
        (self._out / file).write_text(text, encoding="utf-8")

  def summary(self) -> str:
    """A line or two for the terminal."""
    hands = sum(int(each.hands.present.sum()) for each in self.found)
    lines = [f"{hands} hands in {len(self.found)} pictures and frames"]
    if self.failed:
      lines[0] += f"; {len(self.failed)} files could not be used"
    scales = collections.Counter(each.hands.scale[0] for each in self.found)
    words = {
      "unknown": "scale unknown (give --fx or --intrinsics)", "assumed": "scale of an average hand", "metric": "metric",
    }  # fmt: skip
    lines += [", ".join(f"{count} {words[scale]}" for scale, count in scales.items())] if scales else []
    pages = [
      self._out / ("index.html" if index == 0 else f"{name}.html") for index, (name, _, _) in enumerate(self._pages)
    ]
    return "\n".join([*lines, *map(str, pages if self.found else [])])

  # ---- pictures -------------------------------------------------------------------

  def _stills(self, files: Sequence[pathlib.Path], bar: rich.progress.Progress) -> None:
    shown: list[page.Shown] = []
    self._pages.append(("pictures", shown, 0.0))
    task = bar.add_task("pictures", total=len(files))
    for ready in predict.groups(self._readable(files, task, bar), self._model.batch_size):
      for each, hands in zip(ready, self._predicted(ready), strict=True):
        found = self._add(each, hands)
        drawn = _drawn(each.picture.pixels, hands)
        path = self._overlays / f"{self._name(each.picture.path)}.jpg"
        if not cv2.imwrite(str(path), drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
          raise OSError(f"{path} cannot be written")
        if len(shown) < page.MAX_SHOWN:
          shown.append(page.Shown.of(found, drawn))

  def _readable(
    self, files: Sequence[pathlib.Path], task: rich.progress.TaskID, bar: rich.progress.Progress
  ) -> Iterator[_Ready]:
    for file in files:
      try:
        yield self._ready(read(file))
      except ValueError as error:
        self._fail(file, str(error), bar)
      bar.advance(task)

  def _ready(self, picture: Picture, frame: int | None = None) -> _Ready:
    camera_img, source = self._options.cameras.find(picture)
    try:
      predict.check(picture.pixels, self._options.box, camera_img)
    except ValueError as error:
      raise BadPicture(f"{picture.path}: {error}") from error
    return _Ready(picture, camera_img, source, frame)

  # ---- videos ---------------------------------------------------------------------

  def _video(self, file: pathlib.Path, bar: rich.progress.Progress) -> None:
    reader = video.Reader(file)
    name, every = self._name(file), self._options.every
    fps = reader.fps / every
    follow = _Follow(fps, self._options.smooth)
    shown: list[page.Shown] = []
    self._pages.append((name, shown, fps))
    task = bar.add_task(file.name, total=reader.frames or None)
    stride = max(-(-reader.frames // every // page.MAX_SHOWN), 1)

    def frames() -> Iterator[_Ready]:
      for index, pixels in enumerate(reader):
        bar.advance(task)
        if index % every == 0:
          yield self._ready(Picture(file, pixels, None), index)

    count = 0
    with video.Writer(self._overlays / f"{name}.mp4", fps, reader.size) as writer:
      for ready in predict.groups(frames(), self._model.batch_size):
        for each, hands in zip(ready, self._predicted(ready), strict=True):
          hands, exchanged = follow(hands)
          found = self._add(each, hands, exchanged)
          drawn = _drawn(each.picture.pixels, hands)
          writer.add(drawn)
          if count % stride == 0:
            shown.append(page.Shown.of(found, drawn))
          count += 1

  # ---- both -----------------------------------------------------------------------

  def _predicted(self, ready: Sequence[_Ready]) -> list[predict.Hands]:
    pixels = [each.picture.pixels for each in ready]
    cameras = [each.camera_img for each in ready]
    looked = None
    seen = np.ones((len(ready), 2), bool)
    if self._options.box is not None:
      looked = [self._options.box] * len(ready)
    elif self._finder is not None:
      boxes = find_hands(self._finder, pixels)
      seen = boxes.any(-1)
      looked = [box if box.any() else None for box in boxes]
    depth = None
    if self._rootnet is not None and all(camera is not None for camera in cameras):
      depth = _depths(self._rootnet, pixels, looked, cameras)
    hands = self._model.predict(pixels, looked, cameras, depth)
    if not seen.all():
      missing = ~seen
      hands = dataclasses.replace(
        hands, present=hands.present & seen, joints_cam_valid=hands.joints_cam_valid & seen,
        hand_prob=np.where(missing, 0, hands.hand_prob).astype(np.float32),
      )  # fmt: skip
    return [hands.one(index) for index in range(len(ready))]

  def _add(self, ready: _Ready, hands: predict.Hands, exchanged: bool = False) -> Found:
    height, width = ready.picture.pixels.shape[:2]
    found = Found(str(ready.picture.path), ready.frame, (height, width), ready.source, hands, exchanged)
    self.found.append(found)
    return found

  def _fail(self, file: pathlib.Path, reason: str, bar: rich.progress.Progress) -> None:
    reason = " ".join(reason.split())
    self.failed.append(Failed(str(file), reason.removeprefix(f"{file}: ")))
    bar.console.print(f"left out: {reason}", style="red", markup=False)

  def _name(self, file: pathlib.Path) -> str:
    """Name of what is written for a file; files of different folders may be called the same."""
    self._names[file.stem] += 1
    count = self._names[file.stem]
    return file.stem if count == 1 else f"{file.stem}-{count}"

  def _faces(self) -> np.ndarray | None:
    if not self.found or "vertices_cam" not in self.found[0].hands.raw:
      return None
    return np.asarray(self._model.hand_model.faces)


class _Follow:
  """Identity and smoothing of one video's hands, frame by frame."""

  def __init__(self, fps: float, smooth: bool):
    self._identity, self._smooth = Identity(), smooth
    self._filters = [(OneEuro(fps), OneEuro(fps)) for _ in range(2)]

  def __call__(self, hands: predict.Hands) -> tuple[predict.Hands, bool]:
    exchanged = self._identity.exchanged(hands.joints_img[0], hands.hand_prob[0], hands.present[0])
    hands = hands.exchanged() if exchanged else hands
    if self._smooth:
      joints_img, joints_cam = hands.joints_img.copy(), hands.joints_cam.copy()
      for hand, (img, cam) in enumerate(self._filters):
        for filter_, values, there in (
          (img, joints_img, hands.present), (cam, joints_cam, hands.joints_cam_valid),
        ):  # fmt: skip
          if there[0, hand]:
            values[0, hand] = filter_(values[0, hand])
          else:
            filter_.reset()
      hands = dataclasses.replace(hands, joints_img=joints_img, joints_cam=joints_cam)
    return hands, exchanged


def _depths(rootnet: predict.Model, pixels: Sequence[np.ndarray], looked: object, cameras: object) -> np.ndarray:
  """Depths of both wrists [N, 2], mm, by RootNet.

  Raises:
    ValueError: the system does not estimate them.
  """
  found, _ = rootnet.maps(pixels, looked, cameras)  # pyright: ignore[reportArgumentType]
  if "root_cam" not in found:
    raise ValueError(f"system {rootnet.config.system.name!r} estimates no depths of wrists; name a run of rootnet")
  return found["root_cam"][..., 2]


def _drawn(pixels: np.ndarray, hands: predict.Hands) -> np.ndarray:
  valid = np.repeat(hands.present[0][:, None], hands.joints_img.shape[2], 1)
  return draw.skeletons(pixels, hands.joints_img[0], valid, hands.confidence[0])
