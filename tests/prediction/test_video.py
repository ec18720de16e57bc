"""Videos of all kinds of files: whole, cut, turned, of uneven pace; and what is written."""

import fractions
import struct

import av
import cv2
import numpy as np
import pytest

from jaxhands.prediction import video
from jaxhands.prediction.picture_files import BadPicture

RNG = np.random.default_rng(0)
BASE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 3)
FPS, FRAMES = 25, 40


def _made(path, codec="libx264", kind=None, frames=FRAMES, options=None, ticks=None, rotation=0, pixel=None):
  """A video whose frames move; a key frame is every tenth."""
  with av.open(str(path), "w", format=kind, options=options or {}) as container:
    stream = container.add_stream(codec, rate=FPS)
    stream.width, stream.height, stream.gop_size = BASE.shape[1], BASE.shape[0], 10
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if pixel:
      stream.sample_aspect_ratio = pixel
    if rotation:
      stream.set_display_rotation(rotation)
    if ticks:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for number in range(frames):
      frame = av.VideoFrame.from_ndarray(np.roll(BASE, 3 * number, 1), format="rgb24")
      frame.pts = ticks[number] if ticks else number
      frame.time_base = fractions.Fraction(1, 1000 if ticks else FPS)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def _read(path):
  with video.Reader(path) as reader:
    return list(reader), reader


KINDS = {
  ".mp4": {"options": {"movflags": "+faststart"}},
  ".mov": {"options": {"movflags": "+faststart"}},
  ".mkv": {},
  ".webm": {"codec": "libvpx-vp9"},
  ".avi": {"codec": "mjpeg"},
  ".flv": {"codec": "flv"},
}
# These do not say how long they are; of one that ends early nothing is known.
UNTOLD = {".mpg": {"codec": "mpeg2video"}, ".ts": {}, ".wmv": {"codec": "wmv2"}}


@pytest.mark.parametrize("suffix", [*KINDS, *UNTOLD])
def test_a_whole_video_is_whole(suffix, tmp_path):
  made = _made(tmp_path / f"a{suffix}", **(KINDS | UNTOLD)[suffix])
  frames, reader = _read(made)
  assert [frame.number for frame in frames] == list(range(FRAMES))
  assert (reader.missing, reader.size, reader.fps) == ("", (64, 48), FPS)
  np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(FRAMES) / FPS, atol=0.002)
  for number in (0, 17, FRAMES - 1):
    assert np.abs(frames[number].pixels.astype(int) - np.roll(BASE, 3 * number, 1)).mean() < 12


