"""The embedded hand model's files: what must hold of the mesh, its joints, its weights and its shapes."""

import json
import pathlib

import numpy as np
import pytest
import scipy.sparse
import scipy.spatial
from scipy.spatial.transform import Rotation

from jaxhands.hands import skeleton
from jaxhands.hands.assets import build_embedded, mesh, rig
from jaxhands.hands.side import HandSide

ASSETS = pathlib.Path(build_embedded.__file__).parent
MM = 1000
LAST_BONES = tuple(rig.TAIL_OF_BONE)  # thumb .. little
FINGER_BASES = tuple(bone - 2 for bone in LAST_BONES)


def load(name):
  with np.load(ASSETS / name) as stored:
    return {key: array.astype(float) if array.dtype.kind == "f" else array for key, array in stored.items()}


@pytest.fixture(scope="module", params=build_embedded.FILES)
def hand(request):
  return load(request.param)


@pytest.fixture(scope="module")
def coarse_and_fine():
  return [load(name) for name in build_embedded.FILES]


def shaped(hand, shape):
  """Vertices and joints in mm."""
  return (
    (hand["v_template"] + hand["shapedirs"] @ shape) * MM,
    (hand["joints_template"] + hand["joints_shapedirs"] @ shape) * MM,
  )


def closed(hand):
  return np.concatenate([hand["f"], hand["cap_f"]])


def directed_edges(faces):
  return [(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)]


def volume(vertices, faces):
  a, b, c = vertices[faces.T]
  return (np.cross(a, b) * c).sum() / 6


def winding_numbers(points, vertices, faces):
  """1 inside a closed outward mesh, 0 outside: the solid angle of all triangles."""
  a, b, c = vertices[faces.T][:, None] - points[:, None]
  la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
  ab, bc, ca = (a * b).sum(-1), (b * c).sum(-1), (c * a).sum(-1)
  det = (np.cross(a, b) * c).sum(-1)
  return np.arctan2(det, la * lb * lc + ab * lc + bc * la + ca * lb).sum(1) / (2 * np.pi)


def self_crossings(vertices, faces):
  """Pairs of an edge and a triangle before the wrist, with no common vertex, that cut each other."""
  faces = faces[vertices[faces, 0].max(1) < -20]
  edges = np.unique(np.sort(directed_edges(faces), axis=1), axis=0)
  half = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) / 2
  centre = vertices[faces].mean(1)
  radius = np.linalg.norm(vertices[faces] - centre[:, None], axis=2).max()
  near = scipy.spatial.KDTree(centre).query_ball_point(vertices[edges].mean(1), half + radius)
  start, end = np.repeat(edges, [len(some) for some in near], axis=0).T
  face = faces[np.concatenate(near).astype(int)]
  a, b, c = vertices[face.T]
  direction = vertices[end] - vertices[start]
  across = np.cross(direction, c - a)
  det = ((b - a) * across).sum(1)
  det[np.abs(det) < 1e-9] = np.inf
  offset = np.cross(vertices[start] - a, b - a)
  u, v = ((vertices[start] - a) * across).sum(1) / det, (offset * direction).sum(1) / det
  t = ((c - a) * offset).sum(1) / det
  hit = (u > 1e-6) & (v > 1e-6) & (u + v < 1 - 1e-6) & (t > 1e-6) & (t < 1 - 1e-6)
  return int((hit & ~(face == start[:, None]).any(1) & ~(face == end[:, None]).any(1)).sum())


def nail_direction(hand, bone):
  normals = mesh.face_normals(hand["v_template"], hand["f"]) * hand["nail"][hand["f"]].mean(1)[:, None]
  own = (hand["weights"].argmax(1) == bone)[hand["f"]].all(1)
  total = normals[own].sum(0)
  return total / np.linalg.norm(total)


