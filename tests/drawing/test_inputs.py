"""The sheet of inputs shows what the losses get, where they get it."""

import dataclasses
import importlib
import pathlib

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import cli, schema
from jaxhands.data import colour, host_ops, source
from jaxhands.drawing import inputs, overlay, two_hands
from jaxhands.geometry import crop
from jaxhands.runs import run_data, stages
from jaxhands.systems import base, construct
from jaxhands.train import loop, step
from tests.contract import records
from tests.data.conftest import build
from tests.train import toys


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
  return pathlib.Path(build(tmp_path_factory.mktemp("inputs") / "data", train=13, val=7))


# ---- the batch ------------------------------------------------------------------


@pytest.mark.parametrize("accumulation", [1, 2])
def test_inputs_are_what_the_losses_of_that_step_get(accumulation):
  seen = []

  @dataclasses.dataclass(frozen=True)
  class Spy(toys.Regressor):
    def _loss(self, variables, batch, rng):
      jax.debug.callback(lambda image: seen.append(np.asarray(image)), batch["image"])
      return super()._loss(variables, batch, rng)

  system, config = Spy(), toys.config(accumulation=accumulation)
  batch = {key: jnp.asarray(value) for key, value in toys.host_batch(3, 8).items()}
  prepared = loop.prepare(system, config, batch, toys.EXAMPLES)
  variables = step.make_init(system, config.seed, accumulation)(batch)
  constants = variables.pop("constants")
  state = dataclasses.replace(prepared.state(variables, averages=False), step=jnp.int32(3))
  train_step = step.make_train_step(system, prepared.shares, prepared.transforms, config.seed, accumulation)
  jax.block_until_ready(train_step(state, constants, batch, 3))
  jax.effects_barrier()
  assert len(seen) == accumulation
  given = step.make_inputs(system, config.seed, accumulation)(batch, 3)
  assert given.keys() == batch.keys()
  for number, image in enumerate(seen):
    np.testing.assert_allclose(given["image"][number::accumulation], image, rtol=1e-6)
  np.testing.assert_array_equal(given["example_id"], batch["example_id"])
  other = step.make_inputs(system, config.seed, accumulation)(batch, 4)
  assert (np.asarray(other["image"]) != np.asarray(given["image"])).any()


class Normalised(toys.Regressor):
  """Sees real records, with ImageNet's normalisation, a second picture, and points, which end in 3 as well."""

  def host_ops(self, train):
    return host_ops.crop_ops((8, 8))

  def device_ops(self, batch, rng, train):
    image = batch["image"].astype(jnp.float32) / 255
    points = jnp.full((len(image), 2, 21, 3), 0.25)
    more = {"mirrored": colour.normalise(image[:, :, ::-1]), "points": points} if train else {}
    return {**batch, "image": colour.normalise(image)} | more


def test_pictures_of_a_step_come_back_from_their_normalisation(data):
  config = toys.config()
  config.data.train = (f"{data}:train",)
  run = run_data.RunData(config, Normalised(), data, lambda name, variant, _: pathlib.Path(name))
  given = inputs.of_step(run, 5)
  expected = next(source.train_batches(run.training, Normalised().host_ops(True), Normalised.needs, 8, config.seed, 5))
  np.testing.assert_array_equal(given["image"], expected["image"])
  np.testing.assert_array_equal(given["mirrored"], expected["image"][:, :, ::-1])
  np.testing.assert_array_equal(given["points"], np.float32(0.25))
  np.testing.assert_array_equal(given["example_id"], expected["example_id"])


# ---- targets --------------------------------------------------------------------


@pytest.mark.parametrize(
  ("name", "variant", "heat"),
  [
    ("internet", "tiny", True), ("internet", "tiny,soft_argmax", False), ("digit", "tiny", None),
    ("hdr", "tiny,shpe", True), ("rootnet", "tiny", False), ("intershape", "tiny", None),
  ],
)  # fmt: skip
def test_drawn_targets_lie_on_the_joints_of_the_crop(name, variant, heat):
  _, config = stages.of(importlib.import_module(f"configs.{name}").get_config(variant))[-1]
  system = construct.load(config)
  assert isinstance(system, base.DrawnSystem)
  batch = {key: jnp.asarray(value) for key, value in records.batch(system, 3, True).items()}
  drawn = system.drawn_targets(system.device_ops(batch, jax.random.key(0), True))
  valid = np.asarray(drawn["joints_crop_valid"])
  joints = np.asarray(crop.apply_affine(batch["crop_from_img"], batch["joints_img"]))
  assert valid.sum() >= (3 if name == "rootnet" else 30)
  np.testing.assert_allclose(np.asarray(drawn["joints_crop"])[valid], joints[valid], atol=1e-3)
  assert heat is None or ("heatmaps" in drawn) == heat
  if "heatmaps" in drawn:
    heatmaps = np.asarray(drawn["heatmaps"])
    assert heatmaps.shape[:3] == valid.shape
    flat = heatmaps.reshape(*valid.shape, -1)
    shown = flat.max(-1) > 0
    assert not (shown & ~valid).any()
    assert shown.sum() >= 30
    stride = system.crop_hw[0] / heatmaps.shape[-1]
    peak = np.stack(np.unravel_index(flat.argmax(-1), heatmaps.shape[-2:])[::-1], axis=-1)
    inside = shown & (joints / stride < heatmaps.shape[-1] - 0.5).all(-1)  # beyond the last cell there is no nearer one
    assert np.abs(peak - joints / stride)[inside].max() <= 0.5 + 1e-3


