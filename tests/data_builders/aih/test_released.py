"""The authors' AIH from a made-up download: what is built of it, and every fault by its name."""

import os
import shutil
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.aih import __main__, released
from data_builders.aih.released.layout import read_filtered, read_syn
from data_builders.aih.released.records import _box, moved
from data_builders.problems import Problems
from data_builders.shards import BuildError
from jaxhands.data.records import DataSet, Records
from jaxhands.schema import unpack_masks
from tests.data_builders.aih import download as made_up


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
  folder = tmp_path_factory.mktemp("aih")
  made_up.write(folder)
  return folder


@pytest.fixture
def source(pristine, tmp_path):
  """A copy of the download that may be damaged."""
  return shutil.copytree(pristine, tmp_path / "download")


@pytest.fixture(scope="module")
def built(pristine, tmp_path_factory):
  folder, lines = released.build(released.ReleasedConfig(str(pristine)), tmp_path_factory.mktemp("out"), jobs=1)
  assert lines == []
  return folder


@pytest.fixture(scope="module")
def records(built):
  return {
    split: {r["source"].decode(): r for r in tfds.builder_from_directory(built).as_data_source(split)}
    for split in ("train", "val", "test")
  }


def masks_of(record):
  return unpack_masks(record["masks"][..., 0])


def problems_of(source):
  problems = Problems(released.KINDS)
  lines = released.verify(released.ReleasedConfig(str(source)), problems, lambda what, done, total: None)
  return problems.lines(), lines


def test_all_that_is_there_is_built(records):
  assert {split: len(rows) for split, rows in records.items()} == {"train": 7, "val": 4, "test": 3}
  ids = [int(record["record_id"]) for rows in records.values() for record in rows.values()]
  assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("hand", "name"), [(0, "right"), (1, "left")])
def test_rendered_pictures_have_the_masks_that_are_known(records, pristine, hand, name):
  letter = made_up.LETTERS[hand]
  record = records["val"][f"render/val/machine_annot/{name}/val_{letter}_1"]
  masks = masks_of(record)
  np.testing.assert_array_equal(masks[hand, 0], made_up.target(hand))
  np.testing.assert_array_equal(masks[1 - hand, 1], made_up.other(hand))
  np.testing.assert_array_equal(masks[hand, 1], made_up.target(hand) & (1 - made_up.other(hand)))
  expected = np.array([[False, True], [False, True]])
  expected[hand, 0] = True
  np.testing.assert_array_equal(record["masks_valid"], expected)
  np.testing.assert_array_equal(record["removed_valid"], np.arange(2) == hand)
  path = pristine / "AIH_render" / "machine_annot" / "val" / "images" / f"{letter}_images"
  np.testing.assert_array_equal(record["picture"], cv2.imread(str(path / "IH" / f"val_{letter}_1.jpg"))[..., ::-1])
  gone = cv2.imread(str(path / "DR_gt" / f"val_{letter}_1.jpg"))[..., ::-1]
  np.testing.assert_array_equal(record[f"removed_{name}"], gone)
  np.testing.assert_array_equal(record["box_img"], [80 + 20 * hand, 88, 80, 80])
  assert record["hand_present"].all()
  assert record["annotation_kind"] == b"machine"


def expected_syn(pristine, split, recipe):
  """Picture, masks by hand and the moved picture below, as the release makes them: a left hand below is mirrored."""
  hand = 0 if recipe["loop_side"] == "right" else 1
  layers = []
  for side, place in ((hand, recipe["loop_side_idx"]), (1 - hand, recipe["another_side_idx"])):
    if place < 0:
      continue
    number, letter = made_up.IDS[side][place], made_up.LETTERS[side]
    path = pristine / "AIH_syn" / made_up.BRANCH / split / "images" / f"{letter}_images" / f"{number}.jpg"
    picture, mask = cv2.imread(str(path))[..., ::-1], made_up.single(side, number)
    (x, y), scale, degrees = recipe[f"{letter}_aug_list"][:3]
    centre = np.array([127.5 + 255 * x, 127.5 + 255 * y])
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    linear = 256 / (255 * scale) * np.array([[cos, sin], [-sin, cos]])
    affine = np.concatenate([linear, (128 - linear @ centre)[:, None]], axis=1)
    if hand == 1:
      picture, mask = picture[:, ::-1], mask[:, ::-1]
    warped = [cv2.warpAffine(np.ascontiguousarray(layer), affine, (256, 256)) for layer in (picture, mask)]
    layers.append([layer[:, ::-1] for layer in warped] if hand == 1 else warped)
  below, above = layers[0], layers[1] if len(layers) > 1 else (np.zeros_like(layers[0][0]), np.zeros_like(layers[0][1]))
  seen = np.where(above[1][..., None] > 0, above[0], below[0])
  return hand, seen, below, above


