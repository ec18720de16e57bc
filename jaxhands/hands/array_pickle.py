"""What a pickle stands for: arrays, containers, and of hand models sparse matrices and chumpy's."""

from __future__ import annotations

import io
import itertools
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxhands.hands import inert_pickle
from jaxhands.hands.inert_pickle import Made, Name, Outside, RefusedPickle

_MAX_DENSE = 1 << 24  # entries of a matrix that is stored sparse
_DEEPEST = 64
_MOST_NODES = 1 << 20  # what is shared counts as often as it is met
_MOST_BYTES = 1 << 29
_ANY_NUMPY = r"numpy\._?core\.(multiarray|numeric)\."
_SPARSE = re.compile(r"scipy\.sparse\.(?:_?\w+\.)?(csc|csr|coo|bsr|dia|lil|dok)_(?:matrix|array)")
_DICTS = {"collections.OrderedDict", "collections.Counter", "collections.defaultdict", "builtins.dict"}
_HOLDERS = re.compile(r"(?:collections|UserDict|UserList|UserString)\.(?:Iterable)?User(?:Dict|List|String)")
_NAMESPACES = {"argparse.Namespace", "types.SimpleNamespace"}
_LISTS = {"collections.deque", "torch.Size"} | {
  f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "list", "tuple")
}

Other = Callable[[Made | Name | Outside, Callable[[Any], Any]], Any]


def load_arrays(content: bytes) -> dict[Any, np.ndarray | None]:
  """The pickled dictionary, each value as the array that it stands for (None: anything but numbers).

  Understands NumPy arrays, also those of numbers as objects, lists of numbers, all of SciPy's sparse matrices and
  arrays, and chumpy's `Ch` and `Select`, as Python 2 or 3 pickled them in any protocol; none of these packages but
  NumPy is needed.

  Raises:
    RefusedPickle: it is damaged, too large, no dictionary, or asks for something that runs programs.
  """
  loaded = plain(inert_pickle.load(io.BytesIO(content)), _text)
  if not isinstance(loaded, dict):
    raise RefusedPickle(f"holds a {type(loaded).__name__}, not a dictionary")
  return {key: _listed(item) for key, item in loaded.items()}


def _listed(item: Any) -> np.ndarray | None:
  try:
    found = np.asarray(item)
  except ValueError:  # lists of different lengths
    return None
  return found if isinstance(item, np.ndarray) or (isinstance(item, list) and found.dtype.kind in "iuf") else None


def load_nested(content: bytes, most_steps: int = _MOST_NODES) -> Any:
  """What is pickled of lists, tuples, dictionaries, texts, numbers and NumPy arrays, also of objects of these kinds.

  Tuples, sets and arrays of objects (that are no numbers) become lists, NumPy's numbers become Python's.

  Args:
    content: of one pickle.
    most_steps: of it, and most things in it.
  Raises:
    RefusedPickle: it is damaged, too large, or there is something else in it.
  """

  def refuse(item: Made | Name | Outside, visit: Any) -> Any:
    raise RefusedPickle(f"holds a {describe(item)}, and not only containers, texts and numbers")

  return plain(inert_pickle.load(io.BytesIO(content), most_steps=most_steps), refuse, most_nodes=most_steps)


def plain(loaded: Any, other: Other, most_bytes: int = _MOST_BYTES, most_nodes: int = _MOST_NODES) -> Any:
  """What was unpickled as nested dicts and lists of arrays, numbers and texts.

  What is shared stays shared, but whoever walks the result meets it several times: that is what the limits count.

  Args:
    loaded: of `inert_pickle.load`.
    other: gives the value of what is neither; its second argument is this function, for what is inside.
    most_bytes: of all arrays and texts.
    most_nodes: of the result.
  Raises:
    RefusedPickle: it holds itself, or more than the limits.
  """
  done: dict[int, tuple[Any, Any, int, int]] = {}  # what was loaded (its id stays its own), value, nodes, bytes
  nodes, size, depth = 0, 0, 0

  def visit(value: Any) -> Any:
    nonlocal nodes, size, depth
    if id(value) not in done:
      depth += 1
      if depth > _DEEPEST:
        raise RefusedPickle(f"is nested more than {_DEEPEST} deep")
      before = nodes, size
      result = _value(value, visit, other)
      nodes, size = nodes + 1, size + _bytes(result)
      if isinstance(value, list | tuple | dict | Made | Outside):
        done[id(value)] = value, result, nodes - before[0], size - before[1]
      depth -= 1
    else:
      _, result, more_nodes, more_bytes = done[id(value)]
      nodes, size = nodes + more_nodes, size + more_bytes
    if nodes > most_nodes or size > most_bytes:
      raise RefusedPickle(f"unfolds to over {most_nodes:,} things or {most_bytes >> 20:,} MB")
    return result

  try:
    return visit(loaded)
  except RefusedPickle:
    raise
  except Exception as error:  # whatever damage leads to
    raise RefusedPickle(f"is damaged: {type(error).__name__}: {inert_pickle.one_line(str(error))}") from error


