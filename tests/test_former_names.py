"""Former names of modules are the modules of now, and say so; what never was is not found."""

import importlib
import sys

import pytest

from jaxhands import former_names

NAMES = (*former_names.NOW, "metrics.confidence", "photo.intrinsics", "photo.video")


@pytest.mark.parametrize("name", NAMES)
def test_a_former_name_is_the_module_of_now(name, monkeypatch):
  for known in (name, name.split(".")[0]):
    if former_names.of_now(known):
      monkeypatch.delitem(sys.modules, f"jaxhands.{known}", raising=False)
  now = importlib.import_module(f"jaxhands.{former_names.of_now(name)}")
  with pytest.warns(DeprecationWarning, match="is called jaxhands") as said:
    found = importlib.import_module(f"jaxhands.{name}")
  assert f"jaxhands.{name} is called {now.__name__} now" in str(said[-1].message)
  assert found is now or name in ("metrics", "photo")
  public = [word for word in vars(now) if not word.startswith("__")]
  assert all(getattr(found, word) is getattr(now, word) for word in public)


def test_a_module_is_found_in_a_package_that_is_gone(monkeypatch):
  monkeypatch.delitem(sys.modules, "jaxhands.photo.pictures", raising=False)
  namespace = {}
  monkeypatch.delitem(sys.modules, "jaxhands.photo", raising=False)
  with pytest.warns(DeprecationWarning, match="is called jaxhands.prediction"):
    exec("from jaxhands.photo import pictures", namespace)
  assert namespace["pictures"].__name__ == "jaxhands.prediction.picture_files"


@pytest.mark.parametrize(
  ("module", "name"), [(module, name) for module, names in former_names._MOVED.items() for name in names]
)
def test_what_a_module_had_is_still_there(module, name):
  before = importlib.import_module(f"jaxhands.{module}")
  now = importlib.import_module(f"jaxhands.{former_names._MOVED[module][name]}")
  with pytest.warns(DeprecationWarning, match=f"{name} now"):
    assert getattr(before, name) is getattr(now, name)
  with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
    before.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["jaxhands.nothing", "jaxhands.photo.nothing", "jaxhands.prediction.pictures"])
@pytest.mark.filterwarnings("ignore:jaxhands.photo:DeprecationWarning")
def test_what_never_was_is_not_found(name):
  with pytest.raises(ModuleNotFoundError):
    importlib.import_module(name)