@pytest.mark.parametrize("number", range(3))
def test_pasted_pictures_are_made_as_the_release_makes_them(records, pristine, number):
  recipe = made_up.RECIPES[number]
  hand, seen, below, above = expected_syn(pristine, "test", recipe)
  record = list(records["test"].values())[number]
  masks, name = masks_of(record), ("right", "left")[hand]
  pasted = recipe["another_side_idx"] >= 0
  assert (masks[hand, 0] != below[1]).mean() < 1e-3
  assert (masks[1 - hand, 0] != above[1]).mean() < 1e-3
  np.testing.assert_array_equal(masks[hand, 1], masks[hand, 0] & (1 - masks[1 - hand, 0]))
  np.testing.assert_array_equal(masks[1 - hand, 1], masks[1 - hand, 0])
  for made, expected in ((record["picture"], seen), (record[f"removed_{name}"], below[0])):
    assert np.abs(made.astype(int) - expected).mean() < 3  # JPEG
  assert record["hand_present"].sum() == 1 + pasted
  np.testing.assert_array_equal(record["removed_valid"], np.arange(2) == hand)
  hidden = (masks[hand, 0] & masks[1 - hand, 0]).sum()
  assert (hidden > 500) == pasted


def test_every_target_is_an_example_of_its_hand(built):
  needs = ("image", "masks", "masks_valid", "removed", "removed_valid")
  records = Records(DataSet(str(built), "train"), "hand", needs)
  assert len(records) == 7
  assert sorted(records[i]["view"] for i in range(7)) == ["left"] * 3 + ["right"] * 4
  for i in range(7):
    assert records[i]["removed_valid"][0 if records[i]["view"] == "right" else 1]


def test_a_sound_download_has_no_problem(pristine):
  problems, lines = problems_of(pristine)
  assert problems == []
  assert lines[0] == "train: 4 records of AIH_Render and 3 of AIH_Syn can be built"


def test_every_fault_is_named(source):
  render, syn = source / "AIH_render" / "machine_annot", source / "AIH_syn"
  picture = render / "train" / "images" / "r_images" / "IH" / "train_r_0.jpg"
  picture.write_bytes(picture.read_bytes()[:-40])
  (render / "train" / "images" / "l_images" / "DR_gt" / "train_l_0.jpg").unlink()
  label = render / "val" / "labels" / "in_r_images" / "r_amodal" / "val_r_1.png"
  label.write_bytes(label.read_bytes()[:-10])
  (render / "val" / "images" / "l_images" / "IH" / "val_l_1.jpg").unlink()
  (syn / "machine_annot" / "test" / "labels" / "in_l_images" / "l_amodal" / "40.png").unlink()
  path = syn / "syn_cfgs" / "all_machine_annot_train_syn_cfgs.npy"
  entries = np.load(path, allow_pickle=True)
  entries[0]["loop_side_idx"] = 99
  entries[1]["loop_side"] = "upper"
  np.save(path, entries)
  problems, lines = problems_of(source)
  assert lines == [
    "train: 2 records of AIH_Render and 1 of AIH_Syn can be built",
    "val: 2 records of AIH_Render and 0 of AIH_Syn can be built",
    "test: 0 records of AIH_Render and 2 of AIH_Syn can be built",
  ]
  expected = [
    ("train: 2 x malformed entry [record left out]", "entry 0 (names hand 99 of a list of 3)"),
    ("train: 1 x missing picture [record left out]", "l_images/DR_gt/train_l_0.jpg"),
    ("train: 1 x cut picture [record left out]", "r_images/IH/train_r_0.jpg (no end mark"),
    ("test: 1 x missing label [record left out]", "l_amodal/40.png"),
    ("val: 1 x cut label [record left out]", "r_amodal/val_r_1.png (no end mark"),
    ("val: 1 x label without picture [noted]", "val_l_1"),
  ]
  assert len(problems) == len(expected)
  for (begins, holds), line in zip(expected, problems, strict=True):
    assert line.startswith(begins)
    assert holds in line