def describe(item: Made | Name | Outside) -> str:
  """The name of what is not read, with its arguments where these are plain."""
  if isinstance(item, Made) and isinstance(item.of, Name):
    arguments = item.arguments if item.state is None and not item.items else ()
    if 0 < len(arguments) <= 8 and all(isinstance(value, str | int | float | bytes | None) for value in arguments):
      return inert_pickle.one_line(f"{item.of}({', '.join(map(inert_pickle.short, arguments))})")
    return inert_pickle.one_line(str(item.of))
  return inert_pickle.one_line(str(item)) if isinstance(item, Name) else "object of an unknown kind"


def _text(item: Made | Name | Outside, visit: Any) -> str:
  return f"<{describe(item)}>"


def _bytes(value: Any) -> int:
  return value.nbytes if isinstance(value, np.ndarray) else len(value) if isinstance(value, str | bytes) else 0


def _value(value: Any, visit: Callable[[Any], Any], other: Other) -> Any:
  if value is None or isinstance(value, bool | int | float | bytes):
    return value
  if isinstance(value, str):  # halves of pairs of UTF-16 cannot be printed
    return value if value.isascii() else value.encode(errors="backslashreplace").decode()
  if isinstance(value, bytearray):
    return bytes(value)
  if isinstance(value, dict):
    return _dict(value.items(), visit)
  if isinstance(value, list | tuple):
    return [visit(inner) for inner in value]
  if isinstance(value, Made) and isinstance(value.of, Name):
    for read in (_container, _numpy, _hand_model):
      found = read(str(value.of), value, visit)
      if found is not None:
        return found
    if value.pairs or value.items:  # a dictionary or list of some kind
      return _dict(value.pairs, visit) if value.pairs else visit(value.items)
  return other(value, visit)


def _dict(pairs: Any, visit: Callable[[Any], Any]) -> dict[Any, Any]:
  result: dict[Any, Any] = {}
  keys = inert_pickle.Keys()  # what was an object before, or stood in a list of pairs, is looked at here first
  for key, value in pairs:
    name = visit(key)
    if isinstance(name, list) and all(isinstance(inner, str | int | float | None) for inner in name):
      name = tuple(name)
    elif not isinstance(name, str | bytes | int | float | None):
      name = inert_pickle.one_line(str(name))
    if isinstance(key, Made | Name | Outside):
      name = f"{name} ({len(result)})" if name in result else name  # two that are described alike
    result[keys.checked(name)] = visit(value)
  return result


def _container(name: str, made: Made, visit: Callable[[Any], Any]) -> Any:
  """Of the standard library; None for anything else."""
  first = made.arguments[0] if made.arguments else ()
  if name in _DICTS:
    inside = next((value for value in made.arguments if isinstance(value, dict | list)), [])
    pairs = inside.items() if isinstance(inside, dict) else [(key, value) for key, value in inside]
    return _dict([*pairs, *made.pairs], visit)
  if name in _LISTS:
    return [visit(value) for value in (*first, *made.items)]
  if _HOLDERS.fullmatch(name):
    return visit(made.state["data"])
  if name in _NAMESPACES:
    return visit(made.state or {})
  if name in ("builtins.complex", "__builtin__.complex"):
    return complex(*made.arguments)
  if name in ("builtins.bytearray", "builtins.bytes", "__builtin__.bytearray", "__builtin__.bytes"):
    return bytes(_raw(first, visit)) if made.arguments else b""
  if name == "_codecs.encode":
    return _raw(made, visit)
  if re.fullmatch(r"pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path", name):
    kind = pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
    return str(kind(*map(visit, made.arguments)))
  return None


def _raw(value: Any, visit: Callable[[Any], Any]) -> Any:
  """Bytes, as themselves, as a text of Python 2, or as `_codecs.encode(text, "latin1")`."""
  if isinstance(value, Made) and isinstance(value.of, Name):
    if str(value.of) != "_codecs.encode":
      return visit(value)
    text, *encoding = value.arguments
    if encoding not in (["latin1"], ["latin-1"]):
      raise RefusedPickle(f"encodes bytes as {inert_pickle.short(encoding)}")
    return text.encode("latin1")
  if not isinstance(value, str | bytes | bytearray):
    raise RefusedPickle(f"has a {type(value).__name__} where bytes belong")
  return value.encode("latin1") if isinstance(value, str) else value


# ---- NumPy -----------------------------------------------------------------------


def _numpy(name: str, made: Made, visit: Callable[[Any], Any]) -> Any:
  """An array, or a number as Python's; None for what is neither numbers nor objects."""
  if re.fullmatch(_ANY_NUMPY + "_reconstruct", name):
    _, shape, dtype, fortran, raw = made.state
  elif re.fullmatch(_ANY_NUMPY + "_frombuffer", name):
    raw, dtype, shape, order = made.arguments
    fortran = order == "F"
  elif re.fullmatch(_ANY_NUMPY + "scalar", name):
    dtype, raw = made.arguments
    number = _array((), dtype, False, raw, visit)
    return None if number is None else number.item()
  else:
    return None
  if isinstance(raw, list):  # of objects
    objects = visit(raw)
    if not shape and len(objects) == 1 and isinstance(objects[0], np.ndarray):
      return objects[0]  # as `numpy.array(sparse matrix)` makes it
    if not objects or not all(isinstance(each, bool | int | float) for each in objects):
      return objects
    numbers = np.array(objects)  # they are listed row by row, also where the array was not
    return objects if numbers.dtype == object else numbers.reshape(shape)
  return _array(shape, dtype, fortran, raw, visit)


