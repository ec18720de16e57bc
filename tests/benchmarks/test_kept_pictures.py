"""The sheet of what kept weights see: which pictures are on it, and where joints lie in a tile."""

import numpy as np

from benchmarks import kept_pictures


def test_three_of_one_hand_then_five_of_two():
  shown = kept_pictures.records()
  assert [bool(record["hand_present"].all()) for record in shown] == [False] * 3 + [True] * 5
  numbers = {int(record["record_id"]) for record in shown}
  assert len(numbers) == 8


def test_joints_are_drawn_where_they_are():
  record = kept_pictures.records()[0]
  absent = np.zeros(2, bool)
  plain = kept_pictures.tile(record, record["joints_img"], absent)
  x, y, width, height = record["box_img"]
  centre = np.broadcast_to([x + width / 2, y + height / 2], (2, 21, 2))  # in the middle of the tile
  drawn = kept_pictures.tile(record, centre, np.array([True, False]))
  rows, columns = np.nonzero((drawn != plain).any(-1))
  middle = np.array(plain.shape[:2]) / 2
  assert np.abs(np.stack([rows, columns]).mean(1) - middle).max() < 1
  assert np.abs(np.stack([rows, columns], 1) - middle).max() < 12
