"""Frames of a video, and a video of frames."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np

from jaxhands.photo.pictures import MAX_PIXELS, MIN_SIDE, BadPicture

FPS = 25.0  # where a file does not say


class Reader:
  """A video that can be read: its frames as RGB, in order.

  Attributes:
    fps: frames per second.
    frames: as the file announces them; 0 = it does not.
    size: width and height in pixels.
  """

  def __init__(self, path: pathlib.Path):
    """Opens it and reads its first frame.

    Raises:
      BadPicture: no video, without frames, or of a size that shows no hand.
    """
    self._path = path
    self._capture = cv2.VideoCapture(str(path))
    ok, self._first = self._capture.read() if self._capture.isOpened() else (False, None)
    if not ok or self._first is None:
      raise BadPicture(f"{path}: it is no video that can be decoded")
    height, width = self._first.shape[:2]
    if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
      raise BadPicture(f"{path}: its frames have {width} x {height} pixels")
    fps = self._capture.get(cv2.CAP_PROP_FPS)
    self.fps = float(fps) if 1 <= fps <= 1000 else FPS
    self.frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    self.size = (width, height)

  def __iter__(self) -> Iterator[np.ndarray]:
    """Ends where the file ends, or is damaged; `read` tells how many there were."""
    frame = self._first
    try:
      while frame is not None:
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        ok, frame = self._capture.read()
        frame = frame if ok else None
    finally:
      self._capture.release()


class Writer:
  """Writes frames (RGB, of one size) to an .mp4; a context manager, after which the file is whole."""

  def __init__(self, path: pathlib.Path, fps: float, size: tuple[int, int]):
    """Begins the file.

    Raises:
      OSError: OpenCV cannot write it.
    """
    self._path, self._partial = path, path.with_name(f"partial-{path.name}")
    self._writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not self._writer.isOpened():
      raise OSError(f"{path}: OpenCV cannot write this video")

  def __enter__(self) -> Writer:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._writer.release()
    if error is None:
      self._partial.replace(self._path)
    else:
      self._partial.unlink(missing_ok=True)

  def add(self, frame: np.ndarray) -> None:
    self._writer.write(np.ascontiguousarray(frame[..., ::-1]))
