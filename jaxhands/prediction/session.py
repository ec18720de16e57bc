"""One call of `predict`: files come in, batch by batch; drawn pictures, a page and the predictions go out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import rich.progress
from av.error import FFmpegError
from jaxtyping import Bool
from PIL import Image

from jaxhands.drawing import certainty, surfaces, two_hands
from jaxhands.geometry import camera
from jaxhands.prediction import page, predictions_json, video
from jaxhands.prediction.file_names import Names, printable
from jaxhands.prediction.follow import Follow
from jaxhands.prediction.hands import Hands
from jaxhands.prediction.look import Look, groups
from jaxhands.prediction.mesh_files import MeshFiles
from jaxhands.prediction.picture import Picture
from jaxhands.prediction.picture_files import BadPicture, is_video, read
from jaxhands.prediction.predictions_json import Failed, PictureResult, deviations_of, sampled
from jaxhands.prediction.predictor import WrongSystem
from jaxhands.schema import NUM_JOINTS

OVERLAYS = "overlays"
_JPEG_QUALITY, _JPEG_SIDE = 92, 65_500  # pixels of a side that libjpeg takes
_LINES_OVER_MESHES = 0.4  # opacity
_INDEX = "index.html"
_NEAREST_MM = 10.0  # to the camera, of samples that are projected
_SCALES = {
  "unknown": "scale unknown (give --fx or --intrinsics)", "assumed": "with hands of assumed size", "metric": "metric",
}  # fmt: skip


class Session:
  """Goes through files.

  Attributes:
    results: of pictures and frames so far.
    failed: files that could not be used, or not whole.
  """

  def __init__(
    self, out: pathlib.Path, run: str, look: Look, smooth: bool = False, every: int = 1,
    passed_over: Sequence[pathlib.Path] = (), samples: int = 0, formats: Sequence[str] = (),
  ):  # fmt: skip
    """Makes the folder.

    Args:
      out: folder for what is written.
      run: of the model, as it is called in what is written.
      look: finds the hands.
      smooth: calms the hands of videos.
      every: frame of videos is used.
      passed_over: files in the folders that were given which nobody looks at; they are listed.
      samples: poses of a distribution that are written besides its mode.
      formats: of files with meshes (`jaxhands.meshes.FORMATS`), where there are meshes.
    """
    self._out, self._run, self._look, self._smooth, self._every = out, run, look, smooth, every
    self._passed_over, self._samples = passed_over, samples
    self._meshes = MeshFiles(out, formats, look.hand_model) if formats and look.hand_model is not None else None
    self.results: list[PictureResult] = []
    self.failed: list[Failed] = []
    self._galleries: list[page.Gallery] = []
    self._names = Names()
    self._again = predictions_json.is_in(out)
    (out / OVERLAYS).mkdir(parents=True, exist_ok=True)

  def run(self, files: Sequence[pathlib.Path], bar: rich.progress.Progress) -> None:
    """Goes through all files; what is wrong with one is noted and shown, and does not stop the others."""
    stills = [file for file in files if not is_video(file)]
    if stills:
      self._stills(stills, bar)
    for file in files:
      if is_video(file):
        results, galleries = len(self.results), len(self._galleries)
        try:
          self._video(file, bar)
        except WrongSystem:
          raise
        except (ValueError, FFmpegError) as error:
          del self.results[results:], self._galleries[galleries:]  # of a video without an overlay nothing stays
          self._fail(file, error, bar)

  def write(self) -> None:
    """Writes predictions and pages of what was found so far; the first page is the index."""
    model = self._look.model
    hands = self._look.hand_model
    with_mano = bool(self.results) and "mano" in self.results[0].hands.raw
    hand_model = hands.identity if with_mano and hands is not None else ""
    about = predictions_json.About(
      self._run, model.config.system.name, model.calibration is not None, self._samples, hand_model
    )
    predictions_json.write(
      self._out, predictions_json.as_json(self.results, self.failed, self._passed_over, about), self.results
    )
    galleries = [gallery for gallery in self._galleries if gallery.shown]
    if galleries:
      galleries[0].file = _INDEX
    elif self._again:
      (self._out / _INDEX).unlink(missing_ok=True)  # an earlier call's, whose predictions are gone
    faces = None if hands is None else np.asarray(hands.faces)
    for gallery in galleries:
      text = page.html(gallery, galleries, self.failed, self._passed_over, about, faces)
      (self._out / gallery.file).write_text(text, encoding="utf-8")

  def summary(self) -> str:
    """A line or two for the terminal."""
    hands = sum(int(each.hands.present[each.row].sum()) for each in self.results)
    line = f"{hands} hands in {len(self.results)} pictures and frames"
    for part, words in ((False, "could not be used"), (True, "were used in part")):
      count = sum(each.part is part for each in self.failed)
      line += f"; {count} files {words}" if count else ""
    scales = collections.Counter(each.hands.scale[each.row] for each in self.results)
    lines = [line, ", ".join(f"{count} {_SCALES[scale]}" for scale, count in scales.items())]
    lines += [printable(self._out / gallery.file) for gallery in self._galleries if gallery.shown]
    return "\n".join(filter(None, lines))

  # ---- pictures -------------------------------------------------------------------

  def _stills(self, files: Sequence[pathlib.Path], bar: rich.progress.Progress) -> None:
    gallery = self._gallery("pictures")
    task = bar.add_task("pictures", total=len(files))
    for group in groups(self._readable(files, task, bar), self._look.model.batch_size):
      for pictures, hands in self._looked(group, bar):
        for row, picture in enumerate(pictures):
          name = self._names.of(picture.path)
          overlay = f"{OVERLAYS}/{name}.jpg"
          drawn = self._drawn(picture, hands, row)
          Image.fromarray(page.within(drawn, _JPEG_SIDE)).save(self._out / overlay, quality=_JPEG_QUALITY)
          result = self._add(picture, hands, row, overlay)
          if self._meshes:
            result = self.results[-1] = dataclasses.replace(result, meshes=self._meshes.picture(name, result))
          gallery.add(result, drawn, functools.partial(self._sure, picture, hands, row))

  def _looked(
    self, pictures: Sequence[Picture], bar: rich.progress.Progress
  ) -> Iterator[tuple[Sequence[Picture], Hands]]:
    """Pictures and their hands: all together, or where one of them makes that fail, each of the others alone."""
    try:
      hands = self._look.meshed(self._hands(pictures))
    except WrongSystem:
      raise
    except ValueError as error:
      if len(pictures) == 1:
        self._fail(pictures[0].path, error, bar)
      else:
        for picture in pictures:
          yield from self._looked([picture], bar)
    else:
      yield pictures, hands

  def _readable(
    self, files: Sequence[pathlib.Path], task: rich.progress.TaskID, bar: rich.progress.Progress
  ) -> Iterator[Picture]:
    for file in files:
      try:
        picture = self._look.ready(read(file))
      except ValueError as error:
        self._fail(file, error, bar)
      else:
        _note(file, picture.remarks, bar)
        yield picture
      bar.advance(task)

  # ---- videos ---------------------------------------------------------------------

  def _video(self, file: pathlib.Path, bar: rich.progress.Progress) -> None:
    with video.Reader(file) as reader:
      name = self._names.of(file)
      fps = reader.fps / self._every
      first = len(self.results)
      gallery, overlay = self._gallery(name, fps), f"{OVERLAYS}/{name}.mp4"
      _note(file, reader.remarks, bar)
      with video.Writer(self._out / overlay, fps, reader.size) as writer:
        for picture, hands, row, exchanged in self._clip(file, reader, fps, bar):
          drawn = self._drawn(picture, hands, row)
          writer.add(drawn, picture.time_s or 0.0)
          sure = functools.partial(self._sure, picture, hands, row)
          gallery.add(self._add(picture, hands, row, overlay, exchanged), drawn, sure)
      if self._meshes:
        paths = self._meshes.video(name, self.results[first:])
        self.results[first:] = [
          dataclasses.replace(result, meshes=own) for result, own in zip(self.results[first:], paths, strict=True)
        ]
        gallery.renew(self.results[first:])
      if reader.missing:
        self._fail(file, reader.missing, bar, part=True)

  def _clip(
    self, file: pathlib.Path, reader: video.Reader, fps: float, bar: rich.progress.Progress
  ) -> Iterator[tuple[Picture, Hands, int, bool]]:
    """The frames of a video, their hands as they go on with the frame's row, and whether these were exchanged for that.

    Where meshes are fitted, their shape is known after the last frame: the video is read twice, and
    an interruption before the second time leaves nothing of it.
    """
    task = bar.add_task(printable(file.name), total=reader.frames or None)
    followed = self._followed(self._frames(file, reader, task, bar), fps)
    if not self._look.mesh:
      for pictures, hands, exchanged in followed:
        for row, picture in enumerate(pictures):
          yield picture, hands, row, bool(exchanged[row])
      return
    parts = [(hands, exchanged) for _, hands, exchanged in followed]
    if not parts:
      return
    hands = self._look.meshed(Hands.joined([each for each, _ in parts]), clip=True)
    exchanged = np.concatenate([each for _, each in parts])
    task = bar.add_task(f"{printable(file.name)}, drawn", total=reader.frames or None)
    with video.Reader(file) as again:
      for row, picture in enumerate(self._frames(file, again, task, bar)):
        yield picture, hands, row, bool(exchanged[row])

  def _frames(
    self, file: pathlib.Path, reader: video.Reader, task: rich.progress.TaskID, bar: rich.progress.Progress
  ) -> Iterator[Picture]:
    for frame in reader:
      bar.advance(task)
      if frame.number % self._every:
        continue
      try:
        picture = Picture(file, frame.pixels, remarks=reader.remarks, frame=frame.number, time_s=frame.time_s)
        ready = self._look.ready(picture)
      except BadPicture as error:
        if frame.number == 0:
          raise
        reader.end(f"from frame {frame.number} on: {str(error).removeprefix(f'{file}: ')}")
        return
      yield ready

  def _followed(
    self, frames: Iterator[Picture], fps: float
  ) -> Iterator[tuple[list[Picture], Hands, Bool[np.ndarray, " n"]]]:
    follow = Follow(fps, self._smooth, self._look.hand_model)
    for pictures in groups(frames, self._look.model.batch_size):
      yield pictures, *follow(self._hands(pictures))

  # ---- both -----------------------------------------------------------------------

  def _hands(self, pictures: Sequence[Picture]) -> Hands:
    """Those of pictures, with what is drawn and written alone: maps of all pictures would fill the memory."""
    hands = self._look.hands(pictures)
    raw = {key: value for key, value in hands.raw.items() if key in predictions_json.RAW}
    return dataclasses.replace(hands, raw=raw)

  def _gallery(self, name: str, fps: float = 0.0) -> page.Gallery:
    """The page of the pictures, or of a video."""
    gallery = page.Gallery(f"{name}.html", name, fps)
    self._galleries.append(gallery)
    return gallery

  def _add(self, picture: Picture, hands: Hands, row: int, overlay: str, exchanged: bool = False) -> PictureResult:
    height, width = picture.pixels.shape[:2]
    result = PictureResult(
      str(picture.path), picture.frame, (height, width), picture.camera_source, hands, row, exchanged, picture.time_s,
      overlay, remarks=picture.remarks,
    )  # fmt: skip
    self.results.append(result)
    return result

  def _fail(self, file: pathlib.Path, error: Exception | str, bar: rich.progress.Progress, part: bool = False) -> None:
    reason = printable(" ".join(str(error).removeprefix(f"{file}: ").split()))
    self.failed.append(Failed(str(file), reason, part))
    what = "used in part" if part else "left out"
    bar.console.print(f"{what}: {printable(file)}: {reason}", style="red", markup=False)

  def _drawn(self, picture: Picture, hands: Hands, row: int) -> np.ndarray:
    """The picture with the skeletons of the hands, through which the meshes are seen, where there are any."""
    joints_img, sure, meshed = hands.joints_img[row], hands.confidence[row], hands.meshed[row]
    valid = np.repeat(hands.present[row][:, None], NUM_JOINTS, 1)
    model = self._look.hand_model
    if model is None or not meshed.any():
      return two_hands.skeletons(picture.pixels, joints_img, valid, sure)
    vertices, faces = hands.raw["vertices_cam"][row], np.asarray(model.faces)
    painted = surfaces.paint(picture.pixels, vertices, faces, meshed, hands.camera_img[row])
    lines = two_hands.skeletons(painted, joints_img, valid, sure)
    return cv2.addWeighted(lines, _LINES_OVER_MESHES, painted, 1 - _LINES_OVER_MESHES, 0)

  def _sure(self, picture: Picture, hands: Hands, row: int) -> np.ndarray | None:
    """The picture with the samples of a distribution, and its mode in the colours of their deviations."""
    both = [sampled(hands, row, hand) for hand in range(2)]
    if all(poses is None for poses in both):
      return None
    spread = np.zeros((2, NUM_JOINTS), np.float32)
    points = np.zeros((min(self._samples, *(len(poses) for poses in both if poses is not None)), 2, NUM_JOINTS, 2))
    for hand, poses in enumerate(both):
      if poses is not None:
        spread[hand] = deviations_of(poses)[0]
        ahead = poses[: len(points)].astype(np.float32)
        ahead[..., 2] = ahead[..., 2].clip(_NEAREST_MM)
        points[:, hand] = camera.project(ahead, hands.camera_img[row])
    valid = np.repeat(np.array(hands.joints_cam_valid[row])[:, None], NUM_JOINTS, 1)
    line = two_hands.line_px(*picture.pixels.shape[:2])
    painted = certainty.paint_samples(picture.pixels, points, valid, line / 2) if len(points) else picture.pixels
    return certainty.paint_deviations(painted, hands.joints_img[row], spread, valid, line)


def _note(file: pathlib.Path, remarks: Sequence[str], bar: rich.progress.Progress) -> None:
  for remark in remarks:
    bar.console.print(f"note: {printable(file)}: {remark}", style="yellow", markup=False)
