"""Files of a run: written whole or not at all; whatever their bytes, read as they were or named."""

import io
import json
import pathlib
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import given

from jaxhands.runs import folder
from jaxhands.runs.folder import DamagedFile
from tests import damage

TODO = "make it anew"


def test_what_was_written_is_read(tmp_path):
  folder.write_json(tmp_path / "new" / "a.json", {"a": [1, "ä"]})
  assert folder.read_json(tmp_path / "new" / "a.json", TODO, ("a",)) == {"a": [1, "ä"]}
  with folder.written(tmp_path / "b.npz") as file:
    np.savez(file, b=np.arange(3))
  np.testing.assert_array_equal(folder.read_arrays(tmp_path / "b.npz", TODO, ("b",))["b"], [0, 1, 2])
  (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf{}")  # as some editors save it
  assert folder.read_json(tmp_path / "bom.json", TODO) == {}


def test_what_fails_leaves_the_file_that_was_there(tmp_path):
  path = tmp_path / "a.json"
  folder.write_json(path, 1)
  with pytest.raises(TypeError):
    folder.write_json(path, {"a": object()})

  def write_half():
    with folder.written(path) as file:
      file.write(b"half")
      raise KeyError

  with pytest.raises(KeyError):
    write_half()
  assert folder.read_json(path, TODO) == 1
  assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"[1]", b"{}", b"null"])
def test_damaged_json_is_named_with_what_to_do(tmp_path, content):
  (tmp_path / "a.json").write_bytes(content)
  with pytest.raises(DamagedFile, match=r"a\.json is damaged, or something else \(.+\); make it anew") as caught:
    folder.read_json(tmp_path / "a.json", TODO, ("a",))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"a text", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_damaged_arrays_are_named_with_what_to_do(tmp_path, content):
  (tmp_path / "a.npz").write_bytes(content)
  with pytest.raises(DamagedFile, match=r"a\.npz is damaged.*make it anew"):
    folder.read_arrays(tmp_path / "a.npz", TODO)
  np.savez(tmp_path / "a.npz", a=np.array([object()]))
  with pytest.raises(DamagedFile, match=r"a\.npz is damaged.*make it anew"):
    folder.read_arrays(tmp_path / "a.npz", TODO)


def test_lines_are_read_up_to_one_that_was_cut(tmp_path):
  path = tmp_path / "a.jsonl"
  whole = '{"step": 1}\n{"step": 2}\n'
  for end, steps in (("", [1, 2]), ('{"st', [1, 2]), ('{"step": 3}', [1, 2, 3])):
    path.write_text(whole + end)
    assert [line["step"] for line in folder.read_lines(path, TODO)] == steps
  path.write_bytes(b"\xef\xbb\xbf" + whole.replace("\n", "\r\n").encode() + '{"step": "ä'.encode()[:-1])  # Windows
  assert [line["step"] for line in folder.read_lines(path, TODO)] == [1, 2]
  for middle in ("nonsense\n", "3\n", "\0\0\n"):
    path.write_text(middle + whole)
    with pytest.raises(DamagedFile, match=r"a\.jsonl is damaged.*make it anew"):
      folder.read_lines(path, TODO)


STREAM = io.BytesIO()
np.savez_compressed(STREAM, a=np.arange(5.0), b=np.array(["x", "y"]))
READERS = {
  "json": (json.dumps({"a": [1, 2.5, "x"], "b": None}).encode(), folder.read_json),
  "jsonl": (b'{"a": 1}\n{"a": 2}\n', folder.read_lines),
  "npz": (STREAM.getvalue(), folder.read_arrays),
}


@pytest.mark.parametrize("name", READERS)
@hypothesis.settings(max_examples=200)
@given(edits=damage.EDITS)
def test_whatever_happens_to_the_bytes_there_is_one_kind_of_error(name, edits):
  content, read = READERS[name]
  with tempfile.TemporaryDirectory() as place:
    path = pathlib.Path(place) / f"file.{name}"
    path.write_bytes(damage.apply(content, edits))
    try:
      found = read(path, TODO)
    except DamagedFile as error:
      assert str(path) in str(error)  # noqa: PT017
      return
  if name == "npz":  # which has checksums
    assert set(found) <= {"a", "b"}
    assert "a" not in found or np.array_equal(found["a"], np.arange(5.0))
