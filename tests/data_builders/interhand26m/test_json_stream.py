"""Streamed JSON is what json.loads gives, however it is cut into chunks; whatever is no JSON is named."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from data_builders.interhand26m import json_stream

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_VALUES = st.recursive(
  _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
_CONTAINERS = st.lists(_VALUES, min_size=1, max_size=4) | st.dictionaries(
  st.text(max_size=4), _VALUES, min_size=1, max_size=4
)


def write(folder, text):
  path = folder / "a.json"
  path.write_text(text, encoding="utf-8")
  return path


def flat(value, depth, path=()):
  """The oracle."""
  if depth and isinstance(value, dict | list):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, inner in items for found in flat(inner, depth - 1, (*path, key))]
  return [(path, value)]


@hypothesis.given(_VALUES, st.integers(0, 3), st.integers(1, 20), st.sampled_from([None, 2]))
def test_values_are_those_of_the_whole(tmp_path_factory, value, depth, chunk, indent):
  path = write(tmp_path_factory.mktemp("json"), json.dumps(value, indent=indent, ensure_ascii=bool(indent)))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(json_stream, "_CHUNK", chunk)
    assert list(json_stream.values(path, depth)) == flat(value, depth)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_it(tmp_path, end):
  """As some editors save a file."""
  path, value = tmp_path / "a.json", {"images": [{"id": 1}], "annotations": [2, "\ufeff"]}
  path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8-sig", newline=end)
  assert json_stream.load(path) == value
  assert list(json_stream.values(path, 2)) == flat(value, 2)


@hypothesis.given(_CONTAINERS, st.integers(0, 3), st.integers(1, 20), st.data())
def test_a_cut_file_is_named(tmp_path_factory, value, depth, chunk, data):
  text = json.dumps(value)
  path = write(tmp_path_factory.mktemp("json"), text[: data.draw(st.integers(0, len(text) - 1))])
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(json_stream, "_CHUNK", chunk)
    with pytest.raises(json_stream.JsonError, match=r"a\.json: broken JSON at character \d+.*: the file is cut"):
      list(json_stream.values(path, depth))


def test_a_cut_anywhere_is_a_cut(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "_CHUNK", 3)
  odd = [1.5e20, -3e-7, True, False, None, float("nan"), float("inf"), -float("inf"), 'é\u2028\\"\n😀']
  text = json.dumps({"a\u001f": odd, "b": {"c": {}}})
  for length in range(len(text)):
    with pytest.raises(json_stream.JsonError, match=r"the file is cut$"):
      list(json_stream.values(write(tmp_path, text[:length]), 2))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ('{"a": [1, 2 3]}', r"at character 12 after a\[1\]: expected , or \], found '3'"),
    ('{"a": [1, x, 3]}', r"at character 10 after a\[0\]: Expecting value"),
    ('{"a": [1]} {', r"after a\[0\]: something follows the end"),
    ('{"a" 3}', r"at character 5: expected :, found '3'"),
    ("{3: 4}", "at character 1: expected \", found '3'"),
    ("\0\0\0\0", "at character 0: Expecting value"),
  ],
)
def test_what_is_wrong_is_said(tmp_path, text, message):
  with pytest.raises(json_stream.JsonError, match=message):
    list(json_stream.values(write(tmp_path, text), 2))


def test_a_value_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "_LARGEST", 1000)
  monkeypatch.setattr(json_stream, "_CHUNK", 100)
  path = write(tmp_path, '{"a": {"b": "' + "x" * 5000 + '"}}')
  with pytest.raises(json_stream.JsonError, match="no end of a value after 1000 characters"):
    list(json_stream.values(path, 2))


def test_bytes_that_are_no_text_are_named(tmp_path):
  (tmp_path / "a.json").write_bytes(b'{"a": {"b": "\xff\xfe"}}')
  with pytest.raises(json_stream.JsonError, match="broken JSON"):
    list(json_stream.values(tmp_path / "a.json", 2))


def test_progress_ends_at_the_end(tmp_path):
  told = []
  path = write(tmp_path, json.dumps(list(range(100))))
  list(json_stream.values(path, 1, told.append))
  assert told == sorted(told)
  assert told[-1] == path.stat().st_size


def test_places_read_as_one_writes_them():
  assert json_stream.format_path(("images", 2, "id")) == "images[2].id"
  assert json_stream.format_path((3,)) == "[3]"
