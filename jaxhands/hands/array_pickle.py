"""Unpickles without running anything: arrays, containers, and of hand models sparse matrices and chumpy's."""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np

_MAX_DENSE = 1 << 24  # entries of a matrix that is stored sparse


class RefusedPickle(Exception):
  """A pickle asks for something that is neither an array nor a container."""


def load_arrays(content: bytes) -> dict[Any, np.ndarray | None]:
  """The pickled dictionary, each value as the array that it stands for (None: anything but numbers).

  Understands NumPy arrays, `scipy.sparse.csc_matrix`, and chumpy's `Ch` and `Select`, as Python 2 or 3 pickled them;
  none of these packages but NumPy is needed.

  Raises:
    RefusedPickle: another class or function is named, or the pickle is no dictionary.
    Exception: nearly any, of a damaged pickle.
  """
  loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
  if not isinstance(loaded, dict):
    raise RefusedPickle(f"holds a {type(loaded).__name__}, not a dictionary")
  return {key: as_array(item) for key, item in loaded.items()}


def load_nested(content: bytes) -> Any:
  """What is pickled of lists, tuples, dictionaries, texts, numbers and NumPy arrays, also of objects of these kinds.

  Tuples and arrays of objects become lists, NumPy's numbers become Python's.

  Raises:
    RefusedPickle: another class or function is named, or there is something else.
    Exception: nearly any, of a damaged pickle.
  """
  return _plain(_Unpickler(io.BytesIO(content), encoding="latin1").load())


class Stub:
  """Stands for an object of a foreign class: its state, nothing of its behaviour."""

  def __init__(self, *args: Any):
    self.state: Any = args

  def __setstate__(self, state: Any) -> None:
    self.state = state


class _Chumpy(Stub):
  pass


class _Sparse(Stub):
  pass


class _Dtype(Stub):
  """`dtype(code, align, copy)`, then (version, byte order, …)."""

  def __init__(self, *args: Any):
    self.code, self.order = str(args[0]), "|"

  def __setstate__(self, state: Any) -> None:
    self.order = state[1]


class _Array(Stub):
  """(version, shape, dtype, Fortran order, bytes or latin-1 text)."""


class _Scalar(Stub):
  """(dtype, bytes or latin-1 text)."""


class _Encoded:
  """`_codecs.encode(text, "latin1")`, as the bytes themselves.

  A class that refuses state, as a pickle may give some to whatever it names: a function's attributes would change.
  """

  def __new__(cls, text: str, encoding: str) -> bytes:  # pyright: ignore[reportInconsistentConstructor]
    if encoding != "latin1":
      raise RefusedPickle(f"encodes bytes as {encoding!r}")
    return text.encode("latin1")

  @staticmethod
  def __setstate__(state: Any) -> None:
    raise RefusedPickle("gives a state to `encode`, which has none")


KNOWN: dict[tuple[str, str], Any] = {
  ("numpy", "ndarray"): _Array,
  ("numpy", "dtype"): _Dtype,
  ("_codecs", "encode"): _Encoded,
  ("__builtin__", "set"): set,
  ("builtins", "set"): set,
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
  KNOWN[_core, "_reconstruct"] = _Array
  KNOWN[_core, "scalar"] = _Scalar
for _csc in ("scipy.sparse.csc", "scipy.sparse._csc"):
  KNOWN[_csc, "csc_matrix"] = _Sparse


class _Unpickler(pickle.Unpickler):
  def find_class(self, module_name: str, global_name: str) -> Any:
    if re.fullmatch(r"chumpy(\.\w+)*", module_name):
      return _Chumpy
    if (module_name, global_name) not in KNOWN:
      raise RefusedPickle(f"refused, as it asks for {module_name}.{global_name}; only arrays and containers are read")
    return KNOWN[module_name, global_name]


def _plain(item: Any) -> Any:
  if isinstance(item, dict):
    return {_plain(key): _plain(value) for key, value in item.items()}
  if isinstance(item, list | tuple):
    return [_plain(value) for value in item]
  if isinstance(item, _Array) and item.state[2].code.startswith("O"):
    return [_plain(value) for value in item.state[4]]
  if isinstance(item, _Scalar) and re.fullmatch(r"b1|U\d{1,4}", item.state[0].code):
    dtype, raw = item.state
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype.order + dtype.code)[0].item()
  if isinstance(item, _Array | _Scalar):
    value = as_array(item)
    if value is not None:
      return value.item() if isinstance(item, _Scalar) else value
  if item is None or isinstance(item, str | bytes | int | float):
    return item
  raise RefusedPickle(f"holds a {type(item).__name__.strip('_')}")


def as_array(item: Any) -> np.ndarray | None:
  """The array that an entry stands for, None for anything else."""
  if isinstance(item, _Array):
    return _numbers(*item.state[1:])
  if isinstance(item, _Scalar):
    dtype, raw = item.state
    return _numbers((), dtype, False, raw)
  if isinstance(item, _Sparse):
    return _dense(item.state)
  if isinstance(item, _Chumpy) and "x" in item.state:
    return as_array(item.state["x"])
  if isinstance(item, _Chumpy) and "idxs" in item.state:
    return _array(item.state["a"]).ravel()[_array(item.state["idxs"])].reshape(item.state["preferred_shape"])
  return None


def _numbers(shape: tuple[int, ...], dtype: _Dtype, fortran: bool, raw: bytes | str) -> np.ndarray | None:
  if not re.fullmatch("[fiu][1248]", dtype.code):
    return None
  raw = raw.encode("latin1") if isinstance(raw, str) else raw
  return np.frombuffer(raw, dtype.order + dtype.code).reshape(shape, order="F" if fortran else "C")


def _array(item: Any) -> np.ndarray:
  value = as_array(item)
  if value is None:
    raise RefusedPickle(f"has a {type(item).__name__.strip('_')} where numbers belong")
  return value


def _dense(state: dict[str, Any]) -> np.ndarray:
  rows, columns = state["_shape"]
  data, indices, starts = (_array(state[key]) for key in ("data", "indices", "indptr"))
  counts = np.diff(starts)
  # Before anything is allocated: the sizes are the file's word.
  if rows * columns > _MAX_DENSE or (counts < 0).any() or counts.sum() != len(data) or len(counts) != columns:
    raise RefusedPickle(f"has a {rows} x {columns} matrix that does not fit its {len(data)} entries")
  dense = np.zeros((rows, columns))
  np.add.at(dense, (indices, np.repeat(np.arange(columns), counts)), data)
  return dense
