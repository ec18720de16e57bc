"""Reads a user's own MANO files: `.pkl` as released (Python 2, chumpy), `.npz` with the same keys, either gzip'd.

Neither chumpy nor scipy is needed, and nothing of a file is ever run: of a pickle only arrays, sparse matrices and
chumpy's two containers are understood; what else it names is no number. What is inferred or mended is logged as a
warning.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import logging
import pathlib
import zlib

import numpy as np

from jaxhands import schema
from jaxhands.hands import array_archive, array_pickle, skeleton
from jaxhands.hands.side import HandSide
from jaxhands.paths import expanded

MANO = "mano"  # identity of the released mesh
_MAX_BYTES = 1 << 27  # 30 times a released file; stops a gzip bomb
_SHAPES = {
  "v_template": (778, 3),
  "shapedirs": (778, 3, 10),
  "posedirs": (778, 3, 135),
  "J_regressor": (16, 778),
  "weights": (778, 16),
  "f": (None, 3),
  "kintree_table": (2, 16),
  "hands_mean": (45,),
  "hands_components": (45, 45),
}
# The vertices around the open wrist: which of them have an edge with one face tells MANO's mesh from any other.
_MANO_RIM = (38, 78, 79, 92, 108, 117, 118, 119, 120, 121, 122, 214, 215, 234, 239, 279)
_SUFFIXES = (".npz", ".pkl", ".npz.gz", ".pkl.gz")  # the first found is read
_log = logging.getLogger(__name__)


class ManoFileError(ValueError):
  """A MANO file cannot be read, or is none; one line that names the file and what is wrong."""


def read_mano(path: str | pathlib.Path, mend_left: bool | None = None) -> tuple[HandSide, HandSide, str]:
  """Right hand, left hand and identity (`mano`, or the files' hash) of MANO files.

  Args:
    path: a folder with MANO_RIGHT and/or MANO_LEFT (also inside its `models/` or `mano/`), or one of the files. What
      is right and left is taken from the names. Of one file the other hand is made as its mirror image.
    mend_left: the released left file has the right hand's `shapedirs` (vchoutas/smplx issue 48), so that equal
      shapes look different; their x is negated. None: where it is found to be so; True, False: always, never.
  Raises:
    ManoFileError: nothing found, or a file that is damaged, refused or of other shapes.
  """
  path = expanded(path)
  files = {hand: file for hand in (schema.RIGHT, schema.LEFT) if (file := _find(path, hand)) is not None}
  if not files:
    raise ManoFileError(f"{path}: {_why_nothing(path)}")
  sides, digest = {}, hashlib.sha256()
  for hand, file in files.items():
    content = _bytes(file)
    digest.update(content)
    sides[hand] = _side(file, _arrays(file, content))
  right, left = sides.get(schema.RIGHT), sides.get(schema.LEFT)
  identity = MANO if all(_has_mano_rim(side.faces) for side in sides.values()) else digest.hexdigest()[:12]
  if left is not None:
    left = _mended(left, right, files[schema.LEFT], mend_left)
  if right is None and left is not None:
    _log.warning("%s: no right hand beside it; made as the mirror image of the left", files[schema.LEFT])
    right = left.mirrored()
  if left is None and right is not None:
    _log.warning("%s: no left hand beside it; made as the mirror image of the right", files[schema.RIGHT])
    left = right.mirrored()
  assert right is not None
  assert left is not None
  return right, left, identity


def _find(path: pathlib.Path, hand: int) -> pathlib.Path | None:
  """The file of a hand, or None."""
  if path.is_file():
    return path if _hand_of(path) == hand else None
  for folder in (path, path / "models", path / "mano"):
    names = sorted(file for file in folder.glob("*") if file.is_file() and _hand_of(file) == hand)
    for suffix in _SUFFIXES:
      fitting = [file for file in names if file.name.lower().endswith(suffix)]
      if len(fitting) > 1:
        raise ManoFileError(f"{folder}: {len(fitting)} {schema.HANDS[hand]} hands ({fitting[0].name}, …); name one")
      if fitting:
        return fitting[0]
  return None


def _hand_of(file: pathlib.Path) -> int | None:
  named = [hand for hand, name in enumerate(schema.HANDS) if name in file.name.lower()]
  return named[0] if len(named) == 1 and file.name.lower().endswith(_SUFFIXES) else None


def _why_nothing(path: pathlib.Path) -> str:
  if path.is_file():
    return "the name must say right or left and end in .pkl or .npz (or .gz after it), as MANO_RIGHT.pkl"
  if path.is_dir():
    return "holds no MANO_RIGHT or MANO_LEFT (.pkl or .npz); they come from mano.is.tue.mpg.de"
  return "no such file or folder"


def _bytes(file: pathlib.Path) -> bytes:
  """Content of a file, unpacked."""
  try:
    with file.open("rb") as stream:
      content = stream.read(_MAX_BYTES + 1)
    if content.startswith(b"\x1f\x8b"):
      with gzip.open(io.BytesIO(content)) as stream:
        content = stream.read(_MAX_BYTES + 1)
  except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
    raise ManoFileError(f"{file}: cannot be read: {error}") from None
  if len(content) > _MAX_BYTES:
    raise ManoFileError(f"{file}: over {_MAX_BYTES >> 20} MB; a MANO file has 4")
  return content


def _arrays(file: pathlib.Path, content: bytes) -> dict[str, np.ndarray | None]:
  """Key -> array; None where the file holds something else."""
  try:
    if content.startswith(b"PK"):
      with array_archive.opened(io.BytesIO(content), _MAX_BYTES) as archive:
        there = set(archive.namelist())
        return {key: array_archive.array(archive.read(f"{key}.npy")) for key in _SHAPES if f"{key}.npy" in there}
    return array_pickle.load_arrays(content)
  except (array_pickle.RefusedPickle, array_archive.RefusedArchive) as error:
    raise ManoFileError(f"{file}: {error}") from None
  except Exception as error:  # a damaged archive raises nearly anything
    words = " ".join(f"{type(error).__name__}: {error}".split())
    raise ManoFileError(f"{file}: damaged, or not a MANO file ({words})") from None


def _side(file: pathlib.Path, loaded: dict[str, np.ndarray | None]) -> HandSide:
  """Checks everything that later code relies on."""
  arrays: dict[str, np.ndarray] = {}
  for key, shape in _SHAPES.items():
    array = loaded.get(key)
    if array is None or array.dtype.kind not in "fiu":
      raise ManoFileError(f"{file}: {key} is missing or holds no numbers; not a MANO file")
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
      raise ManoFileError(f"{file}: {key} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
      raise ManoFileError(f"{file}: {key} is not finite")
    arrays[key] = array.astype(np.int64 if key in ("f", "kintree_table") else np.float64)
  parents = np.concatenate([[-1], arrays["kintree_table"][0, 1:]])
  if (parents != skeleton.MANO_PARENTS).any():
    raise ManoFileError(f"{file}: kintree_table has parents {parents.tolist()}, not MANO's")
  faces = arrays["f"]
  if faces.min(initial=0) < 0 or faces.max(initial=0) >= 778:
    raise ManoFileError(f"{file}: f names vertices beyond 0..777")
  for key in ("weights", "J_regressor"):
    if np.abs(arrays[key].sum(1) - 1).max() > 1e-3:
      raise ManoFileError(f"{file}: {key} has rows that do not sum to 1")
  regressor, template, shapedirs = arrays["J_regressor"], arrays["v_template"], arrays["shapedirs"]
  return HandSide(
    v_template=template,
    shapedirs=shapedirs,
    posedirs=arrays["posedirs"],
    weights=arrays["weights"],
    joints_template=regressor @ template,
    joints_shapedirs=np.einsum("jv,vcs->jcs", regressor, shapedirs),
    faces=faces,
    hands_mean=arrays["hands_mean"],
    hands_components=arrays["hands_components"],
    tip_vertices=np.array(skeleton.MANO_TIP_VERTICES),
    nail=None,
  )


def _has_mano_rim(faces: np.ndarray) -> bool:
  edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
  edges, counts = np.unique(edges, axis=0, return_counts=True)
  return np.array_equal(np.unique(edges[counts == 1]), _MANO_RIM)


def _mended(left: HandSide, right: HandSide | None, file: pathlib.Path, mend: bool | None) -> HandSide:
  if mend is None:
    mend = _same_sign(left.shapedirs[:, 0], right.shapedirs[:, 0]) if right is not None else None
    mend = _shrinks_along_x(left) if mend is None else mend
    if mend is None:
      _log.warning("%s: cannot be told from its shapes whether it was mended; taken as released (mend_left)", file)
      mend = True
    if mend:
      _log.warning("%s: its shapedirs are the right hand's; their x is negated", file)
  flip = np.array([[-1], [1], [1]]) if mend else 1
  return dataclasses.replace(left, shapedirs=left.shapedirs * flip, joints_shapedirs=left.joints_shapedirs * flip)


def _same_sign(a: np.ndarray, b: np.ndarray) -> bool | None:
  """Whether two fields are alike (True), opposite (False), or neither."""
  likeness = (a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-30)
  return bool(likeness > 0) if abs(likeness) > 0.5 else None


def _shrinks_along_x(side: HandSide) -> bool | None:
  """Whether a hand that grows in y and z shrinks in x, as the right hand's shapes do to a left one; None: no growth.

  Hands differ most in size. The mixture of shape directions that comes nearest to growth in y and z (least squares;
  neither is touched by the mirror) must grow in x as well.
  """
  offset = side.v_template - side.v_template.mean(0)
  moves = side.shapedirs - side.shapedirs.mean(0)
  wanted, directions = offset[:, 1:].ravel(), moves[:, 1:].reshape(-1, moves.shape[-1])
  mixture = np.linalg.lstsq(directions, wanted, rcond=1e-6)[0]
  explained = 1 - ((directions @ mixture - wanted) ** 2).sum() / (wanted**2).sum()
  same = _same_sign(moves[:, 0] @ mixture, offset[:, 0])
  return None if explained < 0.5 or same is None else not same