# ---- the sheet ------------------------------------------------------------------


def _example():
  """A grey crop of 16 x 16 px, a panel of which has 14 px for each: one joint, one peak, one part, one mask."""
  joints, valid = np.zeros((2, 21, 2), np.float32), np.zeros((2, 21), bool)
  joints[1, 0], valid[1, 0] = (12, 3), True
  heatmaps = np.zeros((2, 21, 4, 4), np.float32)
  heatmaps[0, 5, 2, 1] = 1  # row 2, column 1 of cells of 4 px
  parts, masks = np.zeros((8, 8), np.uint8), np.zeros((2, 2, 8, 8), np.uint8)
  parts[6, 4] = 20
  masks[1, 1, 5:8, 5:8] = 1
  return {
    "image": np.full((16, 16, 3), 90, np.uint8), "example_id": np.int32(schema.example_id(7, "pair")),
    "joints_crop": joints, "joints_crop_valid": valid, "heatmaps": heatmaps, "parts": parts,
    "parts_valid": np.bool_(True), "masks": masks, "masks_valid": np.ones((2, 2), bool),
    "truth": np.full((16, 16, 3), 200, np.uint8), "weight": np.float32(1),
  }  # fmt: skip


def _at(panel, x, y):
  """The colour at a pixel of the crop."""
  return panel[round(14 * y + 6.5), round(14 * x + 6.5)]


def test_each_panel_shows_its_key_where_it_is():
  image, joints, heat, parts, masks, truth = inputs.panels(_example())
  assert image.shape == (224 + 4, 224 + 4, 3)
  np.testing.assert_array_equal(_at(image, 8, 8), 90)
  np.testing.assert_array_equal(_at(joints, 12, 3), overlay.FINGER_RGB["left"][0])
  np.testing.assert_array_equal(_at(joints, 3, 12), 90)
  np.testing.assert_allclose(_at(heat, 4, 8), overlay.HAND_RGB["right"], atol=15)
  np.testing.assert_array_equal(_at(heat, 12, 8), 30)
  np.testing.assert_allclose(_at(parts, 8, 12), 0.35 * 90 + 0.65 * two_hands.part_colours()[20].astype(float), atol=1)
  np.testing.assert_array_equal(_at(parts, 12, 8), 45)
  np.testing.assert_allclose(_at(masks, 12, 12), 45 + np.array(overlay.HAND_RGB["left"]) // 2, atol=1)
  np.testing.assert_array_equal(_at(masks, 8, 12), 90)
  np.testing.assert_array_equal(_at(truth, 8, 8), 200)


def test_without_targets_the_joints_of_the_batch_are_drawn_and_without_joints_none():
  example = _example()
  bare = {key: example[key] for key in ("image", "example_id", "weight")}
  assert len(inputs.panels(bare)) == 1
  joints, valid = example["joints_crop"] + 5, example["joints_crop_valid"]
  moved = np.array([[1, 0, -5], [0, 1, -5]], np.float32)
  _, shown = inputs.panels(bare | {"joints_img": joints, "joints_img_valid": valid, "crop_from_img": moved})
  np.testing.assert_array_equal(_at(shown, 12, 3), overlay.FINGER_RGB["left"][0])


# ---- the command ----------------------------------------------------------------


# 2026-11-29: ml_collections imports config files by a deprecated method of Python's.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
class TestCommand:
  def test_it_writes_a_sheet(self, data, tmp_path, capsys):
    out = tmp_path / "new" / "seen.png"
    arguments = [f"--config.data.train=('{data}:train',)", f"--out={out}", "--examples=3", "--step=2"]
    assert cli.main(["show", "internet:tiny", *arguments]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    picture = cv2.imread(str(out))
    panel = 256 + 4  # of a crop of 64 px
    assert picture.shape == (18 + 3 * panel, 3 * panel, 3)
    assert (picture.reshape(-1, 3).std(0) > 20).all()

  def test_what_cannot_be_shown_is_said_in_a_line(self, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flag, message in (
      ("--stage=hsam", "there is no stage 'hsam'"),
      ("--out=seen.jpg", "--out=seen.jpg is no .png"),
      ("--config.stages.hasm.batch_size=0", "config.batch_size=0 (of stage 'hasm'): expected a whole number"),
    ):
      assert cli.main(["show", "hdr:tiny", flag]) == 1
      shown = capsys.readouterr().err
      assert message in shown
      assert shown.count("\n") == 1
    with pytest.raises(SystemExit) as end:
      cli.main(["show", "hdr:tiny", "--examples=0"])
    assert "examples" in str(end.value.code)
    assert not list(tmp_path.iterdir())

  def test_data_that_cannot_be_built_are_said_in_a_line(self, tmp_path, capsys):
    (tmp_path / "data").touch()  # a file, where the folder of all data sets would be
    assert cli.main(["show", "internet:tiny", f"--config.data.dir={tmp_path / 'data'}"]) == 1
    shown = capsys.readouterr().err
    assert f"show: error: cannot write under {tmp_path / 'data'}" in shown
    assert shown.count("\n") == 1
