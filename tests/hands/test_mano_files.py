"""MANO files as users have them: released pickles, exports, one hand alone, mended or not, damaged, hostile."""

import dataclasses
import gzip
import io
import logging
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from jaxhands import schema
from jaxhands.hands import array_pickle, mano_files
from jaxhands.hands.mano_files import ManoFileError, read_mano
from jaxhands.hands.model import HandModel
from jaxhands.hands.side import HandSide
from tests.hands import synthetic_mano

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"


def write(path, **changed):
  """A synthetic right hand as npz, some keys changed or (None) left out."""
  arrays = synthetic_mano.arrays(GOLDENS, "right") | changed
  np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
  return path


def embedded_as_mano(folder, released):
  """The embedded hand, whose shapes are those of real people, as a left MANO file, with or without the released bug."""
  model = HandModel.default()
  arrays = {name: np.asarray(getattr(model, name)[schema.LEFT], np.float64) for name in ("v_template", "shapedirs")}
  if released:
    arrays["shapedirs"][:, 0] *= -1
  path = folder / "MANO_LEFT.npz"
  np.savez(path, **synthetic_mano.arrays(GOLDENS, "left") | {key: value / 1e3 for key, value in arrays.items()})
  return path, model.shapedirs[schema.LEFT] / 1e3


def assert_same(side: HandSide, other: HandSide, atol=0.0):
  for field in dataclasses.fields(HandSide):
    ours, theirs = getattr(side, field.name), getattr(other, field.name)
    if ours is None or theirs is None:
      assert ours is theirs
    else:
      np.testing.assert_allclose(ours, theirs, atol=atol, err_msg=field.name)


@pytest.fixture
def pair(tmp_path):
  return synthetic_mano.write_pair(GOLDENS, tmp_path)


def test_released_pickle_without_chumpy_and_scipy(tmp_path):
  from_pickle, _, _ = read_mano(GOLDENS / "synthetic_right.pkl.gz")
  from_arrays, _, _ = read_mano(write(tmp_path / "right.npz"))
  assert_same(from_pickle, from_arrays, atol=1e-15)
  with gzip.open(GOLDENS / "synthetic_right.pkl.gz") as packed:
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(packed.read())
  unpacked, _, _ = read_mano(tmp_path / "MANO_RIGHT.pkl")
  assert_same(unpacked, from_pickle)


def test_pickles_of_plain_arrays_of_any_protocol(tmp_path):
  expected, _, _ = read_mano(write(tmp_path / "right.npz"))
  arrays = synthetic_mano.arrays(GOLDENS, "right") | {"bs_type": "lrotmin"}
  arrays["v_template"] = np.asfortranarray(arrays["v_template"])
  arrays["weights"] = arrays["weights"].astype(">f8")
  for protocol in range(6):
    path = tmp_path / f"MANO_RIGHT_{protocol}.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    assert_same(read_mano(path)[0], expected)


def test_pickles_of_lists_and_of_objects(tmp_path):
  """As other programs write numbers, and as NumPy wraps what it does not know."""
  sparse = pytest.importorskip("scipy.sparse")
  expected, _, _ = read_mano(write(tmp_path / "right.npz"))
  arrays: dict = synthetic_mano.arrays(GOLDENS, "right")
  arrays |= {key: arrays[key].tolist() for key in ("kintree_table", "hands_mean", "f")}
  arrays["weights"] = arrays["weights"].astype(object)
  arrays["J_regressor"] = np.array(sparse.csc_matrix(arrays["J_regressor"]), object)
  for protocol in (0, 2, 5):
    path = tmp_path / f"MANO_RIGHT_{protocol}.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    assert_same(read_mano(path)[0], expected)


def test_folder_with_both_hands_is_mended_and_says_so(pair, caplog):
  with caplog.at_level(logging.WARNING):
    right, left, identity = read_mano(pair)
  assert_same(left, dataclasses.replace(right.mirrored(), tip_vertices=left.tip_vertices))
  assert [record.message for record in caplog.records] == [
    f"{pair / 'MANO_LEFT.npz'}: its shapedirs are the right hand's; their x is negated"
  ]
  assert len(identity) == 12  # not MANO's mesh: the files' hash


def test_folder_with_both_hands_mended_before_is_left_alone(tmp_path, caplog):
  with caplog.at_level(logging.WARNING):
    right, left, _ = read_mano(synthetic_mano.write_pair(GOLDENS, tmp_path, fixed=True))
  np.testing.assert_array_equal(left.shapedirs, right.mirrored().shapedirs)
  np.testing.assert_array_equal(left.joints_shapedirs, right.mirrored().joints_shapedirs)
  assert not caplog.records


def test_the_switch_overrides_what_is_found(pair):
  as_released = read_mano(pair, mend_left=False)
  np.testing.assert_array_equal(as_released[1].shapedirs, as_released[0].shapedirs)


