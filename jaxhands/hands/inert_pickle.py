"""Reads pickles of every protocol without making anything that they name.

A pickle is a program for a small machine. This one knows containers, texts and numbers; where the program wants a class
or a function called, it notes what was to be called with what (`Made`). So no name is looked up and nothing of the file
is run. Work and memory follow from the bytes that are there, never from what they announce.
"""

from __future__ import annotations

import codecs
import dataclasses
import io
import pickletools
import reprlib
from typing import Any, NoReturn

import numpy as np

_MOST_STEPS = 1 << 20  # a checkpoint has thousands
_BYTES_A_STEP = 1 << 8  # on average; 256 MB for a checkpoint's
_LONGEST_WORD = 120  # characters, in a message
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _LONGEST_WORD
_LARGEST_INT = 1 << 2048  # what generators of random numbers keep is smaller
_LARGEST_KEY = 1 << 64  # a few integers below it share a hash; of larger ones, any number may
_MOST_IN_KEY = 64  # values in a tuple that is a key, with those of its tuples
_LONGEST_KEY = 1 << 14  # characters of a text in a key; two long ones take long to compare
_MOST_NUMBERED = 1 << 16  # keys of which a file chooses the hashes, and so how long each is looked for
_MOST_OF_HASH = 64
_LONGEST_NAME = 1 << 10  # characters of a module or of what is in it
# What these modules have is not for values but runs programs, opens files or calls further things.
_RUNS = frozenset({
  "_io", "_pickle", "asyncio", "bdb", "cProfile", "cloudpickle", "code", "codeop", "commands", "ctypes", "dill",
  "imp", "importlib", "io", "joblib", "marshal", "multiprocessing", "nt", "os", "pdb", "pickle", "pip",
  "pkgutil", "platform", "popen2", "posix", "profile", "pty", "pydoc", "runpy", "shutil", "signal", "socket",
  "subprocess", "sys", "tempfile", "threading", "timeit", "trace", "urllib", "webbrowser",
})  # fmt: skip
_KNOWN = {step.code.encode("latin1"): step for step in pickletools.opcodes}
_BUILTINS = ("builtins", "__builtin__")
_RUNS_BUILTIN = frozenset({
  "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "file", "globals", "input",
  "locals", "open", "raw_input", "reload", "setattr", "vars",
})  # fmt: skip