@pytest.mark.parametrize("suffix", KINDS)
def test_a_video_that_ends_early_is_told(suffix, tmp_path):
  content = _made(tmp_path / f"whole{suffix}", **KINDS[suffix]).read_bytes()
  (tmp_path / f"cut{suffix}").write_bytes(content[: len(content) * 6 // 10])
  frames, reader = _read(tmp_path / f"cut{suffix}")
  assert 5 < len(frames) < FRAMES - 5
  assert "copy it again" in reader.missing


def test_how_many_are_missing(tmp_path):
  content = _made(tmp_path / "whole.avi", "mjpeg").read_bytes()
  (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
  frames, reader = _read(tmp_path / "cut.avi")
  whole = FRAMES - len(frames)
  assert reader.missing in {
    f"{count} of its 40 frames are missing or damaged; copy it again" for count in (whole, whole + 1)
  }


def test_a_frame_in_between_that_fails_is_told(tmp_path):
  made = _made(tmp_path / "a.avi", "mjpeg")
  content = bytearray(made.read_bytes())
  places = [at for at in range(len(content)) if content[at : at + 4] == b"00dc"][:FRAMES]
  begin, size = places[20] + 8, int.from_bytes(content[places[20] + 4 : places[20] + 8], "little")
  content[begin : begin + size] = bytes(size)
  made.write_bytes(content)
  frames, reader = _read(made)
  assert len(frames) == FRAMES - 1
  assert reader.missing == "1 of its 40 frames are missing or damaged; copy it again"


def test_frames_that_an_edit_left_out_are_not_missing(tmp_path):
  """As a telephone trims: the file holds all frames, and says to begin later."""
  source = _made(tmp_path / "a.mp4")
  options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
  with av.open(str(source)) as whole, av.open(str(tmp_path / "b.mp4"), "w", options=options) as trimmed:
    stream = whole.streams.video[0]
    copied = trimmed.add_stream_from_template(stream)
    shift = int(fractions.Fraction(7, FPS) / stream.time_base)
    for packet in whole.demux(stream):
      if packet.dts is not None:
        packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
        trimmed.mux(packet)
  frames, reader = _read(tmp_path / "b.mp4")
  assert len(frames) == FRAMES - 7
  assert reader.missing == ""
  content = bytearray((tmp_path / "b.mp4").read_bytes())
  at = content.rindex(b"elst") + 12  # how long the last edit lasts, in ms
  assert int.from_bytes(content[at : at + 4], "big") > 1000
  content[at : at + 4] = (600).to_bytes(4, "big")
  (tmp_path / "c.mp4").write_bytes(content)
  frames, reader = _read(tmp_path / "c.mp4")
  assert len(frames) < 25
  assert reader.missing == ""


@pytest.mark.parametrize(("rotation", "quarters"), [(-90, -1), (90, 1), (180, 2)])
def test_a_turned_video_is_turned_back(rotation, quarters, tmp_path):
  frames, reader = _read(_made(tmp_path / "a.mp4", frames=3, rotation=rotation))
  expected = np.rot90(BASE, quarters)
  assert reader.size == expected.shape[1::-1]
  assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 4


MATRICES = {
  (1, 0, 0, 1): BASE, (-1, 0, 0, 1): BASE[:, ::-1], (1, 0, 0, -1): BASE[::-1], (-1, 0, 0, -1): BASE[::-1, ::-1],
  (0, 1, 1, 0): BASE.swapaxes(0, 1), (0, -1, -1, 0): BASE[::-1, ::-1].swapaxes(0, 1), (0, 1, -1, 0): np.rot90(BASE, -1),
}  # fmt: skip


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_video_is_shown_as_its_matrix_says(matrix, tmp_path):
  """Mirrored, too, as by a front camera: else a right hand would be a left one."""
  made = _made(tmp_path / "a.mp4", frames=2)
  content = bytearray(made.read_bytes())
  at = content.index(b"tkhd") + 44
  a, b, c, d = (65536 * value for value in matrix)
  content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
  made.write_bytes(content)
  frames, reader = _read(made)
  assert reader.size == MATRICES[matrix].shape[1::-1]
  assert np.abs(frames[0].pixels.astype(int) - MATRICES[matrix]).mean() < 4


def test_pixels_that_are_no_squares_become_squares(tmp_path):
  frames, reader = _read(_made(tmp_path / "a.mp4", frames=2, pixel=fractions.Fraction(3, 2), rotation=90))
  assert reader.size == (48, 96)
  assert reader.remarks == ("its pixels are no squares: it is stretched to 48 x 96",)
  expected = np.rot90(cv2.resize(BASE, (96, 48), interpolation=cv2.INTER_LINEAR))
  assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 4
  for pixel in (None, fractions.Fraction(1), fractions.Fraction(99)):
    _, reader = _read(_made(tmp_path / "b.mp4", frames=2, pixel=pixel))
    assert (reader.size, reader.remarks) == ((64, 48), ())


@pytest.mark.parametrize("kind", [".mp4", ".mkv", ".avi"])
def test_an_uneven_pace_is_kept(kind, tmp_path):
  ticks = (np.cumsum(np.tile([40, 80, 120], 7)) - 40).tolist()
  frames, read = _read(_made(tmp_path / f"a{kind}", "mpeg4", frames=21, ticks=ticks))
  assert (len(frames), read.missing) == (21, "")
  times = np.array(ticks) / 1000
  np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=0.002)
  with video.Writer(tmp_path / "b.mp4", 16.0, (64, 48)) as writer:
    for frame in frames:
      writer.add(frame.pixels, frame.time_s)
  again, reader = _read(tmp_path / "b.mp4")
  np.testing.assert_allclose([frame.time_s for frame in again], times, atol=0.002)
  assert reader.missing == ""


def test_what_is_written_is_what_browsers_play(tmp_path):
  """H.264 of 4:2:0, its index before its frames; an odd size loses a pixel, another one is scaled."""
  with video.Writer(tmp_path / "a.mp4", 25.0, (65, 49)) as writer:
    writer.add(np.pad(BASE, ((0, 1), (0, 1), (0, 0))), 0.0)
    writer.add(cv2.resize(BASE, (130, 98)), 0.04)
  with av.open(str(tmp_path / "a.mp4")) as container:
    stream = container.streams.video[0]
    context = stream.codec_context
    assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 64, 48)
    assert stream.frames == 2
  content = (tmp_path / "a.mp4").read_bytes()
  assert content.index(b"moov") < content.index(b"mdat")
  frames, _ = _read(tmp_path / "a.mp4")
  assert all(np.abs(frame.pixels.astype(int) - BASE).mean() < 8 for frame in frames)


def test_frames_over_what_the_format_takes_are_shrunk(tmp_path):
  with video.Writer(tmp_path / "a.mp4", 25.0, (32768, 64)) as writer:
    writer.add(np.zeros((64, 32768, 3), np.uint8), 0.0)
  with video.Reader(tmp_path / "a.mp4") as reader:
    assert reader.size == (16384, 32)


def test_an_error_leaves_no_half_of_a_video(tmp_path):
  def write():
    with video.Writer(tmp_path / "a.mp4", 25.0, (64, 48)) as writer:
      writer.add(BASE, 0.0)
      raise KeyError

  with pytest.raises(KeyError):
    write()
  assert list(tmp_path.iterdir()) == []


def _sound(path):
  with av.open(str(path), "w") as container:
    stream = container.add_stream("aac", rate=8000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
    frame.rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def test_files_without_a_video_are_named(tmp_path):
  _sound(tmp_path / "sound.mp4")
  (tmp_path / "empty.mp4").touch()
  (tmp_path / "text.mp4").write_text("no video\n" * 99)
  _made(tmp_path / "other.ts")
  # What would make FFmpeg read another file.
  (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/other.ts'\n")
  (tmp_path / "list.m3u8.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/other.ts\n#EXT-X-ENDLIST\n")
  whole = _made(tmp_path / "whole.mp4").read_bytes()  # its index is behind its frames
  (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
  for name, message in (
    ("sound.mp4", "it has no moving pictures, only audio"),
    ("empty.mp4", "it is empty"),
    ("text.mp4", "no video that can be decoded"),
    ("list.mp4", "no video that can be decoded"),
    ("list.m3u8.mp4", "no video that can be decoded"),
    ("cut.mp4", "or its end is missing"),
    (".", "it is no file"),
  ):
    with pytest.raises(BadPicture, match=f"{message}"):
      video.Reader(tmp_path / name)


def test_frames_over_the_limit_are_not_decoded(tmp_path, monkeypatch):
  """Neither as the head says it, nor where the head is wrong and the frames are larger."""
  made = _made(tmp_path / "a.mp4", frames=2)
  with monkeypatch.context() as patch:
    patch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(BadPicture, match="its frames have 64 x 48 pixels"):
      video.Reader(made)
  monkeypatch.setitem(video._OPTIONS, "max_pixels", str(64 * 48 - 1))
  with pytest.raises(BadPicture, match="it is no video that can be decoded"):
    video.Reader(made)
