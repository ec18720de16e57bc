"""A batch depends on (seed, step) alone; evaluation sees every example once."""

import collections
import contextlib
import dataclasses
import signal
import subprocess
import sys

import numpy as np
import pytest

from data_builders import shards
from data_builders.schema import empty_record
from jaxhands import schema
from jaxhands.data import augment, host_ops, source
from jaxhands.data.records import DataSet
from jaxhands.data.source import Reading
from tests.data.conftest import make_record
from tests.data.test_fits import _table

NEEDS = {"image", "crop_from_img", "joints_cam", "joints_img", "masks", "hand_present"}
OPS = host_ops.crop_ops((16, 16), augmentation=augment.INTERNET)
EVAL_OPS = host_ops.crop_ops((16, 16))


@pytest.fixture(scope="module")
def opened(folder):
  return source.open_all([DataSet(folder, "train")], "pair", NEEDS)


def take(batches, count):
  return [next(batches) for _ in range(count)]


def assert_equal(ours, theirs):
  assert len(ours) == len(theirs)
  for a, b in zip(ours, theirs, strict=True):
    assert set(a) == set(b)
    for key in a:
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_batches_fit_the_schema(opened):
  batch = next(source.train_batches(opened, OPS, NEEDS, 4, seed=0))
  assert schema.check(batch, needs=NEEDS)["B"] == 4


@pytest.mark.parametrize("reading", [Reading(threads=1), Reading(threads=3), Reading(keep_bytes=10**7)], ids=str)
def test_threads_and_memory_change_nothing(opened, reading):
  reference = take(source.train_batches(opened, OPS, NEEDS, 4, seed=3), 9)
  assert_equal(take(source.train_batches(opened, OPS, NEEDS, 4, seed=3, reading=reading), 9), reference)


def test_start_is_a_slice(opened):
  reference = take(source.train_batches(opened, OPS, NEEDS, 4, seed=3), 9)
  assert_equal(take(source.train_batches(opened, OPS, NEEDS, 4, seed=3, start=5), 4), reference[5:])


def test_processes_of_a_run_share_every_batch(opened):
  reference = take(source.train_batches(opened, OPS, NEEDS, 4, seed=3), 5)
  readings = [Reading(process_index=index, process_count=2) for index in range(2)]
  parts = [take(source.train_batches(opened, OPS, NEEDS, 4, seed=3, reading=reading), 5) for reading in readings]
  joined = [{key: np.concatenate([a[key], b[key]]) for key in a} for a, b in zip(*parts, strict=True)]
  assert_equal(joined, reference)


def test_seed_decides_order_and_augmentation(opened):
  one, other = (next(source.train_batches(opened, OPS, NEEDS, 13, seed=seed)) for seed in (0, 1))
  assert one["example_id"].tolist() != other["example_id"].tolist()
  order = [np.argsort(batch["example_id"]) for batch in (one, other)]
  assert not np.allclose(one["crop_from_img"][order[0]], other["crop_from_img"][order[1]])


def test_every_epoch_has_every_example_once_in_a_new_order_with_new_crops(opened):
  batches = take(source.train_batches(opened, OPS, NEEDS, 13, seed=0), 3)
  orders = [tuple(batch["example_id"]) for batch in batches]
  assert all(sorted(order) == list(range(0, 52, 4)) for order in orders)
  assert len(set(orders)) == 3
  crops = [batch["crop_from_img"][np.argsort(batch["example_id"])] for batch in batches]
  assert not np.isclose(crops[0], crops[1]).all((1, 2)).any()


def test_data_sets_mix_as_one(folder, other_folder):
  both = source.open_all([DataSet(folder, "train"), DataSet(other_folder, "train")], "pair", NEEDS)
  ids = np.concatenate([batch["example_id"] for batch in take(source.train_batches(both, OPS, NEEDS, 17, seed=0), 2)])
  counts = collections.Counter(ids.tolist())
  assert counts == dict.fromkeys([*range(0, 52, 4), *range(4000, 4016, 4)], 2)


