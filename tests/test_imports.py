"""The direction of imports, held by reading the source: a lower layer never names a higher one."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Layer -> layers of ours that it may import besides itself. Order of rows = direction of imports.
ALLOWED: dict[str, set[str]] = {
  "schema": set(),
  "verdict": set(),
  "compiled": set(),
  "arguments": set(),
  "console": set(),
  "writer": set(),
  "runs": set(),
  "geometry": {"schema"},
  "hands": {"schema", "compiled", "geometry"},
  "render": {"schema", "compiled", "geometry", "hands"},
  "codecs": {"schema", "geometry", "hands"},
  "losses": {"schema", "geometry", "hands", "codecs"},
  "metrics": {"schema", "verdict", "geometry", "hands", "codecs", "runs"},
  "draw": {"schema", "geometry", "hands", "render"},
  "meshes": {"schema", "geometry", "hands", "render", "runs"},
  "report": {"schema", "verdict", "geometry", "hands", "metrics", "render", "draw", "runs"},
  "data": {"schema", "geometry", "hands", "codecs", "runs"},
  "weights": {"schema", "hands", "runs"},
  "models": {"schema", "geometry", "hands", "codecs", "losses"},
  "systems": {"schema", "geometry", "hands", "codecs", "losses", "data", "weights", "models"},
}
_BELOW_TRAIN = {
  "schema",
  "verdict",
  "geometry",
  "hands",
  "codecs",
  "losses",
  "metrics",
  "draw",
  "data",
  "weights",
  "runs",
  "console",
}
ALLOWED |= {
  "train": _BELOW_TRAIN | {"systems.base"},
  "evaluation": {"verdict", "runs", "console"},
  "evaluate": _BELOW_TRAIN | {"systems.base", "train", "evaluation"},
  "prediction": {"schema", "hands", "meshes"},
  "predict": _BELOW_TRAIN | {"systems.base", "train", "evaluate", "meshes", "prediction"},
  "export": _BELOW_TRAIN | {"systems.base", "train", "predict"},
}
ALLOWED["fitting"] = {"runs"}
ALLOWED["timing"] = {"schema", "systems.base"}
ALLOWED["joint_files"] = {"schema", "hands", "runs", "photo.records"}
ALLOWED |= {"origin": {"runs"}, "compare": {"hands", "metrics", "runs", "console"}}
ALLOWED |= {"results": {"verdict", "runs", "console", "writer"}, "requirements": {"train"}}
ALLOWED |= {"stages": {"train", "runs", "writer"}, "comparisons": _BELOW_TRAIN | {"systems.base", "models"}}
ALLOWED |= {"config_files": set(), "config_flags": {"config_files", "console", "data"}}
ALLOWED["config_rules"] = {"data", "metrics", "train"}
ALLOWED["run_data"] = {"data", "hands", "requirements", "systems.base"}
ALLOWED["run"] = set(ALLOWED) | {"systems.base"}
ALLOWED["photo"] = {"schema", "geometry", "hands", "metrics", "render", "draw", "meshes", "prediction", "predict"}
ALLOWED["inputs"] = {"schema", "geometry", "render", "draw", "systems.base", "train", "run_data"}
ALLOWED["trained"] = set(ALLOWED)
ALLOWED["commands"] = set(ALLOWED) | {"systems.base"}
ALLOWED["cli"] = {"arguments", "console", "writer"}
ALLOWED["__main__"] = {"cli"}
ALLOWED["__init__"] = set(ALLOWED)
BUILDERS_MAY_USE = {"schema", "arguments", "console", "writer", "geometry", "hands", "render", "data.folders"}


def _imports(path: pathlib.Path) -> set[str]:
  """Absolute dotted names imported by a file, `from a.b import c` giving `a.b.c`."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import; write the absolute name"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def _allowed(name: str, layers: set[str]) -> bool:
  inner = name.removeprefix("jaxhands.")
  return any(inner == layer or inner.startswith(layer + ".") for layer in layers) or name == "jaxhands.__version__"


PACKAGE_FILES = sorted((ROOT / "jaxhands").rglob("*.py"))


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_package_imports_point_down(path):
  layer = path.relative_to(ROOT / "jaxhands").parts[0].removesuffix(".py")
  assert layer in ALLOWED, f"{path} is in no layer; add it to ALLOWED where it belongs"
  for name in _imports(path):
    if name.startswith("jaxhands"):
      assert _allowed(name, ALLOWED[layer] | {layer}), f"{path} ({layer}) may not import {name}"
    assert not name.startswith(("data_builders", "configs", "tests", "torch", "tensorflow.")), f"{path}: {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "data_builders").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_builders_use_the_lower_layers_only(path):
  for name in _imports(path):
    if name.startswith("jaxhands"):
      assert _allowed(name, BUILDERS_MAY_USE), f"{path} may not import {name}"


def test_distrax_stays_inside_the_flow():
  for path in PACKAGE_FILES:
    if "flow" not in path.parts:
      assert not any(name.split(".")[0] == "distrax" for name in _imports(path)), path
