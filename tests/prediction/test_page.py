"""What a page shows, of whatever was found."""

import base64
import dataclasses
import json
import os
import pathlib
import re
import sys

import numpy as np
import pytest

from jaxhands.prediction import page
from jaxhands.prediction.predictions_json import About, Failed, PictureResult
from tests.prediction import spots

PIXELS = spots.picture(200, 300, right=(100, 80), left=(200, 120))


@pytest.fixture(scope="module")
def hands():
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "jaxhands.systems.spots", spots)
    return spots.make_model().predict([PIXELS])


def _result(hands, frame=None):
  return PictureResult("a.png", frame, PIXELS.shape[:2], "unknown", hands, overlay="overlays/a.jpg")


def _data(gallery, failed=(), passed_over=(), samples=0):
  text = page.html(gallery, [gallery], failed, passed_over, About("runs/</script>", "spots", False, samples))
  assert text.count("</script>") == 2
  (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
  return json.loads(data)


def test_a_hand_is_marked_from_a_tenth_of_its_size_on(hands):
  size = np.ptp(hands.joints_img[0], axis=1).max(-1)
  errors = np.repeat((size * (0.09, 0.11))[None, :, None], 21, -1).astype(np.float32)
  assert page.large_error(dataclasses.replace(hands, reprojection_px=errors), 0) == [False, True]
  nowhere = dataclasses.replace(hands, reprojection_px=errors, joints_cam_valid=np.zeros((1, 2), bool))
  assert page.large_error(nowhere, 0) == [False, False]


@pytest.mark.parametrize(("count", "stride", "shown"), [(10, 1, 10), (300, 1, 300), (301, 2, 151), (1000, 4, 250)])
def test_a_long_video_is_thinned_out(count, stride, shown, hands):
  gallery = page.Gallery("index.html", "clip", 20.0)
  for number in range(count):
    gallery.add(_result(hands, number), PIXELS)
  assert (gallery.stride, gallery.count) == (stride, count)
  assert [each.result.frame for each in gallery.shown] == list(range(0, count, stride))[:shown]
  assert _data(gallery)["fps"] == 20.0 / stride
  gallery.renew([dataclasses.replace(_result(hands, number), meshes=(f"{number}.ply",)) for number in range(count)])
  assert [each.result.meshes for each in gallery.shown] == [(f"{each.result.frame}.ply",) for each in gallery.shown]
  assert [each.result.frame for each in gallery.shown] == list(range(0, count, stride))[:shown]


def test_of_many_pictures_the_first_are_shown(hands):
  gallery = page.Gallery("index.html", "pictures")
  for _ in range(page.MAX_SHOWN + 2):
    gallery.add(_result(hands), PIXELS)
  data = _data(gallery)
  assert len(data["pictures"]) == page.MAX_SHOWN
  assert data["about"] == "spots of runs/</script>; the first 300 of 302 pictures"


def test_what_was_not_used_is_listed(hands, tmp_path):
  odd, gone = tmp_path / "b.\x1b", tmp_path / "c.jpg"
  odd.touch()
  gone.symlink_to(tmp_path / "nowhere")
  gallery = page.Gallery("index.html", "pictures")
  gallery.add(_result(hands), PIXELS)
  data = _data(gallery, [Failed("b\udce9.jpg", "it is empty")], [pathlib.Path("x/.a"), odd, gone])
  assert data["failed"] == [[r"b\xe9.jpg", "it is empty", False]]
  assert data["passed_over"] == r"1 hidden, 1 .\x1b, 1 no file (a device, or a link to nothing)"


def test_what_may_not_be_looked_at_is_no_file(tmp_path, monkeypatch):
  (tmp_path / "locked").mkdir(mode=0)
  (tmp_path / "a.jpg").symlink_to(pathlib.Path("locked", "a.jpg"))
  monkeypatch.chdir(tmp_path)
  tmp_path.chmod(0o755)  # others may not come from above; they start here
  user = os.geteuid()
  os.seteuid(user or 65534)  # root may look everywhere
  try:
    assert page.by_kind([pathlib.Path("a.jpg"), pathlib.Path("locked")]) == (
      "1 no file (a device, or a link to nothing), 1 folder"
    )
  finally:
    os.seteuid(user)
  (tmp_path / "locked").chmod(0o755)


def test_samples_and_deviations_of_hands_that_are_placed_are_on_the_page(hands):
  rng = np.random.default_rng(0)
  samples = rng.normal([0, 0, 500], [3, 4, 30], (1, 8, 2, 21, 3)).astype(np.float32)
  placed = np.array([[True, False]])
  spread = dataclasses.replace(hands, raw=hands.raw | {"samples": samples}, joints_cam_valid=placed)
  gallery = page.Gallery("index.html", "pictures")
  gallery.add(_result(spread), PIXELS, lambda: PIXELS // 2)
  gallery.add(_result(hands), PIXELS)
  with_samples, without = _data(gallery, samples=3)["pictures"]
  own = samples[0, :, 0] - samples[0, :, 0, 20:]
  expected = [np.sqrt(np.square(x - x.mean(0)).sum(-1).mean(0)) for x in (own, samples[0, :, 0])]
  np.testing.assert_allclose(with_samples["deviation"][0], expected, atol=0.06)
  packed = with_samples["samples"][0]
  points = np.frombuffer(base64.b64decode(packed["tenths"]), "<i2").reshape(3, 21, 3) / 10 + packed["origin"]
  np.testing.assert_allclose(points, samples[0, :3, 0], atol=0.06)
  assert with_samples["deviation"][1] is with_samples["samples"][1] is None, "nobody knows where it is"
  assert with_samples["sure"].startswith("data:image/jpeg;base64,")
  assert with_samples["sure"] != with_samples["image"]
  assert (without["samples"], without["deviation"], without["sure"]) == ([None] * 2, [None] * 2, "")
  assert _data(gallery)["pictures"][0]["samples"] == [None] * 2, "none were asked for"