def _array(shape: Any, dtype: Any, fortran: bool, raw: Any, visit: Callable[[Any], Any]) -> np.ndarray | None:
  code = _dtype(dtype)
  if code is None:
    return None
  count = math.prod(shape)
  if count < 0:
    raise RefusedPickle(f"has an array of shape {inert_pickle.short(shape)}")
  values = np.frombuffer(_raw(raw, visit), code, count)
  return values.reshape(shape, order="F" if fortran else "C")


def _dtype(dtype: Any) -> np.dtype | None:
  """Of `dtype(code, align, copy)`, whose state has the byte order; None for what is not read."""
  if not isinstance(dtype, Made) or not dtype.arguments:
    return None
  code, state = dtype.arguments[0], dtype.state
  if not isinstance(code, str) or not re.fullmatch(r"[fiu][1248]|b1|c8|c16|[SU][1-9]\d{0,5}", code):
    return None
  return np.dtype(code).newbyteorder(state[1] if state else "|")


# ---- hand models -----------------------------------------------------------------


def _hand_model(name: str, made: Made, visit: Callable[[Any], Any]) -> np.ndarray | None:
  """Of SciPy's sparse matrices and of chumpy; None for anything else."""
  if sparse := _SPARSE.fullmatch(name):
    return _dense(sparse[1], made, visit)
  if name.startswith("chumpy.") and isinstance(made.state, dict):
    if "x" in made.state:
      found = visit(made.state["x"])
      return found if isinstance(found, np.ndarray) else None
    if "idxs" in made.state:
      whole, chosen = _numbers(made.state["a"], visit), _numbers(made.state["idxs"], visit)
      return whole.ravel()[chosen].reshape(visit(made.state["preferred_shape"]))
  return None


def _numbers(item: Any, visit: Callable[[Any], Any]) -> np.ndarray:
  value = visit(item)
  if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
    raise RefusedPickle(f"has a {type(value).__name__} where numbers belong")
  return value


def _dense(form: str, made: Made, visit: Callable[[Any], Any]) -> np.ndarray:
  state = made.state
  rows, columns = (int(length) for length in visit(state.get("_shape", state.get("shape"))))
  if form == "dok":
    entries = visit([list(pair) for pair in (state.get("_dict") or dict(made.pairs)).items()])
    places = np.array([place for place, _ in entries], np.int64).reshape(-1, 2)
    row, column, data = places[:, 0], places[:, 1], np.array([value for _, value in entries], np.float64)
  elif form == "lil":
    each, values = visit(state["rows"]), visit(state["data"])
    row = np.repeat(np.arange(len(each)), [len(inner) for inner in each])
    column = np.array([*itertools.chain(*each)], np.int64)
    data = np.array([*itertools.chain(*values)], np.float64)
  else:
    data = _numbers(state["data"], visit)
    if data.size > _MAX_DENSE:
      raise RefusedPickle(f"has a matrix of {data.size:,} entries; at most {_MAX_DENSE:,} are read")
    if form == "coo":
      places = state["coords"] if "coords" in state else (state["row"], state["col"])
      row, column = (_numbers(place, visit) for place in places)
    elif form == "dia":
      column = np.indices(data.shape)[1]
      row = column - _numbers(state["offsets"], visit).reshape(-1, 1)
      inside = (row >= 0) & (row < rows) & (column < columns)
      row, column, data = row[inside], column[inside], data[inside]
    else:
      inner, starts = (_numbers(state[key], visit).astype(np.int64) for key in ("indices", "indptr"))
      outer = _spread(np.diff(starts), len(inner), form)
      row, column = (inner, outer) if form == "csc" else (outer, inner)
      if form == "bsr":
        _, height, width = data.shape
        row = row[:, None, None] * height + np.arange(height)[:, None]
        column = column[:, None, None] * width + np.arange(width)
        row, column = np.broadcast_to(row, data.shape), np.broadcast_to(column, data.shape)
  # Before anything is allocated: the sizes are the file's word.
  fits = row.size == column.size == data.size and 0 <= rows * columns <= _MAX_DENSE
  if not fits or (data.size and (min(row.min(), column.min()) < 0 or row.max() >= rows or column.max() >= columns)):
    raise RefusedPickle(f"has a {rows} x {columns} matrix that does not fit its {data.size} entries")
  dense = np.zeros((rows, columns))
  np.add.at(dense, (row.ravel(), column.ravel()), data.ravel())
  return dense


def _spread(counts: np.ndarray, size: int, form: str) -> np.ndarray:
  """The number of the row or column that each entry is in."""
  if (counts < 0).any() or counts.sum() != size:
    raise RefusedPickle(f"has a {form} matrix that does not fit its {size} entries")
  return np.repeat(np.arange(len(counts)), counts)