@pytest.mark.parametrize("released", [True, False])
def test_a_left_hand_alone_is_judged_by_its_growth(tmp_path, released, caplog):
  path, expected = embedded_as_mano(tmp_path, released)
  with caplog.at_level(logging.WARNING):
    right, left, _ = read_mano(path)
  np.testing.assert_allclose(left.shapedirs, expected, atol=1e-9)
  assert_same(right, left.mirrored())
  assert [("x is negated" in record.message) for record in caplog.records].count(True) == released
  assert "mirror image of the left" in caplog.records[-1].message


def test_a_left_hand_alone_that_does_not_grow_is_taken_as_released(pair, caplog):
  """Random shapes cannot be judged; released files are the ones that are around."""
  right, _, _ = read_mano(pair)
  caplog.clear()
  with caplog.at_level(logging.WARNING):
    alone_right, left, _ = read_mano(pair / "MANO_LEFT.npz")
  assert "cannot be told" in caplog.records[0].message
  assert_same(alone_right, right, atol=1e-15)
  kept = read_mano(pair / "MANO_LEFT.npz", mend_left=False)[1]
  np.testing.assert_array_equal(kept.shapedirs * [[-1], [1], [1]], left.shapedirs)


def test_a_right_hand_alone_gives_its_mirror(tmp_path, caplog):
  with caplog.at_level(logging.WARNING):
    right, left, _ = read_mano(write(tmp_path / "MANO_RIGHT.npz"))
  assert_same(left, right.mirrored())
  assert_same(left.mirrored(), right)
  assert [record.message for record in caplog.records] == [
    f"{tmp_path / 'MANO_RIGHT.npz'}: no left hand beside it; made as the mirror image of the right"
  ]


def test_layouts_of_folders(tmp_path):
  """As unpacked (`mano_v1_2/models`), as smplx wants it (`models/mano`); the npz before the pickle."""
  for name in ("models", "mano"):
    root = tmp_path / f"with_{name}"
    (root / name).mkdir(parents=True)
    (root / name / "info.txt").touch()
    synthetic_mano.write_pair(GOLDENS, root / name)
    (root / name / "MANO_RIGHT.pkl").write_bytes(b"not read")
    assert read_mano(root)[0].v_template.shape == (778, 3)
  write(root / name / "other_right.npz")
  with pytest.raises(ManoFileError, match="2 right hands"):
    read_mano(root)


def test_identity(tmp_path):
  first = read_mano(write(tmp_path / "right.npz"))[2]
  again = read_mano(write(tmp_path / "again_right.npz"))[2]
  other = read_mano(write(tmp_path / "other_right.npz", hands_mean=np.zeros(45)))[2]
  assert first == again != other
  # A fan around the opening as MANO's mesh has it, and nothing else that is open: a disc over the rim.
  rim = np.array(mano_files._MANO_RIM)
  faces = np.stack([np.full(16, 0), rim, np.roll(rim, -1)], axis=1)
  assert read_mano(write(tmp_path / "mano_right.npz", f=faces))[2] == "mano"


class Hostile:
  def __init__(self, function, *args):
    self.call = (function, args)

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
  ("function", "args"),
  [
    (exec, ("import pathlib; pathlib.Path('ran').touch()",)),
    (pathlib.Path, ("ran",)),
    (np.save, ("ran", 1)),
    (getattr, ("text", "upper")),
    (np.dtype, (object,)),
  ],
)
def test_hostile_pickles_are_refused_in_one_line(tmp_path, monkeypatch, function, args, protocol):
  monkeypatch.chdir(tmp_path)
  arrays = synthetic_mano.arrays(GOLDENS, "right") | {"v_template": Hostile(function, *args)}
  path = tmp_path / "MANO_RIGHT.pkl"
  path.write_bytes(pickle.dumps(arrays, protocol=protocol))
  with pytest.raises(ManoFileError) as caught:
    read_mano(path)
  assert "\n" not in str(caught.value)
  assert str(path) in str(caught.value)
  assert sorted(tmp_path.iterdir()) == [path]


def test_refusal_names_what_was_asked_for(tmp_path):
  path = tmp_path / "MANO_RIGHT.pkl"
  path.write_bytes(pickle.dumps({"f": Hostile(exec, "1")}, protocol=2))
  with pytest.raises(ManoFileError, match=r"asks for __builtin__.exec, which values have no need of; nothing was run"):
    read_mano(path)


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", ["csc", "csr", "coo", "bsr", "dia", "lil", "dok"])
def test_every_sparse_form_in_every_protocol(form, kind):
  rng = np.random.default_rng(0)
  matrix = np.where(rng.random((6, 8)) < 0.4, rng.normal(size=(6, 8)), 0)
  stored = getattr(pytest.importorskip("scipy.sparse"), f"{form}_{kind}")(matrix)
  for protocol in range(6):
    found = array_pickle.load_arrays(pickle.dumps({"J_regressor": stored}, protocol))["J_regressor"]
    np.testing.assert_array_equal(found, matrix, err_msg=f"protocol {protocol}")
  # As releases before SciPy 1.8 called the module.
  older = pickle.dumps({"J_regressor": stored}, 2).replace(b"scipy.sparse._", b"scipy.sparse.")
  np.testing.assert_array_equal(array_pickle.load_arrays(older)["J_regressor"], matrix)