class RefusedPickle(ValueError):
  """A pickle is damaged, too large, or asks for what is not read; the message lacks its subject ("asks for …")."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Name:
  """A class or function, by module and name."""

  module: str
  name: str

  def __repr__(self) -> str:
    return f"{self.module}.{self.name}"


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Outside:
  """What the pickle keeps outside of itself (a persistent id)."""

  key: Any


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Made:
  """What calling something would make; it was not called.

  Attributes:
    of: what was to be called; a class of a whole program may be kept outside.
    arguments: of the call.
    state: that the object was to get; None if none.
    items: that were to be appended, as to a list or a set.
    pairs: that were to be set, as in a dictionary.
  """

  of: Name | Made | Outside
  arguments: tuple[Any, ...] = ()
  state: Any = None
  items: list[Any] = dataclasses.field(default_factory=list)
  pairs: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)


def short(value: Any) -> str:
  """How a value is written in a message: of a file nobody has looked at, it may be of any size and kind."""
  return one_line(_REPR.repr(value))


def one_line(text: str) -> str:
  """The beginning of a text, in characters that are seen."""
  text = text[:_LONGEST_WORD] + "…" * (len(text) > _LONGEST_WORD)
  return text if text.isprintable() else text.encode("unicode_escape").decode()


class Keys:
  """Looks at dictionaries' keys before they become such: each is quickly hashed, compared and found.

  Hashes of texts differ from process to process. Those of numbers, and of tuples of them, are known to whoever writes
  the file, who could make each key meet all those before it.
  """

  def __init__(self) -> None:
    self._numbered = 0
    self._of_hash: dict[int, set[Any]] = {}

  def checked(self, key: Any) -> Any:
    """The key.

    Raises:
      RefusedPickle: it is of another kind or too large, or there are too many such keys.
    """
    inside = [key]
    for value in inside:  # which grows meanwhile
      if isinstance(value, tuple) and len(inside) + len(value) <= _MOST_IN_KEY:
        inside.extend(value)
      elif isinstance(value, int) and abs(value) > _LARGEST_KEY:
        raise RefusedPickle("has a dictionary with keys of over 64 bits")
      elif isinstance(value, str | bytes) and len(value) > _LONGEST_KEY:
        raise RefusedPickle(f"has a dictionary with keys of over {_LONGEST_KEY:,} characters")
      elif not isinstance(value, str | bytes | int | float | None | Name | Made | Outside):
        raise RefusedPickle(f"has a {type(value).__name__} as a dictionary's key")
    if isinstance(key, int | float | tuple):
      self._numbered += 1
      same = self._of_hash.setdefault(hash(key), set())
      same.add(key)
      if self._numbered > _MOST_NUMBERED or len(same) > _MOST_OF_HASH:
        raise RefusedPickle(
          f"has dictionaries with over {_MOST_NUMBERED:,} keys that are no texts, or {_MOST_OF_HASH} of one hash"
        )
    return key


def load(file: io.BufferedIOBase, outside: list[Outside] | None = None, most_steps: int = _MOST_STEPS) -> Any:
  """Reads one pickle from where a file is, up to its end and no further.

  Args:
    file: with `read` and `readline`.
    outside: gets what the pickle keeps outside of itself; None: it may keep nothing there.
    most_steps: of the pickle's program, which may have 256 bytes each on average.
  Returns:
    dicts, lists, tuples, texts, bytes, numbers and None, with `Name`, `Made` and `Outside`. Containers may be shared,
    and may hold themselves. Sets are `Made`.
  Raises:
    RefusedPickle: see the class.
  """
  machine = _Machine(file, outside, most_steps * _BYTES_A_STEP)
  try:
    for _ in range(most_steps):
      if machine.step():
        return machine.stack.pop()
  except RefusedPickle:
    raise
  except Exception as error:  # whatever a damaged program makes of the machine
    raise RefusedPickle(f"is damaged: {type(error).__name__}: {one_line(str(error))}") from error
  raise RefusedPickle(f"has over {most_steps:,} steps")


class _Machine:
  """Stack, marks and memo of a pickle's program."""

  def __init__(self, file: io.BufferedIOBase, outside: list[Outside] | None, most_bytes: int):
    self.stack: list[Any] = []
    self._below: list[list[Any]] = []  # the stacks below each mark
    self._memo: dict[str, Any] = {}  # by the numbers as texts, whose hashes no file knows
    self._file, self._outside, self._left = file, outside, most_bytes
    self._keys, self._copied = Keys(), 0

  # What pickletools reads arguments from; whatever a length says, no more than may be there is asked for.
  def read(self, count: int) -> bytes:
    return self._counted(self._file.read(min(count, self._left)))

  def readline(self) -> bytes:
    return self._counted(self._file.readline(self._left))

  def _counted(self, content: bytes) -> bytes:
    self._left -= len(content)
    if self._left <= 0:
      raise RefusedPickle("is too long")
    return content

  def step(self) -> bool:
    """Does one step; says whether it was the last."""
    code = self._file.read(1)
    if code == b"S":  # pickletools takes the text of a Python 2 string for ASCII
      self.stack.append(codecs.escape_decode(self.readline().strip()[1:-1])[0].decode("latin1"))
      return False
    known = _KNOWN.get(code)
    if known is None:
      raise RefusedPickle(f"is damaged: it has a step {code!r}" if code else "is cut")
    argument = known.arg.reader(self) if known.arg else None  # pyright: ignore[reportArgumentType]
    do = _STEPS.get(known.name)
    if do:
      do(self, argument)
    elif known.arg and known.stack_after:  # a number or a text
      if isinstance(argument, int) and abs(argument) > _LARGEST_INT:
        raise RefusedPickle("has an integer of over 2,048 bits")
      self.stack.append(argument)
    elif known.name == "STOP":
      return True
    elif known.name not in ("PROTO", "FRAME"):
      raise RefusedPickle(f"has a step {known.name}, which needs the program that wrote it")
    return False

  def push(self, value: Any) -> None:
    self.stack.append(value)

  def mark(self, _: Any) -> None:
    self._below.append(self.stack)
    self.stack = []

  def above_mark(self) -> list[Any]:
    found, self.stack = self.stack, self._below.pop()
    return found

  def pop(self, _: Any) -> None:
    if self.stack:
      self.stack.pop()
    else:
      self.above_mark()

  def put(self, index: int | None) -> None:
    self._memo[str(len(self._memo) if index is None else int(index))] = self.stack[-1]

  def get(self, index: Any) -> None:
    self.stack.append(self._memo[str(int(index))])

  def append(self, values: list[Any]) -> None:
    target = self.stack[-1]
    if not isinstance(target, list | Made):
      raise RefusedPickle(f"is damaged: it appends to a {type(target).__name__}")
    (target if isinstance(target, list) else target.items).extend(values)

  def set(self, flat: list[Any]) -> None:
    target, keys = self.stack[-1], [self._keys.checked(key) for key in flat[::2]]
    pairs = zip(keys, flat[1::2], strict=True)
    if isinstance(target, Made):
      target.pairs.extend(pairs)
    elif isinstance(target, dict):
      target.update(pairs)
    else:
      raise RefusedPickle(f"is damaged: it sets items of a {type(target).__name__}")

  def name(self, module: Any, name: Any) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
      raise RefusedPickle("is damaged: it names something by what is no text")
    if max(len(module), len(name)) > _LONGEST_NAME:
      raise RefusedPickle(f"names something with over {_LONGEST_NAME:,} characters")
    found = Name(module, name)
    if module.split(".")[0] in _RUNS or (module in _BUILTINS and name in _RUNS_BUILTIN):
      _refuse(found)
    self.stack.append(found)

  def make(self, of: Any, arguments: Any) -> None:
    if not isinstance(of, Name | Made | Outside) or not isinstance(arguments, tuple):
      raise RefusedPickle(f"is damaged: it calls a {type(of).__name__}")
    match of:
      case Name("copyreg" | "copy_reg", "__newobj__"):
        return self.make(arguments[0], self.counted(arguments)[1:])
      case Name("copyreg" | "copy_reg", "_reconstructor"):  # class, its built-in base, and the base's value
        of, _, value = arguments
        self.make(of, () if isinstance(value, dict | list | None) else (value,))
        if isinstance(value, dict):
          self.stack[-1].pairs = list(self.counted(value).items())
        elif isinstance(value, list):
          self.stack[-1].items = list(self.counted(value))
        return None
      case Name("builtins" | "__builtin__", "getattr") if not (arguments and isinstance(arguments[0], Name)):
        _refuse(of)  # of a value; a class is only named by it
      case Name("numpy", name) if not isinstance(getattr(np, name, None), type):
        _refuse(of)
    self.stack.append(Made(of, arguments))
    return None

  def counted(self, values: Any) -> Any:
    """Values that are copied in one step, which each may have taken one to be made: all are as many as steps."""
    self._copied += len(values)
    if self._copied > _MOST_STEPS:
      raise RefusedPickle(f"makes objects of over {_MOST_STEPS:,} values that it has")
    return values

  def build(self, _: Any) -> None:
    state = self.stack.pop()
    if not isinstance(self.stack[-1], Made):
      raise RefusedPickle(f"is damaged: it gives a state to a {type(self.stack[-1]).__name__}, which has none")
    self.stack[-1].state = state

  def refer(self, key: Any) -> None:
    if self._outside is None:
      raise RefusedPickle("refers to something outside of it where nothing may be")
    self._outside.append(Outside(key))
    self.stack.append(self._outside[-1])

  # ---- steps whose operands lie on the stack in an order of their own --------------

  def stack_global(self, _: Any) -> None:
    name, module = self.stack.pop(), self.stack.pop()
    self.name(module, name)

  def reduce(self, _: Any) -> None:
    arguments, of = self.stack.pop(), self.stack.pop()
    self.make(of, arguments)

  def newobj_ex(self, _: Any) -> None:
    named, arguments, of = self.stack.pop(), self.stack.pop(), self.stack.pop()
    self.make(of, (*self.counted(arguments), named) if named else arguments)

  def obj(self, _: Any) -> None:
    of, *arguments = self.above_mark()
    self.make(of, tuple(arguments))

  def inst(self, argument: str) -> None:
    arguments = self.above_mark()
    self.name(*argument.split(" ", 1))
    self.make(self.stack.pop(), tuple(arguments))

  def take(self, count: int) -> list[Any]:
    found = [self.stack.pop() for _ in range(count)]
    return found[::-1]


