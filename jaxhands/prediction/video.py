"""Frames of a video, and a video of frames."""

from __future__ import annotations

import dataclasses
import fractions
import math
import os
import pathlib
from collections.abc import Iterator
from types import TracebackType

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from jaxtyping import Shaped, UInt8

from jaxhands.prediction.picture_files import MIN_SIDE, BadPicture
from jaxhands.render.picture_size import MAX_PIXELS

_OPTIONS = {"protocol_whitelist": "none", "max_pixels": str(MAX_PIXELS)}
FPS = 25.0  # where a file does not say
_TICKS = 90_000  # a second, of what is written
_CLOSE_S = 0.5  # a stream may end so much earlier than its file announces, or than its sound ends
_WIDEST_PIXEL = 4  # times as wide as high, or the other way round; formats have 1/2 to 2, and more is damage
_MOST_SIDE = 16_384  # pixels of a side in H.264
_CRF = 20  # quality of H.264; 18 is hard to tell from the original, 23 is the encoder's usual one


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
  """Pixels of a moment.

  Attributes:
    number: in the video, from 0.
    time_s: since its beginning, in seconds.
    pixels: uint8 [H, W, 3], RGB, upright.
  """

  number: int
  time_s: float
  pixels: np.ndarray


class Reader:
  """A video that can be read: its frames in order, turned, mirrored and stretched as the file says; a context manager.

  Attributes:
    fps: frames per second, on average.
    frames: about how many there are, as the file announces them; 0 = it does not.
    size: width and height in pixels.
    remarks: what a user should know of how it is read.
  """

  def __init__(self, path: pathlib.Path):
    """Opens it and reads its first frame.

    Raises:
      BadPicture: no video, without frames, or of a size that shows no hand.
    """
    self._path = path
    self._packets, self._failed, self._end_s, self._ended = 0, 0, 0.0, ""
    if not os.path.isfile(path):  # unlike pathlib's, this says no in a folder that may not be looked into
      raise BadPicture(f"{path}: it cannot be read: it is no file")
    if not path.stat().st_size:
      raise BadPicture(f"{path}: it is empty")
    # By a file of Python's, as FFmpeg takes "a:b.mp4" for an address; and a playlist reaches no other file.
    try:
      self._file = path.open("rb")
    except OSError as error:
      raise BadPicture(f"{path}: it cannot be read: {error.strerror}") from error
    try:
      self._container = av.open(self._file, "r", metadata_errors="replace", options=_OPTIONS)
    except FFmpegError as error:
      self._file.close()
      reason = f"it is no video that can be decoded, or its end is missing ({error.strerror})"
      raise BadPicture(f"{path}: {reason}") from error
    streams = [each for each in self._container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
      others = " and ".join(sorted({each.type for each in self._container.streams})) or "nothing"
      self.close()
      raise BadPicture(f"{path}: it has no moving pictures, only {others}")
    self._stream = streams[0]
    self._stream.codec_context.options = _OPTIONS
    rate = float(self._stream.average_rate or 0)
    self.fps = rate if 1 <= rate <= 1000 else FPS
    shape = float(self._stream.sample_aspect_ratio or 1)
    self._pixel_shape = shape if 1 / _WIDEST_PIXEL <= shape <= _WIDEST_PIXEL else 1.0
    self._check_size(round(self._stream.codec_context.width * self._pixel_shape), self._stream.codec_context.height)
    self._left = self._decoded()
    self._first = next(self._left, None)
    if self._first is None:
      self.close()
      raise BadPicture(f"{path}: it is no video that can be decoded: it has no whole frame")
    height, width = self._first.pixels.shape[:2]
    self._check_size(width, height)
    self.size = (width, height)
    squares = f"its pixels are no squares: it is stretched to {width} x {height}"
    self.remarks = () if self._pixel_shape == 1 else (squares,)
    self.frames = self._announced() or round(self._announced_s() * self.fps)

  def __enter__(self) -> Reader:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def close(self) -> None:
    self._container.close()
    self._file.close()

  def __iter__(self) -> Iterator[Frame]:
    """Ends where the file ends, or is damaged; then `missing` says whether that was too early."""
    if self._first is not None:
      yield self._first
    yield from self._left

  def end(self, reason: str) -> None:
    """What comes cannot be used, and `missing` says why."""
    self._ended = reason

  @property
  def missing(self) -> str:
    """After the last frame: what the file announces and does not hold, or why it was ended; "" if it is whole."""
    if self._ended:
      return self._ended
    parts = []
    # An AVI has empty places for the frames of an uneven pace, and announces these, too.
    places = self._container.format.name == "avi" and self._stream.time_base
    held = min(round(self._end_s / places), self._announced()) if places else self._packets
    short = max(self._announced() - held, 0) + self._failed
    if short:
      parts.append(f"{short} of its {max(self._announced(), held)} frames are missing or damaged")
    short_s = self._announced_s() - self._end_s
    if short_s > _CLOSE_S:
      parts.append(f"the last {short_s:.1f} of its {self._announced_s():.1f} seconds are missing")
    return " and ".join(parts) + "; copy it again" if parts else ""

  def _decoded(self) -> Iterator[Frame]:
    number, last_s, longest_s = 0, math.inf, 1 / self.fps
    try:
      for packet in self._container.demux(self._stream):
        self._packets += packet.size > 0
        try:
          frames = packet.decode()
        except FFmpegError:
          self._failed += 1
          continue
        for frame in frames:
          self._failed += frame.is_corrupt
          time_s = number / self.fps if frame.time is None else frame.time
          start_s = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
          # A frame may be shown as long as the longest one before it.
          longest_s = max(longest_s, time_s - last_s)
          last_s = time_s
          self._end_s = time_s + longest_s
          pixels = frame.to_ndarray(format="rgb24", width=round(frame.width * self._pixel_shape))
          yield Frame(number, time_s - start_s, np.ascontiguousarray(_upright(pixels, frame)))
          number += 1
    except FFmpegError:
      self._failed += 1

  def _announced(self) -> int:
    """Frames by the index of an MP4, without those that were trimmed, or by the head of others; 0 = none is told."""
    entries = len(self._stream.index_entries) if "mp4" in self._container.format.name else 0
    return entries or self._stream.frames

  def _announced_s(self) -> float:
    """Length by the head of files that do not count frames; 0 = none, or estimated from the file's size."""
    if not set(self._container.format.name.split(",")) & {"matroska", "webm", "flv", "asf"}:
      return 0.0
    of_stream = _seconds(self._stream.metadata.get("DURATION", ""))
    # That of the file is the longest stream's; sound may go on.
    alone = len(self._container.streams) == 1
    return of_stream or (float(self._container.duration or 0) / av.time_base if alone else 0.0)

  def _check_size(self, width: int, height: int) -> None:
    if width * height > MAX_PIXELS or 0 < min(width, height) < MIN_SIDE:
      self.close()
      raise BadPicture(f"{self._path}: its frames have {width} x {height} pixels")


class Writer:
  """Writes frames (RGB) to an .mp4 that browsers play (H.264); a context manager, after which the file is whole."""

  def __init__(self, path: pathlib.Path, fps: float, size: tuple[int, int]):
    """Begins the file.

    Args:
      path: to be written.
      fps: frames per second, on average.
      size: width and height in pixels; H.264 takes even ones, so that an odd one loses a pixel, and up to 16,384: what
        is larger is shrunk.
    Raises:
      OSError: it cannot be written.
    """
    self._path, self._partial = path, path.with_name(f"partial-{path.name}")
    self._file = self._partial.open("wb")
    self._container = av.open(self._file, "w", format="mp4", options={"movflags": "+faststart"})
    self._stream = self._container.add_stream("libx264", rate=fractions.Fraction(fps).limit_denominator(1001))
    scale = min(1.0, _MOST_SIDE / max(size))
    self._stream.width, self._stream.height = (max(int(side * scale) // 2 * 2, 2) for side in size)
    self._stream.pix_fmt, self._stream.options = "yuv420p", {"crf": str(_CRF)}
    self._stream.codec_context.time_base = fractions.Fraction(1, _TICKS)
    self._tick = -1

  def __enter__(self) -> Writer:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    if error is None and self._tick >= 0:
      self._container.mux(self._stream.encode(None))
    self._container.close()
    self._file.close()
    if error is None and self._tick >= 0:
      self._partial.replace(self._path)
    else:
      self._partial.unlink(missing_ok=True)

  def add(self, pixels: UInt8[np.ndarray, "h w 3"], time_s: float) -> None:
    """Adds a frame of a moment after the last one's; one of another size is scaled."""
    width, height = self._stream.width, self._stream.height
    if abs(pixels.shape[1] - width) > 1 or abs(pixels.shape[0] - height) > 1:
      pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
    self._tick = max(round(time_s * _TICKS), self._tick + 1)
    frame.pts, frame.time_base = self._tick, fractions.Fraction(1, _TICKS)
    self._container.mux(self._stream.encode(frame))


def _upright(pixels: Shaped[np.ndarray, "h w 3"], frame: av.VideoFrame) -> Shaped[np.ndarray, "*hw 3"]:
  """Pixels as the frame's matrix shows them: x' = a x + c y, y' = b x + d y, by the nearest quarter of a turn."""
  matrix = frame.side_data.get("DISPLAYMATRIX")
  if matrix is None:
    return pixels
  (a, b, _), (c, d, _), _ = np.frombuffer(matrix, np.int32).reshape(3, 3).tolist()
  if abs(a) + abs(d) < abs(b) + abs(c):
    pixels, a, d = pixels.swapaxes(0, 1), c, b
  return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _seconds(clock: str) -> float:
  """Seconds of Matroska's "00:01:30.500000000"; 0 if it is none."""
  try:
    hours, minutes, seconds = (float(part) for part in clock.split(":"))
  except ValueError:
    return 0.0
  return 3600 * hours + 60 * minutes + seconds