def bent(hand, flexion_deg, thumb_deg):
  """Vertices and joints in mm after plain skinning; each finger's three joints bend about the axis across its nail."""
  turns = np.zeros((16, 3))
  joints = hand["joints_template"]
  for last in LAST_BONES:
    along = joints[last] - joints[last - 1]
    axis = np.cross(along, -nail_direction(hand, last))
    angles = np.radians(thumb_deg if last == rig.THUMB_BASE + 2 else flexion_deg)
    turns[last - 2 : last + 1] = axis / np.linalg.norm(axis) * angles[:, None]
  turns = Rotation.from_rotvec(turns).as_matrix()
  world, place = turns.copy(), joints.copy()
  for joint, parent in list(enumerate(skeleton.MANO_PARENTS))[1:]:
    world[joint] = world[parent] @ turns[joint]
    place[joint] = place[parent] + world[parent] @ (joints[joint] - joints[parent])
  moved = np.einsum("jab,vjb->vja", world, hand["v_template"][:, None] - joints) + place
  return (hand["weights"][:, :, None] * moved).sum(1) * MM, place * MM


def test_layout_is_that_of_mano(hand):
  count, faces = len(hand["v_template"]), len(hand["f"])
  shapes = {
    "v_template": (count, 3), "shapedirs": (count, 3, 10), "weights": (count, 16), "f": (faces, 3), "nail": (count,),
    "joints_template": (16, 3), "joints_shapedirs": (16, 3, 10), "tip_vertices": (5,), "hands_mean": (45,),
    "hands_components": (45, 45), "version": (), "cap_f": (len(hand["cap_f"]), 3),
  }  # fmt: skip
  assert {key: array.shape for key, array in hand.items()} == shapes
  assert hand["version"] == "embedded-v1"
  with np.load(ASSETS / build_embedded.FILES[0]) as stored:
    assert {array.dtype.name for key, array in stored.items() if key != "version"} == {"float32", "int32"}


def test_sizes(coarse_and_fine):
  assert len(coarse_and_fine[0]["v_template"]) == 778
  assert 1600 < len(coarse_and_fine[1]["v_template"]) < 1750
  assert [
    (ASSETS / name).stat().st_size < limit for name, limit in zip(build_embedded.FILES, (2.5e5, 5e5), strict=True)
  ]


def test_weights_are_few_and_sum_to_one(hand):
  weights = hand["weights"]
  np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
  assert weights.min() == 0
  assert (weights > 0).sum(1).max() <= 4
  assert weights[weights > 0].min() > 0.019


def test_mesh_is_a_disc_and_the_cap_closes_it(hand):
  edges = directed_edges(hand["f"])
  present = set(edges)
  assert len(present) == len(edges), "an edge with two triangles on one side"
  rim = [edge for edge in edges if edge[::-1] not in present]
  whole = directed_edges(closed(hand))
  assert len(set(whole)) == len(whole)
  assert {edge[::-1] for edge in whole} == set(whole)
  vertices = len(hand["v_template"])
  assert vertices - len(whole) // 2 + len(closed(hand)) == 2, "one closed surface without handles"
  np.testing.assert_allclose(hand["v_template"][np.array(rim).ravel(), 0], hand["v_template"][:, 0].max(), atol=1e-6)
  assert set(hand["cap_f"].ravel()) == {a for edge in rim for a in edge}


def test_right_and_left_hand_face_outwards(hand):
  right_cm3 = volume(hand["v_template"] * 100, closed(hand))
  assert 250 < right_cm3 < 450
  fields = {field: hand.get(field) for field in HandSide.__dataclass_fields__} | {"faces": closed(hand)}
  left = HandSide(**fields).mirrored()
  np.testing.assert_allclose(volume(left.v_template * 100, left.faces), right_cm3, rtol=1e-6)


def test_triangles_are_no_slivers(hand):
  corners = hand["v_template"][hand["f"]] * MM
  sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
  area = np.linalg.norm(mesh.face_normals(hand["v_template"] * MM, hand["f"]), axis=1) / 2
  assert area.min() > 0.2
  assert np.quantile(area / sides.max(1) ** 2, 0.01) > 0.07
  assert sides.max() < 27