def test_labels_that_contradict_their_picture_cost_their_record(source, tmp_path):
  render, syn = source / "AIH_render" / "machine_annot", source / "AIH_syn" / "machine_annot"
  labels = render / "train" / "labels"
  visible = labels / "in_r_images" / "rl_visible" / "train_r_0.png"
  assert cv2.imwrite(str(visible), np.ones((128, 256), np.uint8))
  assert cv2.imwrite(str(labels / "in_l_images" / "l_amodal" / "train_l_1.png"), np.zeros((256, 256), np.uint8))
  assert cv2.imwrite(str(syn / "test" / "labels" / "in_l_images" / "l_amodal" / "7.png"), np.ones((64, 64), np.uint8))
  problems, lines = problems_of(source)
  assert problems == [
    f"train: 1 x label of another size [record left out]: {visible.relative_to(source / 'AIH_render')} (256 x 128 "
    "pixels, its picture 256 x 256)",
    "test: 1 x label of another size [record left out]: machine_annot/test/labels/in_l_images/l_amodal/7.png (64 x 64 "
    "pixels, its picture 256 x 256)",
    "train: 1 x empty label [record left out]: machine_annot/train/labels/in_l_images/l_amodal/train_l_1.png",
  ]
  assert lines[0].startswith("train: 2 records of AIH_Render")
  folder, found = released.build(released.ReleasedConfig(str(source)), tmp_path / "out", jobs=1)
  assert found == problems
  assert len((folder / "quarantine.tsv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("loop_side_idx", float("inf"), "OverflowError: "), ("another_side_idx", float("nan"), "ValueError: "),
    ("r_aug_list", [[10**400, 0], 1.0, 0.0, None], "OverflowError: "),
    ("loop_side_idx", 3, "names hand 3, whose number 99999999999 is not in"),
    ("loop_side_idx", 4, "names hand 4, whose number -5 is not in"),
  ],
)  # fmt: skip
def test_numbers_that_cannot_be_cost_their_entry(source, field, value, message):
  syn = source / "AIH_syn"
  listing = syn / "filtered_list" / "machine_annot_train_sh_right_filtered.txt"
  listing.write_text(listing.read_text() + "99999999999\n-5\n")
  path = syn / "syn_cfgs" / "all_machine_annot_train_syn_cfgs.npy"
  entries = np.load(path, allow_pickle=True)
  entries[0][field] = value
  np.save(path, entries)
  problems, lines = problems_of(source)
  (line,) = (line for line in problems if "malformed entry" in line)
  assert line.startswith("train: 1 x malformed entry [record left out]: all_machine_annot_train_syn_cfgs.npy entry 0 (")
  assert message in line
  assert lines[0] == "train: 4 records of AIH_Render and 2 of AIH_Syn can be built"


@pytest.mark.parametrize(("area", "box"), [
  ((slice(100, 101), slice(90, 91)), [90, 100, 1, 1]), ((slice(100, 130), slice(90, 91)), [90, 100, 1, 29]),
  ((slice(10, 40), slice(20, 30)), [20, 10, 9, 29]),
])  # fmt: skip
def test_a_box_has_an_area_however_small_the_mask(area, box):
  mask = np.zeros((256, 256), np.uint8)
  mask[area] = 1
  assert _box(mask).tolist() == box