@pytest.mark.parametrize("batch_size", [1, 4, 13, 20])
def test_evaluation_sees_every_example_once_in_order(opened, batch_size):
  batches = list(source.eval_batches(opened, EVAL_OPS, NEEDS, batch_size))
  assert len(batches) == -(-13 // batch_size)
  assert all(len(batch["weight"]) == batch_size for batch in batches)
  ids, weight = (np.concatenate([batch[key] for batch in batches]) for key in ("example_id", "weight"))
  assert ids[weight > 0].tolist() == list(range(0, 52, 4))
  assert set(weight) <= {0, 1}
  assert (np.flatnonzero(weight == 0) >= 13).all()


def test_evaluation_is_padded_for_all_processes_alike(opened):
  parts = [
    list(source.eval_batches(opened, EVAL_OPS, NEEDS, 8, Reading(process_index=index, process_count=4)))
    for index in range(4)
  ]
  assert [len(part) for part in parts] == [2] * 4
  weights = [[batch["weight"].sum() for batch in part] for part in parts]
  assert np.sum(weights) == 13


def test_labels_need_no_pictures(folder):
  needs = {"joints_cam", "hand_present"}
  opened = source.open_all([DataSet(folder, "val")], "pair", needs)
  batches = list(source.eval_batches(opened, (host_ops.ToView(),), needs, 4))
  assert set(batches[0]) == needs | {"example_id", "weight"}


def test_errors_name_the_record_and_the_cause(folder, opened):
  with pytest.raises(ValueError, match="does not divide among 3 processes"):
    source.train_batches(opened, OPS, NEEDS, 4, seed=0, reading=Reading(process_count=3))
  with pytest.raises(ValueError, match="no data set"):
    source.open_all([], "pair", NEEDS)
  too_small = (*EVAL_OPS[:2], host_ops.PadPicture((8, 8)), EVAL_OPS[2])
  with pytest.raises(ValueError, match="does not fit") as caught:
    next(source.eval_batches(opened, too_small, NEEDS, 4))
  assert any(f"{folder}:train[0] (pair)" in note for note in caught.value.__notes__)


@dataclasses.dataclass(frozen=True)
class _Noise:
  """Random before a deterministic op, which then must not be kept."""

  def __call__(self, example, rng):
    return example | {"box_img": example["box_img"] + rng.uniform(0, 5, 4).astype(np.float32)}


def test_nothing_after_a_random_op_is_kept(opened):
  ops = (_Noise(), *EVAL_OPS)
  reference = take(source.train_batches(opened, ops, NEEDS, 13, seed=1), 3)
  kept = take(source.train_batches(opened, ops, NEEDS, 13, seed=1, reading=Reading(keep_bytes=10**7)), 3)
  assert_equal(kept, reference)
  assert not np.array_equal(np.sort(reference[0]["crop_from_img"], 0), np.sort(reference[1]["crop_from_img"], 0))


def test_worker_processes_change_nothing(opened):
  reference = take(source.train_batches(opened, OPS, NEEDS, 4, seed=3, start=2), 5)
  workers = source.train_batches(opened, OPS, NEEDS, 4, seed=3, start=2, reading=Reading(processes=2))
  assert_equal(take(workers, 5), reference)


_KILLED = """
import os, signal, sys
from jaxhands.data import feed, host_ops, source
from jaxhands.data.records import DataSet

needs = {"joints_cam"}
records = source.open_all([DataSet(sys.argv[1], "train")], "pair", needs)
reading = source.Reading(processes=2)
batches = feed.ahead(lambda: source.train_batches(records, (host_ops.ToView(),), needs, 4, 0, reading=reading))
next(batches)
print("read", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_worker_processes_end_with_a_run_that_is_killed(folder):
  """They have its standard output, which is closed only when they are gone, too."""
  command = [sys.executable, "-c", _KILLED, folder]
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
  assert (done.returncode, done.stdout) == (-signal.SIGKILL, "read\n")


def test_an_evaluation_keeps_no_examples(opened, monkeypatch):
  limits = []
  cached = source.Cached
  monkeypatch.setattr(source, "Cached", lambda *arguments: limits.append(arguments[-1]) or cached(*arguments))
  next(source.eval_batches(opened, EVAL_OPS, NEEDS, 4, Reading(keep_bytes=10**7)))
  next(source.train_batches(opened, EVAL_OPS, NEEDS, 4, seed=0, reading=Reading(keep_bytes=10**7)))
  assert limits == [0, 10**7]


def test_some_examples_are_those_of_the_whole(opened):
  whole = next(source.eval_batches(opened, EVAL_OPS, NEEDS, 13))
  positions = [7, 2, 2, 12, 0]
  batches = list(source.eval_batches(opened, EVAL_OPS, NEEDS, 2, positions=positions))
  joined = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
  assert joined["weight"].tolist() == [1, 1, 1, 1, 1, 0]
  for key in set(NEEDS) | {"example_id"}:
    np.testing.assert_array_equal(joined[key][:5], whole[key][positions], err_msg=key)


HDRM = {"image", "masks", "masks_valid", "removed", "removed_valid"}
SHPE = {"image", "joints_img", "joints_img_valid", "removed", "removed_valid"}


@pytest.mark.parametrize(("needs", "missing"), [
  ({"image", "mano", "mano_valid"}, "mano"), (HDRM, "removed"), (HDRM - {"removed", "removed_valid"}, None),
  (SHPE, None), ({"image", "parts", "parts_valid"}, None),
])  # fmt: skip
def test_a_label_that_no_record_has_is_not_trained_on(folder, other_folder, needs, missing):
  opened = source.open_all([DataSet(folder, "train"), DataSet(other_folder, "train")], "pair", needs)
  refusal = pytest.raises(ValueError, match=f"train has a valid '{missing}'")
  with refusal if missing else contextlib.nullcontext():
    source.check_labels(opened, needs)
  next(source.eval_batches(opened, EVAL_OPS, needs, 2))  # which leaves metrics out


def without(label, folder):
  """A data set like `folder`'s whose records have no `label`."""

  def make(split, index):
    record, empty = make_record(split, index), empty_record()
    return record | {key: empty[key] for key in (label, f"{label}_valid")}

  return str(shards.build(shards.Plan("tiny", {"without": label}, {"train": 4}, make, "Less."), folder))


def test_a_set_may_lack_what_another_one_has(folder, tmp_path):
  needs = {"image", "parts", "parts_valid"}
  lacking = DataSet(without("parts", tmp_path / "less"), "train")
  with pytest.raises(ValueError, match=r"less:train has a valid 'parts', so that nothing is learnt from it"):
    source.check_labels(source.open_all([lacking], "pair", needs), needs)
  source.check_labels(source.open_all([lacking, DataSet(folder, "train")], "pair", needs), needs)


def test_fits_are_parameters_to_learn_from(folder, tmp_path):
  _table(tmp_path / "fits.npz")
  needs = {"image", "mano", "mano_valid"}
  opened = source.open_all([DataSet(folder, "val", fits=str(tmp_path / "fits.npz"))], "pair", needs)
  source.check_labels(opened, needs)


def test_joints_in_the_picture_alone_are_trained_on_with_a_line(tmp_path, caplog):
  needs = {"image", "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid"}
  opened = source.open_all([DataSet(without("joints_cam", tmp_path / "flat"), "train")], "pair", needs)
  for _ in range(2):
    source.check_labels(opened, needs)
  assert caplog.text.count("flat:train has a valid 'joints_cam': losses that need it are 0") == 1