def sparse(data, indices, indptr, shape):
  """A pickled `scipy.sparse.csc_matrix` with the state that is given."""
  scipy_sparse = pytest.importorskip("scipy.sparse")
  matrix = scipy_sparse.csc_matrix((1, 1))
  matrix.data, matrix.indices, matrix.indptr, matrix._shape = data, indices, indptr, shape
  return matrix


def test_a_matrix_larger_than_its_file_is_refused(tmp_path):
  path = tmp_path / "MANO_RIGHT.pkl"
  for counts, shape in ((np.array([0, 1 << 40]), (16, 1)), (np.array([0, 1]), (1 << 40, 1))):
    matrix = sparse(np.ones(1), np.zeros(1, np.int64), counts, shape)
    path.write_bytes(pickle.dumps({"J_regressor": matrix}, protocol=2))
    with pytest.raises(ManoFileError, match="does not fit its 1 entries"):
      read_mano(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(mano_files, "_MAX_BYTES", 1 << 20)
  packed = tmp_path / "MANO_RIGHT.pkl.gz"
  packed.write_bytes(gzip.compress(bytes(1 << 21)))
  with pytest.raises(ManoFileError, match="over 1 MB"):
    read_mano(packed)
  archive = tmp_path / "MANO_LEFT.npz"
  with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("v_template.npy", bytes(1 << 21))
  with pytest.raises(ManoFileError, match="unpacks to over 1 MB"):
    read_mano(archive)


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"v_template": np.zeros((779, 3))}, r"v_template has shape \(779, 3\), expected \(778, 3\)"),
    ({"shapedirs": np.zeros((778, 3, 20))}, "shapedirs has shape"),
    ({"hands_mean": None}, "hands_mean is missing"),
    ({"weights": np.full((778, 16), "a")}, "weights is missing or holds no numbers"),
    ({"weights": np.zeros((778, 16))}, "weights has rows that do not sum to 1"),
    ({"posedirs": np.full((778, 3, 135), np.nan)}, "posedirs is not finite"),
    ({"f": np.full((5, 3), 778)}, r"f names vertices beyond 0\.\.777"),
    ({"kintree_table": np.zeros((2, 16), np.int64)}, "kintree_table has parents"),
  ],
)
def test_wrong_content_is_named(tmp_path, changed, message):
  with pytest.raises(ManoFileError, match=message):
    read_mano(write(tmp_path / "right.npz", **changed))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04broken", b"\x1f\x8bbroken", pickle.dumps([1, 2])])
def test_damaged_files_are_one_line(tmp_path, content):
  path = tmp_path / "MANO_RIGHT.pkl"
  path.write_bytes(content)
  with pytest.raises(ManoFileError, match=r"MANO_RIGHT.pkl: ") as caught:
    read_mano(path)
  assert "\n" not in str(caught.value)


def test_a_cut_off_pickle_is_damaged(tmp_path):
  with gzip.open(GOLDENS / "synthetic_right.pkl.gz") as packed:
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(packed.read(100_000))
  with pytest.raises(ManoFileError, match="damaged"):
    read_mano(tmp_path / "MANO_RIGHT.pkl")
  buffer = io.BytesIO()
  np.savez(buffer, v_template=np.array([object()]))
  (tmp_path / "objects_right.npz").write_bytes(buffer.getvalue())
  with pytest.raises(ManoFileError, match="damaged, or not a MANO file"):
    read_mano(tmp_path / "objects_right.npz")


def test_nothing_there(tmp_path):
  with pytest.raises(ManoFileError, match="no such file or folder"):
    read_mano(tmp_path / "absent")
  with pytest.raises(ManoFileError, match="holds no MANO_RIGHT or MANO_LEFT"):
    read_mano(tmp_path)
  (tmp_path / "hand.pkl").touch()
  with pytest.raises(ManoFileError, match="must say right or left"):
    read_mano(tmp_path / "hand.pkl")


def test_hand_model_from_mano_is_in_mm(pair):
  model = HandModel.from_mano(pair)
  right, left, identity = read_mano(pair)
  np.testing.assert_allclose(model.v_template, 1e3 * np.stack([right.v_template, left.v_template]), rtol=1e-6)
  assert model.identity == identity
  assert model.posedirs is not None
  assert not model.nail.any()