def test_names_that_cannot_be_kept_are_one_finding_each(source, tmp_path):
  """A name in Latin-1 with all of its files, another without, and one that is too long."""
  train = source / "AIH_render" / "machine_annot" / "train"
  for path in list(train.rglob("train_r_0.*")):
    for name in (b"caf\xe9", b"\xc3\xa9" * 49):
      shutil.copy(path, path.with_name(os.fsdecode(name) + path.suffix))
  shutil.copy(train / "images/r_images/IH/train_r_0.jpg", train / "images/l_images/IH" / os.fsdecode(b"\xff.jpg"))
  problems, lines = problems_of(source)
  assert problems == [
    f"train: 3 x malformed entry [record left out]: caf\udce9 (its name is not UTF-8), {'é' * 49} (its name is too "
    "long), \udcff (its name is not UTF-8)"
  ]
  assert lines[0] == "train: 4 records of AIH_Render and 3 of AIH_Syn can be built"
  folder, found = released.build(released.ReleasedConfig(str(source)), tmp_path / "out", jobs=1)
  assert found == problems
  assert "\tcaf\\udce9\t" in (folder / "quarantine.tsv").read_text()


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("syn_cfgs/all_machine_annot_train_syn_cfgs.npy", b"\x93NUMPY", "damaged, or no list of AIH"),
    ("filtered_list/machine_annot_train_sh_left_filtered.txt", b"one\n", "is no list of numbers"),
  ],
)
def test_a_broken_list_stops_the_build(source, tmp_path, name, content, message):
  (source / "AIH_syn" / name).write_bytes(content)
  with pytest.raises(BuildError, match=message):
    released.build(released.ReleasedConfig(str(source)), tmp_path / "out", jobs=1)
  (source / "AIH_syn" / name).unlink()
  problems, _ = problems_of(source)
  assert problems[0].startswith("train: 1 x missing list [cannot build]")


def test_a_list_that_windows_saved(tmp_path):
  (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf11\r\n12\r\n")
  assert read_filtered(tmp_path / "list.txt").tolist() == [11, 12]


def test_nothing_of_a_list_is_run(tmp_path):
  class Hostile:
    def __reduce__(self):
      return exec, ("raise AssertionError('ran')",)

  path = tmp_path / "list.npy"
  entries = np.empty(1, object)
  entries[0] = Hostile()
  with path.open("wb") as file:
    np.lib.format.write_array(file, entries, allow_pickle=True)
  with pytest.raises(ValueError, match=r"asks for builtins.exec, .*; nothing was run"):
    read_syn(path)


def test_a_left_hand_below_is_moved_in_the_mirror():
  picture, mask = made_up.picture(1), made_up.disc(60, 100, 20)
  move = np.array([0.1, 0.0, 1.0, 0.0])
  here, there = (moved(picture, mask, move, mirror)[1] for mirror in (False, True))
  middle = [float(np.nonzero(found)[1].mean()) for found in (here, there)]
  assert middle[0] == pytest.approx(60 - 25.5, abs=1.5)
  assert middle[1] == pytest.approx(60 + 25.5, abs=1.5)


def run(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["aih", *(str(argument) for argument in arguments)])
  __main__.main()


def test_verify_ends_with_status_one_and_a_list(source, tmp_path, monkeypatch, capsys):
  (source / "AIH_syn" / "machine_annot" / "test" / "images" / "r_images" / "11.jpg").unlink()
  with pytest.raises(SystemExit) as caught:
    run(monkeypatch, "--source", source, "--verify", "--list", tmp_path / "list.tsv")
  assert caught.value.code == 1
  assert "1 problems found in" in capsys.readouterr().out
  rows = (tmp_path / "list.tsv").read_text().splitlines()
  assert rows[0].split("\t") == ["problem", "split", "name", "detail", "consequence"]
  assert rows[1].split("\t")[:3] == ["missing picture", "test", "machine_annot/test/images/r_images/11.jpg"]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--verify",), "--verify and --list go with --source"),
    (("--source", "SOURCE", "--train", "3"), "--train is for data that are made"),
    (("--source", "SOURCE", "--list", "x"), "--list goes with --verify"),
    (("--source", "/nowhere"), "/nowhere is no folder"),
    (("--source", "EMPTY"), "has no folder AIH_render or AIH_syn"),
  ],
)
def test_a_bad_argument_is_one_clear_line(pristine, tmp_path, monkeypatch, arguments, message):
  named = {"SOURCE": pristine, "EMPTY": tmp_path}
  with pytest.raises(SystemExit, match=message):
    run(monkeypatch, *(named.get(argument, argument) for argument in arguments))


def test_a_folder_of_something_else_is_refused(pristine, tmp_path):
  (tmp_path / "precious").write_text("mine")
  with pytest.raises(BuildError, match="holds something else"):
    released.build(released.ReleasedConfig(str(pristine)), tmp_path, jobs=1)
