"""HDR's pipeline on small networks: crops as the host makes them, mirrored pictures, what its fields say, one graph."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hdr
from jaxhands import schema
from jaxhands.data import host_ops
from jaxhands.evaluation import latency
from jaxhands.geometry import crop, lift
from jaxhands.hands import bones, mirror, skeleton
from jaxhands.hands.model import HandModel
from jaxhands.runs import stages
from jaxhands.systems import base, construct
from jaxhands.train import step
from tests.contract import records

SIZE = 3
HEIGHT, WIDTH = records.PICTURE_HW
KEY = jax.random.key(0)
MORE = ("image", "masks", "masks_valid", "joints_img")


@functools.cache
def _config(variant="tiny"):
  return dict(stages.of(hdr.get_config(variant)))["pipeline"]


def _system(**changes):
  config = _config().copy_and_resolve_references()
  config.system.update(changes)
  return construct.load(config)


@functools.cache
def _variables():
  """Fresh ones, with statistics of batch norms that are not those of an empty picture."""
  variables = jax.jit(step.make_init(_system(), 0))(_batch())
  rng = np.random.default_rng(0)

  def changed(path, leaf):
    mean = "mean" in jax.tree_util.keystr(path)
    return (rng.normal(0, 0.1, leaf.shape) if mean else rng.uniform(0.5, 1.5, leaf.shape)).astype(np.float32)

  return {**variables, "batch_stats": jax.tree_util.tree_map_with_path(changed, variables["batch_stats"])}


@functools.cache
def _batch():
  """Hands beside each other, the right one's mask cut out where a third of it is hidden by the left one's.

  A band joins what hides to the left hand, for a hand is one piece.
  """
  made = records.batch(_system(masks="true"), SIZE, train=False, more_needs=MORE)
  masks = made["masks"].copy()
  masks[..., 0] = 0  # a mirror has no pixel for this column
  covered = np.zeros_like(masks[:, 0, 0])
  covered[:, : masks.shape[3] // 2] = masks[:, 0, 0, : masks.shape[3] // 2]
  masks[:, 0, 1] &= 1 - covered
  masks[:, 1] |= covered[:, None]
  for example in masks:
    rows = np.flatnonzero(example[0, 0].any(1) & example[1, 0].any(1))
    band = np.s_[rows[len(rows) // 2] : rows[len(rows) // 2] + 2, np.flatnonzero(example[1, 0].any(0))[0] : -2]
    example[1, :, *band], example[0, 1, *band] = 1, 0
  return {key: jnp.asarray(value) for key, value in (made | {"masks": masks}).items()}


@functools.cache
def _predictor(changes):
  system = _system(**dict(changes))
  return jax.jit(lambda variables, batch: system.predict(variables, system.device_ops(batch, KEY, False), KEY))


def _predict(batch=None, **changes):
  found = _predictor(tuple(sorted(changes.items())))(_variables(), _batch() if batch is None else batch)
  schema.check(found, schema.PREDICTION, dims={"B": SIZE})
  found = jax.device_get(found)
  schema.check_finite(found)
  return found


def test_crops_are_those_of_the_host():
  batch, found = _batch(), _predict(masks="true")
  cut = functools.partial(crop.warp, out_hw=_system().crop_hw)
  of_both = jax.vmap(cut)(batch["picture"], batch["crop_from_img"])
  assert np.abs(np.asarray(of_both) - np.asarray(batch["image"], np.float32)).max() <= 1.5
  for example, hand in np.ndindex(SIZE, 2):
    affine = found["hand_crop_from_img"][example, hand]
    picture = np.asarray(batch["picture"][example])
    expected = host_ops.warp(picture, affine, _system().hand_hw) / 255
    assert np.abs(found["hand_crops"][example, hand] - expected).max() <= 1.5 / 255
    finer = np.array([[2, 0, 0.5], [0, 2, 0.5]], np.float32)
    large = host_ops.warp(picture, np.asarray(crop.compose_affine(finer, affine)), (64, 64)).astype(np.float32)
    smooth = crop.warp_smoothly(batch["picture"][example], jnp.asarray(affine), (32, 32), 2)
    assert np.abs(np.asarray(smooth) - large.reshape(32, 2, 32, 2, 3).mean((1, 3))).max() <= 1.5


def test_each_hand_fills_its_crop_and_left_ones_are_mirrored():
  """The box of the whole mask, `hand_factor` times, is the crop; joints that the mask was drawn around lie in it."""
  system, batch, found = _system(), _batch(), _predict(masks="true")
  affine = found["hand_crop_from_img"]
  np.testing.assert_array_equal(np.sign(np.linalg.det(affine[..., :2])), [[1, -1]] * SIZE)
  seen = system.cut_hands(_variables(), batch | {"all_masks": batch["masks"].astype(jnp.float32)})
  own = np.asarray(seen["hand_masks"])[:, :, 0, 0]
  for example, hand in np.ndindex(SIZE, 2):
    box, there = crop.box_of_mask(own[example, hand])
    assert there
    side = system.hand_hw[0] / system.hand_factor
    assert abs(max(box[2:]) - side) < 4  # pixels of the mask are as large as those of the crop
    np.testing.assert_allclose(box[:2] + box[2:] / 2, 16, atol=1.5)
    # Of the four masks the first two are of the hand in the crop, whichever that is.
    order = [hand, 1 - hand]
    for position, of_hand in enumerate(order):
      area = np.asarray(seen["hand_masks"])[example, hand, position, 1].mean()
      map_from_crop = np.asarray(
        crop.compose_affine(np.asarray(batch["crop_from_img"][example]), crop.invert_affine(affine[example, hand]))
      )
      expected = host_ops.warp(
        np.asarray(batch["masks"][example, of_hand, 1]), crop.invert_affine(map_from_crop), (32, 32), nearest=True
      )
      assert area == pytest.approx(expected.mean(), abs=0.02)


def test_a_mirrored_picture_gives_the_mirrored_prediction():
  batch = _batch()
  picture = batch["picture"].at[:, :, :WIDTH].set(batch["picture"][:, :, WIDTH - 1 :: -1])
  # Pixel i of the mirrored crop is pixel W - i of the crop.
  turn, back = (jnp.tile(jnp.array([[-1.0, 0, x], [0, 1, 0]]), (SIZE, 1, 1)) for x in (WIDTH - 1, _system().crop_hw[1]))
  affine = crop.compose_affine(back, crop.compose_affine(batch["crop_from_img"], turn))
  masks = jnp.roll(batch["masks"][:, ::-1, ..., ::-1], 1, -1)
  camera = batch["camera_img"].at[:, 0, 2].set(WIDTH - 1 - batch["camera_img"][:, 0, 2])
  changes = {"picture": picture, "crop_from_img": affine, "masks": masks, "camera_img": camera}
  found = _predict(batch | changes, masks="true")
  expected = {key: value.copy() for key, value in mirror.mirror(_predict(masks="true")).items()}
  for key in ("joints_img", "joints_img_unrecovered"):
    expected[key][..., 0] = WIDTH - 1 - expected[key][..., 0]
  for key in ("joints_img", "joints_img_unrecovered", "joints_cam", "joints_rel_depth", "rel_root_depth", "confidence"):
    np.testing.assert_allclose(found[key], expected[key], atol=0.05, rtol=2e-3, err_msg=key)
  for key in ("recovered", "hand_crops"):
    np.testing.assert_allclose(found[key], expected[key], atol=5e-3, err_msg=key)
  np.testing.assert_array_equal(found["hand_prob"], expected["hand_prob"])


def test_masks_are_those_that_are_asked_for():
  batch = _batch()
  found = _predict(masks="true")
  np.testing.assert_array_equal(found["masks"], np.asarray(batch["masks"]))
  np.testing.assert_array_equal(found["hand_prob"], 1)
  predicted = _predict()
  assert ((predicted["masks"] > 0) & (predicted["masks"] < 1)).all()
  others = _predict(batch | {"masks": jnp.zeros_like(batch["masks"])})
  jax.tree.map(np.testing.assert_array_equal, predicted, others)
  unknown = _predict(batch | {"masks_valid": jnp.zeros_like(batch["masks_valid"])}, masks="true")
  np.testing.assert_allclose(unknown["masks"], predicted["masks"], atol=1e-6)


def test_without_recovery_poses_are_those_of_the_crops():
  found, plain = _predict(masks="true"), _predict(masks="true", recover=False)
  assert "recovered" not in plain
  np.testing.assert_allclose(plain["joints_img"], found["joints_img_unrecovered"], atol=1e-3)
  np.testing.assert_array_equal(plain["hand_crops"], found["hand_crops"])
  assert np.abs(found["joints_img"] - found["joints_img_unrecovered"]).max() > 1e-2
  # The right hand is hidden in part and was changed there; what is far from both holes was not.
  changed = np.abs(found["recovered"] - found["hand_crops"]).max(-1) > 1e-3
  assert 0.01 < changed[:, 0].mean() < 0.9
  seen = _system().cut_hands(_variables(), _batch() | {"all_masks": _batch()["masks"].astype(jnp.float32)})
  own, other = (np.asarray(seen["hand_masks"])[:, :, hand] for hand in range(2))
  hole = (own[:, :, 0] * (1 - own[:, :, 1]) + (1 - own[:, :, 0]) * other[:, :, 1]) > 0
  near = np.zeros_like(hole)
  for dy, dx in np.ndindex(3, 3):
    near |= np.roll(hole, (dy - 1, dx - 1), (2, 3))
  assert not (changed & ~near).any()


def test_a_hand_without_a_mask_is_absent_and_sees_the_whole_picture():
  batch = _batch()
  left_alone = batch["masks"].at[:, 0].set(0)
  stray = left_alone.at[0, 0, 0, 5, 7].set(1)  # of one pixel
  found = _predict(batch | {"masks": stray}, masks="true")
  np.testing.assert_allclose(found["hand_prob"], [[0.05, 1], [0, 1], [0, 1]], rtol=1e-6)
  np.testing.assert_array_equal(found["rel_root_depth"], 0)
  np.testing.assert_array_equal(found["confidence"][:, 0], 0)
  middle = np.array([[(WIDTH - 1) / 2, (HEIGHT - 1) / 2]], np.float32)
  np.testing.assert_allclose(crop.apply_affine(found["hand_crop_from_img"][1, 0], middle), [[16, 16]], atol=0.2)
  assert _predict(batch | {"masks": jnp.zeros_like(stray)}, masks="true")["hand_prob"].max() == 0


class Still:
  """A right hand of known form in every crop, without camera joints, as InterNet gives it."""

  view = "hand"

  def predict(self, variables, batch, rng):
    hand = np.asarray(HandModel.default().forward_mano(np.zeros(61, np.float32), schema.RIGHT).keypoints)
    rel = (hand - hand[skeleton.WRIST]).astype(np.float32)
    points = jnp.tile(16 + 0.1 * rel[:, :2], (len(batch["image"]), 1, 1))
    both = {
      "joints_img": crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), points),
      "joints_rel_depth": jnp.tile(rel[:, 2], (len(points), 1)),
      "confidence": jnp.ones(points.shape[:2]),
    }
    both = {key: jnp.stack([value, jnp.zeros_like(value)], axis=1) for key, value in both.items()}
    prob = jnp.tile(jnp.array([1.0, 0.0]), (len(points), 1))
    known = jnp.ones(len(points), bool)
    return both | {"hand_prob": prob, "rel_root_depth": jnp.zeros(len(points)), "scale_known": known}

  def device_ops(self, batch, rng, train):
    return batch


@dataclasses.dataclass(frozen=True)
class InOnePoint(Still):
  """The left hand of the first example is seen in one point, and so cannot be placed; as SHPE has it, or InterNet."""

  gives_joints_cam: bool

  def predict(self, variables, batch, rng):
    pose = super().predict(variables, batch, rng)
    seen = pose["joints_img"]
    pose["joints_img"] = seen.at[1].set(seen[1, :, skeleton.WRIST :])
    if not self.gives_joints_cam:
      return pose
    placed = lift.lift(pose, batch, "place", bones=bones.mean_bones())
    depth = pose["joints_rel_depth"]
    relative = jnp.stack([depth, -depth, depth], -1) + 0.5  # a wrist just in front of the camera
    return pose | {"joints_cam": jnp.where(placed.valid[..., None, None], placed.joints_cam, relative)}


@functools.cache
def _still(pose=None, **changes):
  """The prediction where every crop of a hand shows the same one."""
  system = dataclasses.replace(_system(masks="true", recover=False, **changes))
  object.__setattr__(system, "pose", pose or Still())
  return jax.device_get(jax.jit(system.predict)(_variables(), _batch(), KEY))


def test_both_hands_stand_in_one_camera_frame():
  batch, found = _batch(), _still()
  points = np.einsum("bij,bhkj->bhki", np.asarray(batch["camera_img"]), found["joints_cam"])
  assert (found["joints_cam"][..., 2] > 0).all()
  np.testing.assert_allclose(points[..., :2] / points[..., 2:], found["joints_img"], atol=0.05)
  wrist = found["joints_cam"][..., skeleton.WRIST, 2]
  np.testing.assert_allclose(found["rel_root_depth"], wrist[:, 1] - wrist[:, 0], rtol=1e-5, atol=1e-2)
  assert not found["scale_known"].any()
  # A right and a left hand: thumb, middle and little finger turn the other way round.
  ends = found["joints_cam"][..., [0, 8, 16], :] - found["joints_cam"][..., [skeleton.WRIST], :]
  turn = np.sign(np.linalg.det(ends))
  np.testing.assert_array_equal(turn, [[turn[0, 0], -turn[0, 0]]] * SIZE)


def test_two_hands_are_brought_to_one_depth_and_keep_their_form():
  apart, nearer = (_still(one_depth=together)["joints_cam"] for together in (False, True))
  wrists = apart[:, :, skeleton.WRIST]
  assert np.abs(wrists[:, 0, 2] - wrists[:, 1, 2]).min() > 1
  depth = nearer[:, :, skeleton.WRIST, 2]
  np.testing.assert_allclose(depth[:, 0], depth[:, 1], rtol=1e-4)
  np.testing.assert_allclose(depth[:, 0] ** 2, wrists[..., 2].prod(-1), rtol=1e-3)
  moved = wrists / wrists[..., 2:] * depth[..., None] - wrists
  np.testing.assert_allclose(nearer - apart, np.broadcast_to(moved[:, :, None], apart.shape), rtol=1e-3, atol=0.01)


@pytest.mark.parametrize("gives_joints_cam", [False, True])
def test_a_hand_that_cannot_be_placed_does_not_move_the_other(gives_joints_cam):
  placed, found = _still(one_depth=False), _still(InOnePoint(gives_joints_cam), one_depth=True)
  assert found["hand_prob"].min() == 1
  assert found["hands_together"].tolist() == [False, True, True]
  assert found["rel_root_depth"][0] == 0
  np.testing.assert_allclose(np.abs(found["joints_cam"][0, 1, skeleton.WRIST]), 0.5 * gives_joints_cam, atol=1e-3)
  np.testing.assert_allclose(found["joints_cam"][0, 0], placed["joints_cam"][0, 0], rtol=1e-5, atol=1e-3)
  assert (np.abs(found["joints_cam"][1:] - placed["joints_cam"][1:]).max((1, 2, 3)) > 1).all()


def test_a_hand_alone_stays_where_it_is():
  masks = _batch()["masks"].at[:, 1].set(0)
  apart, nearer = (
    _predict(_batch() | {"masks": masks}, masks="true", one_depth=together) for together in (False, True)
  )
  np.testing.assert_array_equal(apart["joints_cam"], nearer["joints_cam"])
  assert not apart["hands_together"].any()
  assert not nearer["hands_together"].any()


def test_one_graph_that_never_asks_the_host():
  system = _system()
  lowered = jax.jit(system.predict).lower(_variables(), _batch(), KEY)
  for text in (lowered.as_text(), lowered.compile().as_text()):
    found = [
      word for word in ("callback", "infeed", "outfeed", "send(", "recv(", "host_memory") if word in text.lower()
    ]
    assert not found


def test_masks_lose_their_edge_where_the_release_does():
  plain = _system(masks="true")
  config = _config().copy_and_resolve_references()
  config.system.hdrm.released = True
  released = construct.load(config)
  values = _batch() | {"all_masks": _batch()["masks"].astype(jnp.float32)}
  more, less = (np.asarray(system.cut_hands({}, values)["hand_masks"]) for system in (plain, released))
  assert (less <= more).all()
  assert 0.5 * more.sum() < less.sum() < more.sum()


def test_steps_are_timed_on_their_own():
  system = _system()
  assert isinstance(system, base.TimedSystem)
  found = latency.prediction_steps(system, _variables(), _batch(), repeats=1)
  assert list(found["ms"]) == ["masks", "crops", "recovery", "pose", "pose without recovery"]
  assert all(ms > 0 for ms in found["ms"].values())
  assert found["pictures"] == SIZE


def test_parts_that_do_not_fit_are_refused():
  config = _config().copy_and_resolve_references()
  config.system.pose = _config("tiny,internet_pose").system.pose.copy_and_resolve_references()
  config.system.pose.view = "pair"
  with pytest.raises(ValueError, match="expected one that sees one hand"):
    construct.load(config)
  config = _config().copy_and_resolve_references()
  with config.unlocked():
    config.system.hasm = config.system.pose
  with pytest.raises(ValueError, match=r"system\.hasm is 'hdr\.shpe', expected 'hdr\.hasm'"):
    construct.load(config)
