"""Pickles of others: plain values of every protocol, names of which nothing is made, and limits that hold."""

import argparse
import collections
import fractions
import functools
import io
import pathlib
import pickle
import pickletools
import random
import resource
import struct
import time
import types

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.hands import array_pickle, inert_pickle
from jaxhands.hands.array_pickle import RefusedPickle


class Point(collections.namedtuple("Point", "x y")):
  """Of a module that a reader of weights does not have."""


class Settings(dict):
  """A dictionary with other ways to write its items, as many packages have one."""


def described(item, visit):
  return f"<{array_pickle.describe(item)}>"


def read(content):
  return array_pickle.plain(inert_pickle.load(io.BytesIO(content)), described)


PLAIN = {
  "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
  "defaultdict": (collections.defaultdict(dict, {0: {"a": 1}}), {0: {"a": 1}}),
  "ordered": (collections.OrderedDict(b=1, a=[2]), {"b": 1, "a": [2]}),
  "settings": (Settings(a=Settings(b=1)), {"a": {"b": 1}}),
  "held": (
    [collections.UserDict(a=[1]), collections.UserList([2]), collections.UserString("b")], [{"a": [1]}, [2], "b"],
  ),
  "namespaces": ([argparse.Namespace(lr=0.1), types.SimpleNamespace()], [{"lr": 0.1}, {}]),
  "deque": (collections.deque([1, 2], 5), [1, 2]),
  "sets": ([{1}, frozenset({2})], [[1], [2]]),
  "bytes": ([b"a\xff", bytearray(b"b\xff"), b""], [b"a\xff", b"b\xff", b""]),
  "numbers": ([1j, True, -5, 2**200, 1.5, None], [1j, True, -5, 2**200, 1.5, None]),
  "paths": ([pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("C:/a")], ["/a/b", "C:\\a"]),
  "keys": ({np.int64(1): 2, (1, "a"): 3, 2.5: 4, None: 5}, {1: 2, (1, "a"): 3, 2.5: 4, None: 5}),
  "scalars": ([np.float32(2), np.int64(3), np.bool_(True), np.str_("a")], [2.0, 3, True, "a"]),
  "objects": (np.array([{"a": 1}, None], object), [{"a": 1}, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_of_every_protocol(name):
  value, expected = PLAIN[name]
  for protocol in range(6):
    assert read(pickle.dumps(value, protocol)) == expected, protocol


ARRAYS = {
  "contiguous": np.arange(6.0).reshape(2, 3),
  "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
  "every second": np.arange(10)[::2],
  "big-endian": np.arange(3, dtype=">f4"),
  "none": np.zeros((0, 3)),
  "one": np.array(3.0),
  "truths": np.array([True, False]),
  "complex": np.array([1j]),
  "texts": np.array(["ab", "c"]),
  "numbers as objects": np.array([[1, 2.5, True], [-3, 4, 5]], object),
  "integers as objects, in columns": np.array([[1, 2], [3, 4]], object, order="F"),
  "halves": np.float16([1, 2]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_protocol_and_of_both_numpys(name):
  for protocol in range(6):
    content = pickle.dumps(ARRAYS[name], protocol)
    older = pickletools.optimize(content).replace(b"numpy._core", b"numpy.core") if protocol < 3 else content
    for found in map(read, (content, older)):
      np.testing.assert_array_equal(found, ARRAYS[name])
      assert found.dtype == (
        ARRAYS[name].dtype if ARRAYS[name].dtype != object else np.array(ARRAYS[name].tolist()).dtype
      )


@pytest.mark.parametrize(
  ("value", "expected"),
  [
    (Point(1, 2), "Point"),
    (fractions.Fraction(1, 3), "<fractions.Fraction(1, 3)>"),
    (functools.partial(len, [1]), "<functools.partial>"),
    (random.Random(1), "<random.Random>"),
    (np.random.default_rng(0), "generator_ctor>"),
    (np.zeros(2, [("a", "f4")]), "<numpy._core"),
    (np.dtype("f4"), "<numpy.dtype>"),
    (collections.Counter.fromkeys, "getattr>"),
  ],
)
def test_what_is_no_plain_value_is_named(value, expected):
  for protocol in range(2, 6):
    assert expected in read(pickle.dumps({"x": value}, protocol))["x"]


@pytest.mark.parametrize("name", [b"posix system", b"builtins eval", b"__builtin__ execfile", b"io open"])
def test_what_would_run_a_program_is_refused_when_it_is_named(name):
  with pytest.raises(RefusedPickle, match=r"asks for [\w.]+, which values have no need of; nothing was run"):
    read(b"c" + name.replace(b" ", b"\n") + b"\n.")


@given(
  st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: (
      st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(-(2**63), 2**64), inner, max_size=4)
    ),
    max_leaves=12,
  ),
  st.integers(0, 5),
)
def test_what_was_pickled_comes_back(value, protocol):
  hypothesis.assume("\\ud" not in ascii(value))  # halves of pairs, which cannot be printed
  assert read(pickle.dumps(value, protocol)) == value


def text(value):
  return b"X" + struct.pack("<I", len(value)) + value.encode()


def wide(number):
  return b"\x8a\x10" + number.to_bytes(16, "little")


def equally_hashed(count):
  """Tuples of -1 and -2, whose hashes are the same."""
  parts = (b"".join(b"J" + struct.pack("<i", -1 - (i >> bit & 1)) for bit in range(18)) for i in range(count))
  return [b"(" + part + b"t" for part in parts]


HOSTILE = {
  "a text of a terabyte": b"\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
  "an integer of a megabyte": b"\x8b" + struct.pack("<i", 1 << 20) + b"\x11" * (1 << 20) + b".",
  "lists in lists": b"]" * 20_000 + b"a" * 19_999 + b".",
  "tuples in tuples as a key": b"})" + b"\x85" * 30_000 + b"Ns.",
  "shared tuples": b")" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b".",
  "shared tuples as a key": b"})" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b"Ns.",
  "a text ten thousand times": b"](" + text("x" * 100_000) + b"\x94" + b"h\x00" * 10_000 + b"e.",
  "a list in itself": b"]\x94h\x00a.",
  "a set in itself": b"\x8f\x94(h\x00\x90.",
  "keys of one hash": b"}(" + b"".join(wide(i * (2**61 - 1)) + b"N" for i in range(9, 20)) + b"u.",
  "tuples of one hash": b"}(" + b"".join(key + b"N" for key in equally_hashed(1000)) + b"u.",
  "tuples of one hash, one at a time": b"}" + b"".join(key + b"Ns" for key in equally_hashed(1000)) + b".",
  "tuples of one hash in tuples": b"}(" + b"".join(key + b"\x85N" for key in equally_hashed(1000)) + b"u.",
  "tuples of one hash in pairs": b"ccollections\nOrderedDict\n]("
  + b"".join(key + b"N\x86" for key in equally_hashed(1000)) + b"e\x85R.",
  "objects that become tuples of one hash": b"}("
  + b"".join(b"cbuiltins\ntuple\n" + key + b"\x85RN" for key in equally_hashed(1000)) + b"u.",
  "integers of one hash in pairs": b"ccollections\nOrderedDict\n]("
  + b"".join(wide(i * (2**61 - 1)) + b"N\x86" for i in range(1000)) + b"e\x85R.",
  "integers of one hash in the memo": b"N"
  + b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(50_000)) + b"]Nb.",
  "many integers as keys": b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(70_000)) + b"u.",
  "a wide tuple as many keys": b"(" + b"N" * 16 + b"t\x94"
  + b"".join(b"(" + bytes([104, i]) * 16 + b"t\x94" for i in range(3)) + b"}(" + b"h\x03N" * 20_000 + b"u.",
  "a long text as a key": b"}" + text("x" * 100_000) + b"Ns.",
  "a long name": text("x" * 100_000) + text("y") + b"\x93.",
  "objects of one long tuple": b"(" + b"N" * 100_000 + b"t\x94" + b"("
  + b"cbuiltins\nset\nh\x00}NNs\x92" * 1000 + b"l.",
  "a state for a list": b"]Nb.",
  "a call of a text": text("a") + b")R.",
  "buffers beside it": b"\x97.",
  "a storage": b"NQ.",
  "no end": b"]",
  "nothing": b"",
  "no pickle": b"\xff\xff",
  "an array without a state": b"cnumpy.core.multiarray\n_reconstruct\n)R.",
  "an array of 2**60": b"cnumpy.core.numeric\n_frombuffer\n(C\x00cnumpy\ndtype\n"
  + text("f8") + b"\x85R" + wide(1 << 60) + b"\x85" + text("C") + b"tR.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_at_once(name):
  begun = time.process_time()
  with pytest.raises(RefusedPickle) as caught:
    read(HOSTILE[name])
  assert time.process_time() - begun < 10
  assert len(str(caught.value)) < 300
  assert str(caught.value).isprintable()


@pytest.mark.parametrize("made", [dict, collections.OrderedDict])
def test_many_tuples_are_keys_as_of_a_matrix(made):
  places = {(row, column): 1.0 for row in range(-9, 61) for column in range(-9, 61)}
  assert read(pickle.dumps(made(places))) == places


def test_a_memo_has_no_place_for_what_was_not_put_there():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert read(b"}r\xff\xff\xff\xff.") == {}  # of which C's reader makes a table of 64 GB
  assert read(b"}p999999999999\n.") == {}
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (1 << 17)  # kilobytes


def test_steps_are_counted():
  content = b"(" + b"N" * 2000 + b"l."
  assert len(inert_pickle.load(io.BytesIO(content), most_steps=3000)) == 2000
  with pytest.raises(RefusedPickle, match="over 1,000 steps"):
    inert_pickle.load(io.BytesIO(content), most_steps=1000)
