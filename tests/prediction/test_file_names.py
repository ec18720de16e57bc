"""Names of any bytes: what is written for them, and what is shown."""

import os
import pathlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.prediction.file_names import Names, printable

RAW = st.binary(min_size=1, max_size=255).filter(lambda raw: not {0, ord("/")} & set(raw) and raw not in (b".", b".."))


@given(st.lists(RAW, max_size=8))
def test_whatever_files_are_called_their_outputs_can_be_written(tmp_path_factory, raws):
  """As files of a folder, under names that no file system takes for one, and that are as they are in a link."""
  folder, names = tmp_path_factory.mktemp("out"), Names()
  found = [names.of(pathlib.Path(os.fsdecode(raw))) for raw in raws]
  for name in found:
    (folder / f"partial-{name}.html").touch()
    assert name == printable(name)
    assert not set('\\/:*?"<>|%#') & set(name)
    assert name[0] not in "-. "
    assert name[-1] not in ". "
  assert len(list(folder.iterdir())) == len(raws)
  assert len({unicodedata.normalize("NFD", name).casefold() for name in found}) == len(raws)


@pytest.mark.parametrize(
  ("files", "expected"),
  [
    (("IMG-2.jpg", "IMG.jpg", "IMG.png", "img.JPG"), ("IMG-2", "IMG", "IMG-3", "img-4")),
    (("a/1.jpg", "b/1.jpg"), ("1", "1-2")),
    (("index.mp4", "INDEX.jpg"), ("index-2", "INDEX-3")),
    (("caf\u00e9.jpg", "cafe\u0301.jpg"), ("caf\u00e9", "cafe\u0301-2")),
    (("-x.jpg", ".y.jpg", "z .jpg", "a:b.mp4"), ("_x", "_y", "z", "a_b")),
    (("con.jpg", "NUL.tar.jpg", "com1.png", "console.jpg"), ("_con", "_NUL.tar", "_com1", "console")),
    (("手.jpg", "\U0001f91a.jpg"), ("手", "\U0001f91a")),
    ((os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"caf\xe8.jpg")), ("caf_", "caf_-2")),
  ],
)
def test_names_are_kept_where_they_can_be(files, expected):
  names = Names()
  assert tuple(names.of(pathlib.Path(file)) for file in files) == expected


@given(RAW)
def test_what_is_shown_is_one_line_that_any_terminal_takes(raw):
  shown = printable(os.fsdecode(raw))
  assert shown.isprintable()
  shown.encode("utf-8")


def test_odd_characters_are_shown_by_their_numbers():
  assert printable(os.fsdecode(b"caf\xe9\n\x1b[31m.jpg")) == r"caf\xe9\n\x1b[31m.jpg"
  assert printable("a\u202egpj.exe") == r"a\u202egpj.exe"  # would be shown from right to left
  assert printable("Große Hände 手.jpg") == "Große Hände 手.jpg"