def test_skin_does_not_cut_itself(coarse_and_fine):
  coarse, fine = coarse_and_fine
  assert self_crossings(shaped(coarse, np.zeros(10))[0], coarse["f"]) == 0
  assert self_crossings(shaped(fine, np.zeros(10))[0], fine["f"]) == 0
  rng = np.random.default_rng(3)
  for shape in rng.standard_normal((2, 10)):
    assert self_crossings(shaped(coarse, shape)[0], coarse["f"]) == 0


def test_each_part_is_one_piece_however_finely_it_is_drawn(hand):
  vertices, faces, weights = hand["v_template"], hand["f"], hand["weights"]
  for _ in range(2):
    vertices, faces, weights = subdivide(vertices, faces, weights)
  part = weights.argmax(1)
  pairs = np.array(directed_edges(faces))
  pairs = pairs[part[pairs[:, 0]] == part[pairs[:, 1]]]
  graph = scipy.sparse.csr_array((np.ones(len(pairs)), pairs.T), (len(part), len(part)))
  pieces = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
  for joint in range(16):
    sizes = np.sort(np.unique(pieces[part == joint], return_counts=True)[1])
    assert sizes.sum() > 100
    assert len(sizes) == 1, (joint, sizes)


def subdivide(vertices, faces, weights):
  """Every triangle in four; what is on vertices is interpolated."""
  edges, index = np.unique(np.sort(directed_edges(faces), axis=1), axis=0, return_inverse=True)
  middle = len(vertices) + index.reshape(-1, 3)
  a, b, c = faces.T
  ab, bc, ca = middle.T
  split = [np.stack(corners, 1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
  return (
    np.concatenate([vertices, vertices[edges].mean(1)]),
    np.concatenate(split),
    np.concatenate([weights, weights[edges].mean(1)]),
  )


def test_joints_are_inside_for_every_shape(hand):
  rng = np.random.default_rng(0)
  for shape in np.concatenate([np.zeros((1, 10)), 1.5 * rng.standard_normal((6, 10))]):
    vertices, joints = shaped(hand, shape)
    np.testing.assert_allclose(winding_numbers(joints, vertices, closed(hand)), 1, atol=1e-6)


def test_frame(hand):
  joints, vertices = hand["joints_template"] * MM, hand["v_template"] * MM
  np.testing.assert_allclose(joints[0], 0, atol=1e-6)
  assert joints[4, 0] < -80
  np.testing.assert_allclose(joints[4, 1:], 0, atol=0.3)
  assert joints[1, 2] > joints[4, 2] > joints[10, 2] > joints[7, 2], "the thumb side is +z"
  np.testing.assert_allclose(joints[1, 1], joints[7, 1], atol=0.3)
  assert joints[13, 2] > 15
  for bone in LAST_BONES[1:]:
    assert nail_direction(hand, bone)[1] > 0.9, "the backs of the fingers face +y"
  assert vertices[:, 0].argmin() in np.flatnonzero(hand["weights"].argmax(1) == 6)


def test_zero_pose_is_a_flat_hand(hand):
  joints, tips = hand["joints_template"], hand["v_template"][hand["tip_vertices"]]
  for base, tip in zip(FINGER_BASES, tips, strict=True):
    chain = np.concatenate([joints[base : base + 3], tip[None]])
    bones = np.diff(chain, axis=0)
    bones /= np.linalg.norm(bones, axis=1, keepdims=True)
    turn = np.degrees(np.arccos(np.minimum((bones[:-1] * bones[1:]).sum(1), 1)))
    if base == rig.THUMB_BASE:
      assert turn.max() < 20
    else:
      assert turn[0] < 2, "the proximal and middle phalanx are in line"
      assert turn[1] < 13, "the last joint and the skin at the tip are nearly so"
      assert abs(bones[0, 1]) < 0.02, "in the plane of the palm"


def test_size_is_the_first_shape_direction(hand):
  vertices, _ = shaped(hand, np.zeros(10))
  assert -vertices[:, 0].min() == pytest.approx(185, abs=0.6)
  for name, direction in (("v_template", "shapedirs"), ("joints_template", "joints_shapedirs")):
    np.testing.assert_allclose(hand[direction][..., 0], hand[name] * (9.5 / 185), atol=2e-5)


def test_shapes_are_those_of_people(hand):
  rng = np.random.default_rng(1)
  drawn = [shaped(hand, shape) for shape in rng.standard_normal((300, 10))]
  length = np.array([-vertices[:, 0].min() for vertices, _ in drawn])
  assert 182 < length.mean() < 188
  assert 8.5 < length.std() < 10.5
  bones = np.array([np.linalg.norm(j[1:] - j[skeleton.MANO_PARENTS[1:]], axis=1) for _, j in drawn])
  spread = (bones / length[:, None]).std(0) / (bones / length[:, None]).mean(0)
  assert (spread > 0.005).all()
  assert (spread < 0.08).all()
  plain = mesh.face_normals(hand["v_template"], hand["f"])
  for vertices, _ in drawn[:30]:
    same = (mesh.face_normals(vertices, hand["f"]) * plain).sum(1) > 0
    assert same.mean() > 0.999


def test_shape_directions_are_ordered_and_differ(hand):
  rms = np.sqrt((hand["shapedirs"] ** 2).sum(1).mean(0)) * MM
  assert (np.diff(rms) < 0.03).all()
  assert rms[-1] > 0.1
  flat = hand["shapedirs"].reshape(-1, 10)
  flat = flat / np.linalg.norm(flat, axis=0)
  alike = np.abs(flat.T @ flat - np.eye(10))
  assert alike[0].max() < 0.15, "what is left at equal size holds nothing of the size"
  assert alike.max() < 0.35


# Mean of men and women, British adults, scaled to a hand of 185 mm (Pheasant and Haslegrave, Bodyspace).
@pytest.mark.parametrize(
  ("name", "expected_mm"), [("breadth", 82), ("index", 71), ("middle", 81), ("ring", 70), ("little", 53)]
)
def test_proportions_are_those_of_people(hand, name, expected_mm):
  vertices, _ = shaped(hand, np.zeros(10))
  if name == "breadth":
    at_knuckles = vertices[(np.abs(vertices[:, 0] + 82) < 6) & (hand["weights"].argmax(1) < rig.THUMB_BASE)]
    measured = np.ptp(at_knuckles[:, 2])
  else:
    finger = skeleton.FINGERS.index(name)
    neighbour = {1: 2, 2: 1, 3: 2, 4: 3}[finger]
    web = shared_web(hand, LAST_BONES[finger] - 2, LAST_BONES[neighbour] - 2)
    measured = np.linalg.norm(vertices[hand["tip_vertices"][finger]] - web)
  assert measured == pytest.approx(expected_mm, rel=0.08)


def shared_web(hand, base, other):
  """The outermost skin that two fingers move alike, in mm."""
  first, second = (hand["weights"][:, bone : bone + 3].sum(1) for bone in (base, other))
  both = np.flatnonzero(np.minimum(first, second) > 0.25)
  return hand["v_template"][both[hand["v_template"][both, 0].argmin()]] * MM


def test_bones_are_as_long_as_those_of_annotated_people(shared):
  path = shared / "samples/interhand/mini_dataset/annotations/test/InterHand2.6M_test_joint_3d.json"
  people = []
  for capture in json.loads(path.read_text()).values():
    for frame in capture.values():
      hands = np.array(frame["world_coord"], float).reshape(-1, 21, 3)
      valid = np.array(frame["joint_valid"]).reshape(-1, 21).all(1)
      people += [np.linalg.norm(h[:20] - h[skeleton.PARENTS[:20]], axis=1) for h in hands[valid[: len(hands)]]]
  people = np.array(people)
  assert len(people) >= 4
  model = load(build_embedded.FILES[0])
  keypoints = np.concatenate([model["joints_template"], model["v_template"][model["tip_vertices"]]])
  keypoints = keypoints[skeleton.INTERHAND_FROM_MANO21]
  ours = np.linalg.norm(keypoints[:20] - keypoints[skeleton.PARENTS[:20]], axis=1)
  middle = slice(8, 12)
  relative = people / people[:, middle].sum(1, keepdims=True)
  error = np.abs(ours / ours[middle].sum() / relative.mean(0) - 1)
  assert error.max() < 0.1
  assert error.mean() < 0.04


def test_tips_are_skin_at_the_ends_of_the_fingers(hand):
  vertices, joints = hand["v_template"] * MM, hand["joints_template"] * MM
  owner = hand["weights"].argmax(1)
  for bone, tip in zip(LAST_BONES, hand["tip_vertices"], strict=True):
    along = joints[bone] - joints[bone - 1]
    along /= np.linalg.norm(along)
    reach = (vertices[owner == bone] @ along).max() - vertices[tip] @ along
    assert owner[tip] == bone
    assert reach < 2, "as far out as the finger goes"
    back = nail_direction(hand, bone)
    middle = vertices[owner == bone].mean(0)
    assert (vertices[tip] - middle) @ np.cross(along, back) == pytest.approx(0, abs=3.5)
    assert (vertices[tip] - joints[bone]) @ back > -3, "to the side of the nail"


def test_nails(hand):
  assert ((hand["nail"] >= 0) & (hand["nail"] <= 1)).all()
  owner = hand["weights"].argmax(1)
  assert set(owner[hand["nail"] > 0.3]) == set(LAST_BONES)
  corners = hand["f"]
  area_mm2 = np.linalg.norm(mesh.face_normals(hand["v_template"] * MM, corners), axis=1) / 2
  for bone in LAST_BONES:
    own = (owner == bone)[corners].all(1)
    assert 40 < (area_mm2[own] * hand["nail"][corners[own]].mean(1)).sum() < 260


def test_both_meshes_are_one_hand(coarse_and_fine):
  coarse, fine = coarse_and_fine
  for name in ("joints_template", "joints_shapedirs", "hands_mean", "hands_components"):
    np.testing.assert_array_equal(coarse[name], fine[name])
  for shape in (np.zeros(10), *np.random.default_rng(2).standard_normal((2, 10))):
    (points, _), (vertices, _) = shaped(coarse, shape), shaped(fine, shape)
    some = points[::4]
    nearest = mesh.barycentric_on(some, vertices, fine["f"]) @ vertices
    assert np.linalg.norm(nearest - some, axis=1).max() < 1.5


def test_fist_does_not_collapse(hand):
  vertices, _ = shaped(hand, np.zeros(10))
  fist, joints = bent(hand, (70.0, 85.0, 50.0), (20.0, 30.0, 40.0))
  assert volume(fist, closed(hand)) == pytest.approx(volume(vertices, closed(hand)), rel=0.12)
  rest_joints = hand["joints_template"] * MM
  owner = hand["weights"].argmax(1)
  for base in FINGER_BASES:
    for bone in (base, base + 1):
      skin = owner == bone

      def radius(points, places, bone=bone, skin=skin):
        start, along = places[bone], places[bone + 1] - places[bone]
        offset = points[skin] - start
        share = np.clip(offset @ along / (along @ along), 0, 1)
        return np.linalg.norm(offset - share[:, None] * along, axis=1)

      ratio = radius(fist, joints) / radius(vertices, rest_joints)
      assert ratio.min() > 0.4
      assert np.median(ratio) == pytest.approx(1, abs=0.2)
