"""Contact sheets show labels where they are, and say so where there are none."""

import errno
import pathlib

import cv2
import numpy as np
import pytest

from data_builders import preview, schema
from data_builders.shards import BuildError, build
from jaxhands.schema import pack_masks
from tests.data_builders.fake_builder import plan

PANELS = 9


def read(record):
  """The record as TFDS decodes it."""

  def value(key):
    field = schema.RECORD[key]
    if field.dtype == "text":
      return record[key].encode()
    if field.dtype == "bytes":
      flag = cv2.IMREAD_GRAYSCALE if field.axes[-1] == "1" else cv2.IMREAD_COLOR_RGB
      picture = cv2.imdecode(np.frombuffer(record[key], np.uint8), flag)
      return picture[..., None] if picture.ndim == 2 else picture
    return record[key]

  return {key: value(key) for key in record}


@pytest.fixture
def bare():
  grey = np.full((240, 120, 3), 100, np.uint8)
  return schema.empty_record() | {"picture": schema.encode_picture(grey), "picture_hw": np.array([240, 120], np.int32)}


def panel(row, number):
  return row[:, number * preview.PANEL_PX : (number + 1) * preview.PANEL_PX]


def test_a_record_without_labels_can_be_looked_at(bare):
  row = preview.draw_record(read(bare))
  assert row.shape == (preview.PANEL_PX, PANELS * preview.PANEL_PX, 3)
  # The picture keeps its aspect.
  np.testing.assert_allclose(panel(row, 2)[100:200, 10:110], 100, atol=2)
  assert not panel(row, 2)[100:200, 130:].any()


def test_labels_are_drawn_where_they_are(bare):
  valid = np.zeros((2, 21), bool)
  valid[0] = True
  joints = np.zeros((2, 21, 2), np.float32)
  joints[0] = (60, 150)
  masks = np.zeros((2, 2, 240, 120), np.uint8)
  masks[1, :, 100:160, 40:80] = 1
  parts = np.zeros((240, 120), np.uint8)
  parts[100:160, 40:80] = 20
  row = preview.draw_record(
    read(
      bare
      | {"joints_img": joints, "joints_img_valid": valid, "joints_visible": valid, "hand_present": valid.any(1)}
      | {"masks": schema.encode_labels(pack_masks(masks)), "masks_valid": np.ones((2, 2), bool)}
      | {"parts": schema.encode_labels(parts), "parts_valid": np.True_}
    )
  )
  assert np.ptp(panel(row, 0)[150, 60]) > 50
  outside = panel(row, 3)[200, 100].astype(int)
  assert np.abs(panel(row, 3)[130, 60].astype(int) - outside).max() > 60
  red, _, blue = (int(c) for c in panel(row, 4)[130, 60])
  assert blue > red + 50


def test_hidden_joints_are_hollow(bare):
  valid = np.zeros((2, 21), bool)
  valid[1, 0] = True
  labels = {"joints_img": valid[..., None] * np.full(2, 120, np.float32), "joints_img_valid": valid}
  rows = [preview.draw_record(read(bare | labels | {"joints_visible": seen})) for seen in (valid, ~valid)]
  colourful = [int(np.ptp(panel(row, 0)[120, 120])) for row in rows]
  assert colourful[0] > 50 > colourful[1]


def test_sheets_cover_all_splits(tmp_path):
  build(plan(train=20, val=3), tmp_path)
  sheets = preview.write_sheets(tmp_path, 10)
  assert [sheet.name for sheet in sheets] == ["sheet_000.png", "sheet_001.png"]
  rows = [cv2.imread(str(sheet)).shape[0] // preview.PANEL_PX for sheet in sheets]
  assert rows == [preview.ROWS, 10 - preview.ROWS]
  assert len(preview.write_sheets(tmp_path, 1000)) == 3
  preview.write_sheets(tmp_path, 1)
  assert [path.name for path in (tmp_path / "preview").iterdir()] == ["sheet_000.png"]


def test_a_folder_that_is_not_finished_is_named(tmp_path):
  with pytest.raises(BuildError, match=r"is no finished data set: it has no dataset_info.json"):
    preview.write_sheets(tmp_path, 4)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_a_damaged_data_set_is_named(tmp_path, name):
  build(plan(train=1), tmp_path)
  preview.write_sheets(tmp_path, 1)
  path = tmp_path / name
  path.write_bytes(path.read_bytes()[:20])
  with pytest.raises(BuildError, match=rf"{name} is damaged, or something else \(.*\); delete it and build"):
    preview.write_sheets(tmp_path, 1)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
  build(plan(train=1), tmp_path)

  def full(path, content):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  with pytest.raises(BuildError, match=r"the disk is full under .*preview; make room and run the same command"):
    preview.write_sheets(tmp_path, 1)
