"""What files must hold that people may have cut or written themselves: the form of their JSON."""

from __future__ import annotations

import pathlib
import types
from typing import Any

from jaxhands.runs import folder as files

NUMBER = int | float
INTERVAL = (NUMBER, NUMBER)
Form = Any  # see `check`


def read(path: pathlib.Path, form: Form, todo: str) -> Any:
  """The content of a JSON file.

  Raises:
    DamagedFile: it is none, or has not the form.
  """
  content = files.read_json(path, todo)
  try:
    check(content, form)
  except ValueError as error:
    raise files.DamagedFile(path, error, todo) from error
  return content


def check(value: Any, form: Form, place: str = "it") -> None:
  """Raises `ValueError` where a value of JSON has not the form.

  Args:
    value: any.
    form: a type; `{key: form}` of an object, where a key with "?" may be missing; `{str: form}` of one with any keys;
      `[form]` of a list; a tuple of forms, one for each element of a list; or a tuple of the strings that it may be.
    place: of the value, for the message.
  """
  match form:
    case type() | types.UnionType():
      if not isinstance(value, form):
        raise ValueError(f"{place} is {value!r:.60}")
    case dict():
      check(value, dict, place)
      for key, inner in dict.fromkeys(value, form[str]).items() if str in form else form.items():
        name = key.removesuffix("?") if str not in form else key
        if name in value:
          check(value[name], inner, f"{place}.{name}")
        elif not key.endswith("?"):
          raise ValueError(f"{place} lacks {name!r}")
    case [inner] if isinstance(form, list):
      check(value, list, place)
      for index, each in enumerate(value):
        check(each, inner, f"{place}[{index}]")
    case [str(), *_]:
      if value not in form:
        raise ValueError(f"{place} is {value!r:.60}, expected one of {', '.join(form)}")
    case _:
      check(value, list, place)
      if len(value) != len(form):
        raise ValueError(f"{place} has {len(value)} elements, expected {len(form)}")
      for index, (each, inner) in enumerate(zip(value, form, strict=True)):
        check(each, inner, f"{place}[{index}]")
