"""Files of weights: what torch wrote, what we write in its formats, what is damaged, and what is hostile."""

import collections
import gzip
import json
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from jaxhands import cli
from jaxhands.weights import files
from jaxhands.weights.files import RefusedFile
from tests.weights import torch_writer

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "torch_files"
STORAGE = np.arange(24, dtype=np.float32)
VIEWS = {"rows": (0, (4, 6), (6, 1)), "columns": (1, (5, 4), (1, 6)), "one": (23, (), ()), "none": (0, (0, 3), (3, 1))}
WRITERS = {
  "zip": torch_writer.write_zip, "stream": torch_writer.write_stream, "tar": torch_writer.write_tar,
}  # fmt: skip


@pytest.mark.parametrize("name", ["zip.pth", "stream.pth"])
def test_what_torch_wrote(name):
  stored = files.read(GOLDENS / name)
  found = files.state_dict(stored)
  with np.load(GOLDENS / "golden.npz") as golden:
    assert set(found) == set(golden)
    for key in golden:
      np.testing.assert_array_equal(np.asarray(found[key], golden[key].dtype), golden[key], err_msg=key)
  assert found["brain"].dtype.name == "bfloat16"
  assert stored.tree["epoch"] == 3
  assert stored.tree["best"] == 2.5
  assert stored.tree["size"] == [2, 3]
  assert stored.tree["options"] == {"lr": 3}
  np.testing.assert_allclose(dict(files.arrays(stored.tree))["optimizer/state/1/exp_avg"], 0.1, rtol=1e-6)


def test_a_whole_module_is_refused_with_advice():
  with pytest.raises(RefusedFile, match=r"module.pth: it holds a whole program .*Linear\); save its state_dict"):
    files.read(GOLDENS / "module.pth")


@pytest.mark.parametrize("kind", WRITERS)
def test_views_of_one_storage(kind, tmp_path):
  tree = {name: torch_writer.Tensor(STORAGE, *view) for name, view in VIEWS.items()}
  tree["counter"] = torch_writer.Tensor.of(np.array(5))
  WRITERS[kind](tmp_path / "x.pth", tree)
  found = files.state_dict(files.read(tmp_path / "x.pth"))
  np.testing.assert_array_equal(found["rows"], STORAGE.reshape(4, 6))
  np.testing.assert_array_equal(found["columns"], STORAGE.reshape(4, 6)[:, 1:].T)
  assert found["one"] == 23
  assert found["none"].shape == (0, 3)
  assert found["counter"].dtype == np.int64


