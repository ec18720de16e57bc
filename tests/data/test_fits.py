"""Parameters from a table where records have none of their own."""

import dataclasses

import numpy as np
import pytest

from jaxhands import schema
from jaxhands.data.fits import LARGEST_MM, LARGEST_SHAPE, Fits
from jaxhands.data.records import DataSet, Records
from jaxhands.runs.folder import DamagedFile
from tests.data.conftest import make_record

NEEDS = {"mano", "mano_valid", "joints_cam"}


def _table(path, rows=7, split="val", **changes):
  rng = np.random.default_rng(0)
  found = [make_record(split, row) for row in range(rows)]
  arrays = {
    "hand_model": np.array("embedded-v1"),
    "record_id": np.array([record["record_id"] for record in found]),
    "record_hash": np.array([schema.record_hash(record["source"], record["box_img"]) for record in found]),
    "mano": rng.normal(size=(rows, 2, 61)).astype(np.float32),
    "valid": np.ones((rows, 2), bool),
    "converged": np.ones((rows, 2), bool),
    "residual_mm": np.full((rows, 2), 3.0, np.float32),
    "error_mm": np.full((rows, 2, 21), 3.0, np.float32),
  }
  np.savez(path, **(arrays | changes))
  return arrays | changes


def test_hands_without_parameters_get_those_of_the_table(folder, tmp_path):
  path = tmp_path / "fits.npz"
  residual = np.full((7, 2), 3.0, np.float32)
  residual[2, 0], residual[5, 0] = LARGEST_MM + 0.1, 0.0
  converged = np.ones((7, 2), bool)
  converged[3, 0] = False
  table = _table(path, residual_mm=residual, error_mm=np.repeat(residual[..., None], 21, -1), converged=converged)
  opened = Records(DataSet(folder, "val", fits=str(path)), "pair", NEEDS)
  assert opened.hand_model == "embedded-v1"
  for row in range(7):
    expected = make_record("val", row)["hand_present"] & (residual[row] > 0) & (residual[row] < LARGEST_MM)
    expected &= converged[row]
    np.testing.assert_array_equal(opened[row]["mano_valid"], expected)
    np.testing.assert_array_equal(opened[row]["mano"], table["mano"][row] * expected[:, None])
  plain = Records(DataSet(folder, "val"), "pair", NEEDS)
  assert not plain[0]["mano_valid"].any()
  assert plain.hand_model == ""


def test_a_shape_that_no_hand_has_and_a_joint_or_two_teach_nothing(tmp_path):
  table = _table(tmp_path / "fits.npz")
  mano, error_mm = table["mano"].copy(), table["error_mm"].copy()
  mano[1, 0, schema.MANO_SHAPE.start], mano[2, 1, schema.MANO_SHAPE.stop - 1] = -LARGEST_SHAPE - 1, LARGEST_SHAPE + 1
  error_mm[3, 0, 2:], error_mm[4, 1, 3:], error_mm[5, 0] = 0, 0, 0
  _table(tmp_path / "fits.npz", mano=mano, error_mm=error_mm)
  fits, expected = Fits.read(tmp_path / "fits.npz"), np.ones((7, 2), bool)
  expected[[1, 2, 3, 5], [0, 1, 0, 0]] = False
  np.testing.assert_array_equal(fits.valid, expected)
  np.testing.assert_array_equal(fits.mano, np.where(expected[..., None], mano, 0))


def test_own_parameters_stay(tmp_path):
  _table(tmp_path / "fits.npz")
  fits = Fits.read(tmp_path / "fits.npz")
  record = make_record("val", 2) | {"mano": np.full((2, 61), 7, np.float32), "mano_valid": np.array([True, False])}
  filled = fits.filled(record)
  assert (filled["mano"][0] == 7).all()
  np.testing.assert_array_equal(filled["mano"][1], fits.mano[2, 1])
  assert filled["mano_valid"].all()
  other = record | {"source": "another picture", "mano_valid": np.ones(2, bool)}
  assert fits.filled(other) is other, "a record that lacks nothing needs no row"


def test_a_table_of_other_data_is_refused(folder, tmp_path):
  path = tmp_path / "fits.npz"
  _table(path, split="train")
  with pytest.raises(ValueError, match=r"fits\.npz has no fit of record 0; fit this data set"):
    Records(DataSet(folder, "val", fits=str(path)), "pair", NEEDS)
  Records(DataSet(folder, "val", fits=str(path)), "pair", {"joints_cam"})  # who needs no parameters needs no table
  np.savez(path, mano=np.zeros((1, 2, 61)))
  with pytest.raises(DamagedFile, match="python -m jaxhands fit"):
    Fits.read(path)


def test_two_hand_models_do_not_mix(folder, tmp_path):
  _table(tmp_path / "fits.npz", hand_model=np.array("mano"))
  opened = Records(DataSet(folder, "val", fits=str(tmp_path / "fits.npz")), "pair", NEEDS)
  assert opened.hand_model == "mano"
  opened._index = dataclasses.replace(opened._index, hand_models=("embedded-v1",))
  with pytest.raises(ValueError, match=r"fits\.npz mixes parameters of the hand models \['embedded-v1', 'mano'\]"):
    assert opened.hand_model
