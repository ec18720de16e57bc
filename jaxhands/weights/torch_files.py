"""Reads what `torch.save` wrote, in its three formats, without torch and without running anything of the file.

* zip (torch 1.6 and later): `*/data.pkl` and one member for each storage;
* a stream of pickles with the storages behind them (before 1.6; most files called `.pth.tar`);
* a tar of `pickle`, `tensors` and `storages` (before 0.1.10).

The pickles are read with an allow-list: tensors, NumPy arrays and plain containers. The few containers of other
packages that published checkpoints hold (`argparse.Namespace`, what PyTorch Lightning keeps beside the weights) become
inert placeholders; any other name is refused before anything is made of it.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from jaxhands.hands import array_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
# A pickle of protocol 2 whose first object is that number; 1 gives a shorter or longer head, which torch never did.
_STREAM_HEAD = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_TAR_MEMBERS = {"pickle", "tensors", "storages"}
_MAX_EXPANDED = 1 << 26  # elements of a tensor that repeats its storage
_FOREIGN = re.compile(r"argparse\.Namespace|easydict\.EasyDict|(pytorch_lightning|lightning|lightning_fabric)(\.\w+)+")

_DTYPES: dict[str, Any] = {
  "Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16, "Long": np.int64,
  "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
}  # fmt: skip


class RefusedFile(ValueError):
  """A file is no checkpoint that can be read, is damaged, or asks for what is not allowed; one line says which."""


def is_torch_zip(names: list[str]) -> bool:
  """Whether a zip with these members is of `torch.save` or of TorchScript."""
  return any(name.split("/")[-1] == "data.pkl" for name in names)


def read_zip(file: zipfile.ZipFile) -> Any:
  """The object that a zip holds, tensors as arrays.

  Raises:
    RefusedFile: see the class.
  """
  member = next(name for name in file.namelist() if name.split("/")[-1] == "data.pkl")
  root = member.removesuffix("data.pkl")
  if f"{root}constants.pkl" in file.namelist():
    raise RefusedFile("it is a TorchScript program, not a file of weights; save its state_dict() with torch")
  order = _zip_member(file, f"{root}byteorder").decode() if f"{root}byteorder" in file.namelist() else "little"

  def storage(kind: _Type, key: str, numel: int) -> _Storage:
    raw = _zip_member(file, f"{root}data/{key}")
    return _Storage(kind.dtype, _elements(raw, kind.dtype, numel, "<" if order == "little" else ">"))

  return _plain(_load(io.BytesIO(_zip_member(file, member)), _resolving(storage)))


def is_stream(head: bytes) -> bool:
  """Whether a file that begins so is of torch before 1.6; 14 bytes are enough."""
  return head.startswith(_STREAM_HEAD)


def read_stream(file: io.BufferedIOBase) -> Any:
  """The object that a stream of pickles holds, tensors as arrays.

  Raises:
    RefusedFile: see the class.
  """
  _, version, system = (_load(file) for _ in range(3))
  if version != 1001 or not isinstance(system, dict):
    raise RefusedFile(f"it has version {version} of torch's old format, which has only 1001")
  order = "<" if system.get("little_endian", True) else ">"
  storages: dict[str, _Storage] = {}

  def storage(kind: _Type, key: str, numel: int) -> _Storage:
    return storages.setdefault(key, _Storage(kind.dtype, numel=numel))

  found = _load(file, _resolving(storage))
  for key in _load(file):
    if key not in storages:
      raise RefusedFile(f"it has a storage {key!r} that nothing uses")
    part = storages[key]
    (numel,) = struct.unpack("<q", _exactly(file, 8))
    if numel != part.numel:
      raise RefusedFile(f"storage {key!r} has {numel} elements, announced were {part.numel}")
    itemsize = np.dtype(part.dtype).itemsize
    part.values = _elements(_exactly(file, numel * itemsize), part.dtype, numel, order)
  return _plain(found)


def is_tar(names: list[str]) -> bool:
  """Whether a tar with these members is of torch before 0.1.10."""
  return set(names) >= _TAR_MEMBERS


def read_tar(file: tarfile.TarFile) -> Any:
  """The object that a tar holds, tensors as arrays.

  Raises:
    RefusedFile: see the class.
  """
  known: dict[int, Any] = {}
  members = {name: _tar_member(file, name) for name in _TAR_MEMBERS}
  for _ in range(_count(_load(members["storages"]))):
    key, _, kind = _load(members["storages"])
    (numel,) = struct.unpack("<q", _exactly(members["storages"], 8))
    raw = _exactly(members["storages"], numel * np.dtype(_type(kind).dtype).itemsize)
    known[key] = _Storage(kind.dtype, _elements(raw, kind.dtype, numel, "<"))
  for key, root, offset, numel in _load(members["storages"]):
    whole = known[root].values
    known[key] = _Storage(known[root].dtype, _view(whole, offset, numel))
  for _ in range(_count(_load(members["tensors"]))):
    key, storage_key, _ = _load(members["tensors"])
    rank, _ = struct.unpack("<ii", _exactly(members["tensors"], 8))
    numbers = struct.unpack(f"<{2 * rank + 1}q", _exactly(members["tensors"], 8 * (2 * _count(rank) + 1)))
    known[key] = _Tensor(known[storage_key], numbers[-1], numbers[:rank], numbers[rank:-1])
  # Containers, as torch called its modules, come as tuples that begin with them.
  return _plain(_load(members["pickle"], lambda pid: pid[0] if isinstance(pid, tuple) else known[int(pid)]))


# ---- what pickles may name ------------------------------------------------------


def _refuse_state(*state: Any) -> None:
  raise RefusedFile("it gives a state to what has none")


class _Type:
  """A kind of storage, or a dtype."""

  __setstate__ = _refuse_state

  def __init__(self, dtype: Any):
    self.dtype = dtype


class _Storage:
  """Elements, which may be read later."""

  __setstate__ = _refuse_state

  def __init__(self, dtype: Any, values: np.ndarray | None = None, numel: int | None = None):
    self.dtype, self.values = dtype, values
    self.numel = numel if values is None else len(values)


class _View(_Storage):
  """A part of another storage."""

  def __init__(self, whole: _Storage, start: int, numel: int):
    self.dtype, self.numel, self._whole, self._start = whole.dtype, numel, whole, start

  @property
  def values(self) -> np.ndarray | None:
    return None if self._whole.values is None else _view(self._whole.values, self._start, self.numel)


class _Tensor:
  """`_rebuild_tensor_v2(storage, offset, size, stride, …)`, an array once the storage is read."""

  __setstate__ = _refuse_state

  def __init__(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any):
    if not isinstance(storage, _Storage) or len(size) != len(stride) or offset < 0 or min((*size, *stride, 0)) < 0:
      raise RefusedFile(f"it has a tensor of size {size}, stride {stride} and offset {offset}")
    self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

  def array(self) -> np.ndarray:
    values, size = self.storage.values, self.size
    if values is None:
      raise RefusedFile("it has a tensor whose storage is missing")
    count = math.prod(size)
    last = self.offset + sum((n - 1) * step for n, step in zip(size, self.stride, strict=True))
    if count and last >= len(values):
      raise RefusedFile(f"it has a tensor that needs {last + 1} elements of a storage of {len(values)}")
    if count > max(len(values), _MAX_EXPANDED):
      raise RefusedFile(f"it has a tensor of {count} elements in a storage of {len(values)}")
    if not count:
      return np.zeros(size, values.dtype)
    strides = tuple(step * values.itemsize for step in self.stride)
    return np.lib.stride_tricks.as_strided(values[self.offset :], size, strides, writeable=False)


class _Parameter:
  """`_rebuild_parameter(tensor, …)`: the tensor."""

  __setstate__ = staticmethod(_refuse_state)

  def __new__(cls, tensor: Any, *rest: Any) -> Any:
    return tensor


class _FromType:
  """`_rebuild_from_type_v2(function, type, arguments, state)`: a tensor with attributes, which are dropped."""

  __setstate__ = staticmethod(_refuse_state)

  def __new__(cls, function: Any, kind: Any, arguments: tuple[Any, ...], *state: Any) -> Any:
    if function not in (_Tensor, _Parameter):
      raise RefusedFile("it rebuilds something that is no tensor")
    return function(*arguments)


class _Foreign(array_pickle.Stub):
  """Stands for an object of another package; what it holds is dropped."""

  def __setitem__(self, key: Any, value: Any) -> None:
    pass

  def append(self, value: Any) -> None:
    pass

  def extend(self, values: Any) -> None:
    pass


_KNOWN: dict[tuple[str, str], Any] = array_pickle.KNOWN | {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch", "Size"): tuple,
  ("torch", "device"): _Foreign,
  ("torch._utils", "_rebuild_tensor"): _Tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
  ("torch._utils", "_rebuild_parameter"): _Parameter,
  ("torch._utils", "_rebuild_parameter_with_state"): _Parameter,
  ("torch._tensor", "_rebuild_from_type_v2"): _FromType,
  ("torch", "Tensor"): _Foreign,
  ("torch.nn.parameter", "Parameter"): _Foreign,
}
for _name, _dtype in _DTYPES.items():
  _KNOWN["torch", f"{_name}Storage"] = _KNOWN["torch.cuda", f"{_name}Storage"] = _Type(_dtype)
  _KNOWN["torch", f"{_name}Tensor"] = _KNOWN["torch.cuda", f"{_name}Tensor"] = _Foreign
for _name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"):
  _KNOWN["torch", _name] = _Foreign


class _Unpickler(pickle.Unpickler):
  def __init__(self, file: io.BufferedIOBase, resolve: Callable[[Any], Any] | None):
    super().__init__(file, encoding="latin1")
    self._resolve = resolve

  def find_class(self, module_name: str, global_name: str) -> Any:
    if (module_name, global_name) in _KNOWN:
      return _KNOWN[module_name, global_name]
    if _FOREIGN.fullmatch(f"{module_name}.{global_name}"):
      return _Foreign
    if module_name.startswith("torch.nn.") or module_name == "__main__":
      raise RefusedFile(
        f"it holds a whole program (it asks for {module_name}.{global_name}); save its state_dict() with torch"
      )
    raise RefusedFile(f"it asks for {module_name}.{global_name}, and weights have no need of that; nothing was run")

  def persistent_load(self, pid: Any) -> Any:
    if self._resolve is None:
      raise RefusedFile("it refers to a storage where none may be")
    return self._resolve(pid)


def _load(file: io.BufferedIOBase, resolve: Callable[[Any], Any] | None = None) -> Any:
  """One pickle from where the file is; damage of any kind is a `RefusedFile`."""
  try:
    return _Unpickler(file, resolve).load()
  except (RefusedFile, MemoryError):
    raise
  except array_pickle.RefusedPickle as error:
    raise RefusedFile(f"it {error}") from error
  except Exception as error:  # nearly anything, of a damaged pickle
    raise RefusedFile(f"it is damaged: {type(error).__name__}: {error}") from error


def _resolving(storage: Callable[[_Type, str, int], _Storage]) -> Callable[[Any], _Storage]:
  """Finds `("storage", kind, key, device, elements[, view])`, where a view is `None` or `(key, start, elements)`."""

  def resolve(pid: Any) -> _Storage:
    if pid[0] != "storage":
      raise RefusedFile(f"it refers to a {pid[0]!r} outside of it")
    whole = storage(_type(pid[1]), str(pid[2]), _count(pid[4]))
    view = pid[5] if len(pid) > 5 else None
    return whole if view is None else _View(whole, _count(view[1]), _count(view[2]))

  return resolve


# ---- from what was unpickled to plain values ------------------------------------


def _plain(found: Any) -> Any:
  """Containers, numbers and text as they are, tensors as arrays, everything else as a text that names it."""
  done: dict[int, Any] = {}

  def visit(value: Any, depth: int) -> Any:
    if depth > 64:
      raise RefusedFile("it is nested more than 64 deep")
    if id(value) in done:
      return done[id(value)]
    if isinstance(value, dict):
      # Not `value.items()`: a pickle may give an OrderedDict attributes.
      result: Any = {key: visit(inner, depth + 1) for key, inner in dict.items(value)}
    elif isinstance(value, (list, tuple, set)):
      result = [visit(inner, depth + 1) for inner in value]
    elif isinstance(value, _Tensor):
      result = value.array()
    elif isinstance(value, _Storage):
      result = value.values
    elif isinstance(value, (str, int, float, bool, bytes, complex, type(None))):
      return value
    else:
      array = array_pickle.as_array(value)
      result = f"<{type(value).__name__.strip('_').lower()}>" if array is None else array
    done[id(value)] = result
    return result

  return visit(found, 0)


def _type(value: Any) -> _Type:
  if not isinstance(value, _Type):
    raise RefusedFile(f"it has a storage of the unknown kind {value!r}")
  return value


def _count(value: Any) -> int:
  if not isinstance(value, int) or value < 0:
    raise RefusedFile(f"it has {value!r} where a count belongs")
  return value


def _view(whole: np.ndarray, start: int, numel: int) -> np.ndarray:
  if not 0 <= start <= start + numel <= len(whole):
    raise RefusedFile("it has a view of a storage that goes beyond it")
  return whole[start : start + numel]


def _elements(raw: bytes, dtype: Any, numel: int, order: str) -> np.ndarray:
  stored = np.dtype(dtype)
  if len(raw) < numel * stored.itemsize:
    raise RefusedFile(f"it has {len(raw)} bytes where {numel} elements of {stored} belong; it is cut")
  values = np.frombuffer(raw, stored, numel)
  return values if order == "<" else values.byteswap()


def _exactly(file: io.BufferedIOBase, count: int) -> bytes:
  raw = file.read(count) if count >= 0 else b""
  if len(raw) != count:
    raise RefusedFile("it is cut")
  return raw


def _zip_member(file: zipfile.ZipFile, name: str) -> bytes:
  try:
    info = file.getinfo(name)
  except KeyError as error:
    raise RefusedFile(f"it lacks its member {name!r}") from error
  if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
    raise RefusedFile(f"its member {name!r} is compressed or encrypted, as torch never does")
  return file.read(info)


def _tar_member(file: tarfile.TarFile, name: str) -> io.BufferedIOBase:
  member = file.extractfile(name)
  if member is None:
    raise RefusedFile(f"its member {name!r} is not a file")
  return io.BytesIO(member.read())