def test_safetensors_and_npz(tmp_path):
  arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64)}
  np.savez(tmp_path / "x.npz", **arrays)
  raw = b"".join(array.tobytes() for array in arrays.values())
  header = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
  }
  text = json.dumps(header).encode()
  (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + raw)
  (tmp_path / "cut.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + raw[:-1])
  for name, kind in (("x.npz", "npz"), ("x.safetensors", "safetensors")):
    stored = files.read(tmp_path / name)
    assert stored.format == kind
    assert files.checksum(files.state_dict(stored)) == files.checksum(arrays)
  with pytest.raises(RefusedFile, match="tensor 'b' that lies beyond its end"):
    files.read(tmp_path / "cut.safetensors")


def test_what_is_beside_the_weights_of_an_npz_is_left_out_and_named(tmp_path):
  weights = {"a": np.arange(3.0), "b": np.array([True])}
  others = {"config": np.array({"lr": 1}, object), "names": np.array(["x"]), "day": np.datetime64("2020-01-01")}
  np.savez(tmp_path / "x.npz", **weights, **others, rows=np.zeros(2, [("x", "f4")]))
  stored = files.read(tmp_path / "x.npz")
  assert stored.format == "npz, without 'config', 'names', 'day', 'rows': no numbers"
  assert files.checksum(files.state_dict(stored)) == files.checksum(weights)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_cut_file_is_called_so(kind, tmp_path):
  """Wherever it ends, there is one kind of error, which names the file, and never a wrong answer."""
  path = tmp_path / "x.pth"
  WRITERS[kind](path, {name: torch_writer.Tensor(STORAGE, *view) for name, view in VIEWS.items()})
  whole = path.read_bytes()
  for length in range(0, len(whole), max(len(whole) // 97, 1)):
    path.write_bytes(whole[:length])
    if kind == "tar" and length >= len(whole.rstrip(b"\0")):  # what is cut is padding
      continue
    with pytest.raises(RefusedFile) as caught:
      files.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "it is empty"),
    (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
    (b"a picture of a hand", "neither a torch file nor safetensors nor npz"),
    (pickle.dumps({"a": 1}), "a bare pickle"),
    (gzip.compress(b"weights", mtime=0), "packed with gzip"),
    (b"<!DOCTYPE html><html><title>Too many people have looked at it", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "`git lfs pull`"),
    (b"PK\x03\x04 and nothing more", "damaged or cut"),
  ],
)
def test_other_files_are_named(content, message, tmp_path):
  (tmp_path / "x.pth").write_bytes(content)
  with pytest.raises(RefusedFile, match=rf"x.pth: .*{message}"):
    files.read(tmp_path / "x.pth")


def test_other_archives_are_named(tmp_path):
  with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
    archive.writestr("readme.txt", "x")
  with tarfile.open(tmp_path / "x.tar", "w") as archive:
    archive.add(tmp_path / "x.zip", "x.zip")
  for name, message in (
    ("x.zip", "'readme.txt'"),
    ("x.tar", "a tar of"),
  ):
    with pytest.raises(RefusedFile, match=message):
      files.read(tmp_path / name)
  with pytest.raises(FileNotFoundError, match="a folder of that name"):
    files.read(tmp_path)


# ---- hostile files ---------------------------------------------------------------


class Runs:
  """Would create a file when it is unpickled."""

  def __init__(self, function, *arguments):
    self.call = (function, arguments)

  def __reduce__(self):
    return self.call


def _hostile(marker):
  return {
    "system": Runs(os.system, f"touch {marker}"),
    "eval": Runs(eval, f"open({str(marker)!r}, 'w')"),
    "open": Runs(open, str(marker), "w"),
    "getattr": Runs(getattr, "x", "upper"),
    "numpy": Runs(np.save, str(marker), 1),
  }


@pytest.mark.parametrize("what", ["system", "eval", "open", "getattr", "numpy"])
@pytest.mark.parametrize("kind", ["zip", "stream", "tar"])
def test_nothing_of_a_file_is_run(what, kind, tmp_path):
  marker, path = tmp_path / "was_run", tmp_path / "x.pth"
  tree = {"weight": torch_writer.Tensor.of(STORAGE), "bad": _hostile(marker)[what]}
  if kind == "tar":  # beside the tensors, in the head of the storages
    content = pickle.dumps(tree["bad"], protocol=2)
    with tarfile.open(path, "w") as archive:
      for name in ("pickle", "tensors", "storages"):
        (tmp_path / name).write_bytes(content)
        archive.add(tmp_path / name, name)
  else:
    WRITERS[kind](path, tree)
  with pytest.raises(RefusedFile, match=r"it asks for .*nothing was run"):
    files.read(path)
  assert not list(tmp_path.glob("was_run*"))


@pytest.mark.parametrize("name", [("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("a", "B")])
@pytest.mark.parametrize("state", [{"hidden": 1, "array": 2}, (None, {"hidden": 1, "array": 2})])
def test_what_is_only_named_gets_no_state(name, state, tmp_path):
  hostile = b"c%s\n%s\n" % tuple(part.encode() for part in name) + pickle.dumps(state, protocol=0)[:-1] + b"b."
  with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
    archive.writestr("archive/data.pkl", hostile)
  with pytest.raises(RefusedFile, match=r"x.pth: it is damaged: it gives a state to a Name"):
    files.read(tmp_path / "x.pth")
  assert not hasattr(collections.OrderedDict, "hidden")


@pytest.mark.parametrize(
  ("offset", "size", "stride", "message"),
  [
    (0, (5, 6), (6, 1), "needs 30 elements of a storage of 24"),
    (20, (6,), (1,), "needs 26 elements"),
    (-1, (2,), (1,), "offset -1"),
    (0, (4,), (-1,), "stride"),
    (0, (2, 2), (1,), "stride"),
    (0, (1 << 40,), (0,), "of 1099511627776 elements"),
  ],
)
def test_a_tensor_stays_inside_its_storage(offset, size, stride, message, tmp_path):
  torch_writer.write_zip(tmp_path / "x.pth", {"a": torch_writer.Tensor(STORAGE, offset, size, stride)})
  with pytest.raises(RefusedFile, match=message):
    files.read(tmp_path / "x.pth")


def test_a_compressed_member_is_refused(tmp_path):
  """Torch never compresses; what unpacks to a thousand times its size is none of its files."""
  with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({}) + bytes(1 << 20))
  with pytest.raises(RefusedFile, match="compressed"):
    files.read(tmp_path / "x.pth")


# ---- the network inside of a checkpoint ------------------------------------------


def test_the_network_is_found_by_itself_or_by_its_key(tmp_path):
  def stored(tree):
    return files.Stored(tmp_path / "x.pth", "torch", tree)

  a, b = {"w": np.ones(2)}, {"w": np.zeros(2)}
  assert files.state_dict(stored(a)) == a
  assert files.state_dict(stored({"epoch": 1, "network": a, "ema": b})) == a
  assert files.state_dict(stored({"epoch": 1, "anything": b})) == b
  assert files.state_dict(stored({"deep": {"er": b}}), "deep/er") == b
  with pytest.raises(ValueError, match=r"there are several: \['x', 'y'\]"):
    files.state_dict(stored({"x": a, "y": b}))
  with pytest.raises(ValueError, match="there are none"):
    files.state_dict(stored({"epoch": 1}))
  with pytest.raises(ValueError, match="has no 'net' in 'net'"):
    files.state_dict(stored({"network": a}), "net")


def test_a_checksum_tells_values_names_and_shapes():
  a = {"x": np.arange(6.0), "y": np.ones(2)}
  assert files.checksum(a) == files.checksum(dict(reversed(a.items())))
  others = [{**a, "x": a["x"].reshape(2, 3)}, {**a, "x": a["x"] + 1e-9}, {"z": a["x"], "y": a["y"]}]
  assert len({files.checksum(found) for found in [a, *others]}) == 4


# ---- tensors of other kinds, and what stands beside the network -------------------


def _pickled(value, kind="FloatStorage", numel=4, function="_rebuild_tensor_v2", more=""):
  """A pickle's steps for a tensor of two elements; `value` names the storage."""
  text = f"ctorch._utils\n{function}\n((Vstorage\nctorch\n{kind}\nV{value}\nVcpu\nI{numel}\ntQI0\n(I2\nt(I1\nt"
  return (text + f"I00\nccollections\nOrderedDict\n)R{more}tR").encode()


def _zip(path, pickled, raw=bytes(16)):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x/data.pkl", b"\x80\x02" + pickled + b".")
    archive.writestr("x/data/0", raw)
  return path


def test_tensors_of_the_newer_kinds(tmp_path):
  """Float8, which names its type beside bytes, complex numbers, parameters, and a storage that two tensors share."""
  eight = _pickled("0", "storage\nUntypedStorage", 4, "_rebuild_tensor_v3", "ctorch\nfloat8_e4m3fn\n")
  eight = eight.replace(b"ctorch\nstorage\nUntyped", b"ctorch.storage\nUntyped")
  parameter = b"ctorch._utils\n_rebuild_parameter\n(" + _pickled("0") + b"I01\nccollections\nOrderedDict\n)RtR"
  subclass = (
    b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nctorch.nn.parameter\nParameter\n("
  )
  subclass += _pickled("0") + b"I01\nccollections\nOrderedDict\n)Rt}tR"
  entries = {"w8": eight, "p": parameter, "s": subclass, "c": _pickled("0", "ComplexFloatStorage", 2)}
  body = b"}(" + b"".join(b"V" + name.encode() + b"\n" + steps for name, steps in entries.items()) + b"u"
  found = files.state_dict(files.read(_zip(tmp_path / "x.pth", body, np.float32([1, 2, 3, 4]).tobytes())))
  assert {name: array.dtype.name for name, array in found.items()} == {
    "w8": "float8_e4m3fn", "p": "float32", "s": "float32", "c": "complex64",
  }  # fmt: skip
  np.testing.assert_array_equal(found["p"], [1, 2])
  np.testing.assert_array_equal(found["c"], [1 + 2j, 3 + 4j])


def test_a_quantized_tensor_is_named_and_others_are_listed(tmp_path):
  body = b"}(Va\n" + _pickled("0") + b"Vq\n" + _pickled("0", "QUInt8Storage", 4, "_rebuild_qtensor") + b"u"
  stored = files.read(_zip(tmp_path / "x.pth", body))
  assert list(dict(files.arrays(stored.tree))) == ["a"]
  with pytest.raises(ValueError, match=r"none of tensors alone .'q' is '<torch\._utils\._rebuild_qtensor>'"):
    files.state_dict(stored)


def test_the_order_of_bytes_is_the_files(tmp_path):
  raw = np.array([1, 2, 3, 4], ">f4").tobytes()
  path = _zip(tmp_path / "x.pth", b"}(Va\n" + _pickled("0") + b"Vb\n" + _pickled("0") + b"u", raw)
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("x/byteorder", "big")
  found = files.state_dict(files.read(path))
  np.testing.assert_array_equal(found["a"], [1, 2])
  assert np.shares_memory(found["a"], found["b"])


def test_tensors_that_repeat_few_elements_are_counted_together(tmp_path):
  one = _pickled("0").replace(b"(I2\nt(I1\nt", b"(I%d\nt(I0\nt" % (1 << 26))
  body = b"}(" + b"".join(b"V%d\n" % i + one for i in range(3)) + b"u"
  with pytest.raises(RefusedFile, match="unfolds to over"):
    files.read(_zip(tmp_path / "x.pth", body))
  assert files.read(_zip(tmp_path / "x.pth", b"}(Va\n" + one + b"u")).tree["a"].shape == (1 << 26,)


def test_archives_that_lie_are_refused(tmp_path):
  path = tmp_path / "x.npz"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
    for _ in range(520):
      member.write(bytes(1 << 20))
  with pytest.raises(RefusedFile, match="unpacks to over 512 MB"):
    files.read(path)
  with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
    archive.writestr("a.npy", b"x")
  with pytest.raises(RefusedFile, match="packed in a way that is not read"):
    files.read(path)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("a.npy", b"x")
    with pytest.warns(UserWarning, match="Duplicate"):
      archive.writestr("a.npy", b"y")
  with pytest.raises(RefusedFile, match="two members of one name"):
    files.read(path)
  entry = '"%s": {"dtype": "%s", "shape": [%d], "data_offsets": [%d, %d]}'
  for first, second, message in (
    (("a", "F32", 2, 0, 8), ("b", "F32", 2, 4, 12), "tensors that overlap"),
    (("a", "F32", 2, 0, 8), ("a", "F32", 2, 8, 16), "two entries of one name"),
    (("a", "F32", 2, 0, 8), ("b", "F2", 2, 8, 16), "'b' of the unknown kind 'F2'"),
    (("a", "F32", 2, 0, 8), ("b", "F32", -1, 8, 16), r"or shape \(-1,\)"),
  ):
    header = f"{{{entry % first}, {entry % second}}}".encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(32))
    with pytest.raises(RefusedFile, match=message):
      files.read(tmp_path / "x.safetensors")


def test_inspect_lists_what_a_file_holds_in_lines_that_can_be_shown(tmp_path, capsys):
  path = tmp_path / "x.npz"
  numbers = np.arange(3_000_000, dtype=np.float32).reshape(3, -1)[:, ::2]
  np.savez(
    path, a=numbers, whole=np.array([1, 2]), bad=np.array([1, np.nan]), text=np.array(["x"]), **{"a\x1b[31m": [1]}
  )
  assert cli.main(["inspect", str(path)]) == 0
  said = capsys.readouterr().out
  assert f"0 .. 3e+06, mean {numbers.mean():.4g}, std {numbers.astype(np.float64).std():.4g}" in said
  assert "not finite: bad" in said
  assert "\x1b" not in said
  numbers = {name: array for name, array in np.load(path).items() if name != "text"}
  assert f"checksum {files.checksum(numbers)}" in said
  assert "without 'text': no numbers" in said
