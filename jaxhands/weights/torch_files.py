"""Reads what `torch.save` wrote, in its three formats, without torch and without running anything of the file.

* zip (torch 1.6 and later): `*/data.pkl` and one member for each storage;
* a stream of pickles with the storages behind them (before 1.6; most files called `.pth.tar`);
* a tar of `pickle`, `tensors` and `storages` (before 0.1.10).

Tensors become arrays. Objects of other packages, and tensors of other kinds (sparse, quantized), become texts that name
them. Messages of what is refused lack their subject ("has a tensor …"), which `files.read` puts before them.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from jaxhands.hands import array_pickle, inert_pickle
from jaxhands.hands.inert_pickle import Made, Name, Outside, RefusedPickle

_MAGIC = 0x1950A86A20F9469CFC6C
# A pickle of protocol 2 whose first object is that number; 1 gives a shorter or longer head, which torch never did.
_STREAM_HEAD = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_TAR_MEMBERS = ("pickle", "tensors", "storages")
_MAX_EXPANDED = 1 << 26  # elements of a tensor that repeats its storage
_MOST_TENSORS = 1 << 20
_OWN_CLASSES = re.compile(r"torch\.nn\.(?!parameter\.).*|__main__\..*")  # of whole programs

_DTYPES: dict[str, Any] = {
  "float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
  "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
  "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64, "complex64": np.complex64,
  "complex128": np.complex128, "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
  "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip
_STORAGES: dict[str, Any] = {
  "Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16, "Long": np.int64,
  "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_, "Untyped": np.uint8,
  "ComplexFloat": np.complex64, "ComplexDouble": np.complex128, "QInt8": np.int8, "QUInt8": np.uint8,
  "QInt32": np.int32,
}  # fmt: skip


def is_torch_zip(names: list[str]) -> bool:
  """Whether a zip with these members is of `torch.save` or of TorchScript."""
  return any(name.split("/")[-1] == "data.pkl" for name in names)


def read_zip(archive: zipfile.ZipFile, size: int) -> Any:
  """The object that a zip holds, tensors as arrays.

  Args:
    archive: of which no member overlaps another.
    size: of the whole file, in bytes.
  Raises:
    RefusedPickle: it is none that can be read, or damaged.
  """
  names = set(archive.namelist())
  member = next(name for name in archive.namelist() if name.split("/")[-1] == "data.pkl")
  root = member.removesuffix("data.pkl")
  if f"{root}constants.pkl" in names:
    raise RefusedPickle("is a TorchScript program, not a file of weights; save its state_dict() with torch")
  order = _zip_member(archive, f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
  read: dict[str, bytes] = {}

  def storage(key: Any) -> bytes:
    name = f"{root}data/{key}"
    if name not in read:
      read[name] = _zip_member(archive, name)
    return read[name]

  outside: list[Outside] = []
  found = inert_pickle.load(io.BytesIO(_zip_member(archive, member)), outside)
  return _plain(found, storage, "<" if order == "little" else ">", size)


def is_stream(head: bytes) -> bool:
  """Whether a file that begins so is of torch before 1.6; 14 bytes are enough."""
  return head.startswith(_STREAM_HEAD)


def read_stream(file: io.BufferedIOBase, size: int) -> Any:
  """The object that a stream of pickles holds, tensors as arrays.

  Args:
    file: at its beginning.
    size: of it, in bytes.
  Raises:
    RefusedPickle: it is none that can be read, or damaged.
  """
  _, version, system = (inert_pickle.load(file) for _ in range(3))
  if version != 1001 or not isinstance(system, dict):
    raise RefusedPickle(f"has version {inert_pickle.short(version)} of torch's old format, which has only 1001")
  outside: list[Outside] = []
  found = inert_pickle.load(file, outside)
  announced = {str(_scalar(item.key[2])): item.key for item in outside if _is_storage(item)}
  storages: dict[str, bytes] = {}
  keys = inert_pickle.load(file)
  for key in keys if isinstance(keys, list) else _refuse(f"has {inert_pickle.short(keys)} where keys belong"):
    if _scalar(key) not in announced:
      raise RefusedPickle(f"has a storage {inert_pickle.short(key)} that nothing uses")
    (numel,) = struct.unpack("<q", _exactly(file, 8))
    if numel != announced[key][4]:
      raise RefusedPickle(f"is damaged: storage {key!r} has {numel} elements, announced were others")
    storages[key] = _exactly(file, _count(numel) * _kind(announced[key][1]).itemsize)
  return _plain(found, storages.__getitem__, "<" if system.get("little_endian", True) else ">", size)


def is_tar(names: list[str]) -> bool:
  """Whether a tar with these members is of torch before 0.1.10."""
  return set(names) >= set(_TAR_MEMBERS)


def read_tar(file: tarfile.TarFile, size: int) -> Any:
  """The object that a tar holds, tensors as arrays.

  Args:
    file: opened, without a packing.
    size: of the whole file, in bytes.
  Raises:
    RefusedPickle: it is none that can be read, or damaged.
  """
  pickled, views, content = (_tar_member(file, name, size) for name in _TAR_MEMBERS)
  storages: dict[str, np.ndarray] = {}
  for _ in range(_count(inert_pickle.load(content), _MOST_TENSORS)):
    key, _, kind = inert_pickle.load(content)
    (numel,) = struct.unpack("<q", _exactly(content, 8))
    raw = _exactly(content, _count(numel) * _kind(kind).itemsize)
    storages[str(_scalar(key))] = np.frombuffer(raw, _kind(kind), numel)
  for key, root, offset, numel in inert_pickle.load(content):
    if str(_scalar(root)) not in storages:
      raise RefusedPickle("has a view of a missing storage")
    storages[str(_scalar(key))] = _view(storages[str(root)], offset, numel)
  tensors: dict[str, np.ndarray] = {}
  for _ in range(_count(inert_pickle.load(views), _MOST_TENSORS)):
    key, storage_key, _ = inert_pickle.load(views)
    rank, _ = struct.unpack("<ii", _exactly(views, 8))
    numbers = struct.unpack(f"<{2 * rank + 1}q", _exactly(views, 8 * (2 * _count(rank, 64) + 1)))
    if str(_scalar(storage_key)) not in storages:
      raise RefusedPickle("has a tensor whose storage is missing")
    tensors[str(_scalar(key))] = _tensor(storages[str(storage_key)], numbers[-1], numbers[:rank], numbers[rank:-1])

  def other(item: Made | Name | Outside, visit: Any) -> Any:
    if not isinstance(item, Outside):
      return f"<{array_pickle.describe(item)}>"
    if isinstance(item.key, tuple):  # a container, as torch called its modules, with its source
      return visit(item.key[0])
    key = str(_scalar(item.key))
    return tensors[key] if key in tensors else _refuse("has a tensor that is missing")

  return array_pickle.plain(inert_pickle.load(pickled, []), other, _most_bytes(size))


# ---- from what was unpickled to arrays -------------------------------------------


def _plain(found: Any, storage: Callable[[str], bytes], order: str, size: int) -> Any:
  """Containers, numbers and texts as they are, tensors as arrays, everything else as a text that names it.

  Args:
    found: of `inert_pickle.load`.
    storage: key -> bytes; KeyError where there is none.
    order: of the bytes of each element, "<" or ">".
    size: of the file, in bytes.
  """
  programs: list[str] = []
  arrays = 0
  swapped: dict[tuple[str, np.dtype], np.ndarray] = {}

  def elements(item: Any) -> np.ndarray:
    """Of `("storage", kind, key, device, elements[, view])`, where a view is `None` or `(key, start, elements)`."""
    if not isinstance(item, Outside) or not _is_storage(item):
      raise RefusedPickle("has a tensor without a storage, or with one outside of it")
    _, kind, key, _, numel, *view = item.key
    key, dtype = str(_scalar(key)), _kind(kind)
    try:
      raw = storage(key)
    except KeyError:
      raise RefusedPickle("has a tensor whose storage is missing") from None
    if len(raw) < _count(numel) * dtype.itemsize:
      raise RefusedPickle(f"has {len(raw)} bytes where {numel} elements of {dtype} belong; it is cut")
    whole = np.frombuffer(raw, dtype, len(raw) // dtype.itemsize)
    if order == ">":  # swapped once for all that share it
      if (key, dtype) not in swapped:
        swapped[key, dtype] = whole.byteswap()
      whole = swapped[key, dtype]
    whole = whole[:numel]
    return whole if not view or view[0] is None else _view(whole, *view[0][1:3])

  def other(item: Made | Name | Outside, visit: Any) -> Any:
    nonlocal arrays
    arguments: tuple[Any, ...] = item.arguments if isinstance(item, Made) else ()
    name = str(item.of if isinstance(item, Made) else item)
    if isinstance(item, Outside) and _is_storage(item):
      return elements(item)
    if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
      arrays += 1
      return _tensor(elements(arguments[0]), *arguments[1:4])
    if name == "torch._utils._rebuild_tensor_v3" and str(arguments[6]).removeprefix("torch.") in _DTYPES:
      arrays += 1
      dtype = _DTYPES[str(arguments[6]).removeprefix("torch.")]
      return _tensor(elements(arguments[0]).view(dtype), *arguments[1:4])
    if name in ("torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2"):
      return visit(Made(arguments[0], arguments[2]))
    if name in (
      "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
      "torch._utils._rebuild_device_tensor_from_numpy", "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    ):  # fmt: skip
      return visit(arguments[0])
    if isinstance(item, Made) and isinstance(item.of, Outside):  # ("module", class, file, source)
      item = item.of.key[1]
    programs.extend(filter(_OWN_CLASSES.fullmatch, [array_pickle.describe(item)]))
    return f"<{array_pickle.describe(item)}>"

  result = array_pickle.plain(found, other, _most_bytes(size))
  if programs and not arrays:
    raise RefusedPickle(f"holds a whole program (it asks for {programs[0]}); save its state_dict() with torch")
  return result


def _tensor(values: np.ndarray, offset: Any, size: Any, stride: Any) -> np.ndarray:
  size, stride = (tuple(one.arguments[0] if isinstance(one, Made) else one) for one in (size, stride))
  numbers = (offset, *size, *stride)
  if len(size) != len(stride) or not all(isinstance(number, int) and 0 <= number < 1 << 62 for number in numbers):
    said = map(inert_pickle.short, (size, stride, offset))
    raise RefusedPickle("has a tensor of size {}, stride {} and offset {}".format(*said))
  count = math.prod(size)
  if not count:
    return np.zeros(size, values.dtype)
  last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
  if last >= len(values):
    raise RefusedPickle(f"has a tensor that needs {last + 1} elements of a storage of {len(values)}")
  if count > max(len(values), _MAX_EXPANDED):
    raise RefusedPickle(f"has a tensor of {count} elements in a storage of {len(values)}")
  strides = tuple(step * values.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True))
  return np.lib.stride_tricks.as_strided(values[offset:], size, strides, writeable=False)


def _most_bytes(size: int) -> int:
  """Of all arrays of a file of this size: each storage may be met several times, and a few tensors repeat theirs."""
  return 4 * size + 4 * _MAX_EXPANDED


def _is_storage(item: Outside) -> bool:
  return isinstance(item.key, tuple) and len(item.key) >= 5 and item.key[0] == "storage"


def _kind(value: Any) -> np.dtype:
  """The dtype of `torch.FloatStorage` and its like."""
  found = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage", str(value)) if isinstance(value, Name) else None
  if not found or found[1] not in _STORAGES:
    raise RefusedPickle(f"has a storage of the unknown kind {inert_pickle.short(value)}")
  return np.dtype(_STORAGES[found[1]])


def _scalar(key: Any) -> Any:
  if not isinstance(key, int | str):
    raise RefusedPickle(f"has {inert_pickle.short(key)} where a key belongs")
  return key


def _count(value: Any, most: int = 1 << 62) -> int:
  if not isinstance(value, int) or not 0 <= value <= most:
    raise RefusedPickle(f"has {inert_pickle.short(value)} where a count belongs")
  return value


def _view(whole: np.ndarray, start: Any, numel: Any) -> np.ndarray:
  if _count(start) + _count(numel) > len(whole):
    raise RefusedPickle("has a view of a storage that goes beyond it")
  return whole[start : start + numel]


def _refuse(why: str) -> Any:
  raise RefusedPickle(why)


def _exactly(file: io.BufferedIOBase, count: int) -> bytes:
  at = file.tell()
  left = file.seek(0, os.SEEK_END) - at
  file.seek(at)
  raw = file.read(count) if count <= left else b""
  if len(raw) != count:
    raise RefusedPickle("is cut")
  return raw


def _zip_member(archive: zipfile.ZipFile, name: str) -> bytes:
  try:
    info = archive.getinfo(name)
  except KeyError as error:
    raise RefusedPickle(f"lacks its member {inert_pickle.short(name)}") from error
  if info.compress_type != zipfile.ZIP_STORED:
    raise RefusedPickle(f"has a compressed member {inert_pickle.short(name)}, which torch never does")
  return archive.read(info)


def _tar_member(file: tarfile.TarFile, name: str, size: int) -> io.BufferedIOBase:
  member = file.getmember(name)
  content = file.extractfile(member) if member.isreg() and not member.issparse() and member.size <= size else None
  if content is None:
    raise RefusedPickle(f"has a member {name!r} that is no file")
  return content  # pyright: ignore[reportReturnType]