def _refuse(name: Name) -> NoReturn:
  raise RefusedPickle(f"asks for {one_line(str(name))}, which values have no need of; nothing was run")


def _dict(machine: _Machine, _: Any) -> None:
  flat = machine.above_mark()
  machine.push({})
  machine.set(flat)


_SET, _FROZENSET = Name("builtins", "set"), Name("builtins", "frozenset")
_STEPS: dict[str, Any] = {
  "NONE": lambda machine, _: machine.push(None),
  "NEWTRUE": lambda machine, _: machine.push(True),
  "NEWFALSE": lambda machine, _: machine.push(False),
  "MARK": _Machine.mark,
  "POP": _Machine.pop,
  "POP_MARK": lambda machine, _: machine.above_mark(),
  "DUP": lambda machine, _: machine.push(machine.stack[-1]),
  **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
  **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
  "EMPTY_LIST": lambda machine, _: machine.push([]),
  "LIST": lambda machine, _: machine.push(machine.above_mark()),
  "APPEND": lambda machine, _: machine.append(machine.take(1)),
  "APPENDS": lambda machine, _: machine.append(machine.above_mark()),
  "EMPTY_TUPLE": lambda machine, _: machine.push(()),
  "TUPLE": lambda machine, _: machine.push(tuple(machine.above_mark())),
  "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
  "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
  "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
  "EMPTY_DICT": lambda machine, _: machine.push({}),
  "DICT": _dict,
  "SETITEM": lambda machine, _: machine.set(machine.take(2)),
  "SETITEMS": lambda machine, _: machine.set(machine.above_mark()),
  "EMPTY_SET": lambda machine, _: machine.push(Made(_SET)),
  "ADDITEMS": lambda machine, _: machine.append(machine.above_mark()),
  "FROZENSET": lambda machine, _: machine.push(Made(_FROZENSET, (machine.above_mark(),))),
  "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
  "STACK_GLOBAL": _Machine.stack_global,
  **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda machine, code: machine.push(Name("copyreg", f"extension_{code}"))),
  "REDUCE": _Machine.reduce,
  "NEWOBJ": _Machine.reduce,
  "NEWOBJ_EX": _Machine.newobj_ex,
  "OBJ": _Machine.obj,
  "INST": _Machine.inst,
  "BUILD": _Machine.build,
  "PERSID": _Machine.refer,
  "BINPERSID": lambda machine, _: machine.refer(machine.stack.pop()),
}
