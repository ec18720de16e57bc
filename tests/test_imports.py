"""The direction of imports, held by reading the source: a lower layer never names a higher one."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Layer -> layers of ours that it may import besides itself. A layer is a module or a package of `jaxhands`; a module
# that has a row of its own does not belong to its package's. Order of rows = direction of imports.
ALLOWED: dict[str, set[str]] = {
  "schema": set(),
  "former_names": set(),
  "huge_pages": set(),
  "paths": set(),
  "terminal": {"paths"},
  "evaluation.verdict": set(),
  "runs.folder": set(),
  "runs.lock": {"paths"},
  "runs.provenance": {"runs.folder"},
  "configuration.locate": set(),
  "configuration.ordered": set(),
  "geometry": {"schema"},
  "hands": {"schema", "paths", "geometry"},
  "render": {"schema", "geometry", "hands"},
  "drawing": {"schema", "geometry", "hands", "render"},
  "codecs": {"schema", "geometry", "hands"},
  "losses": {"schema", "geometry", "hands", "codecs"},
  "meshes": {"schema", "geometry", "hands", "render", "drawing", "runs.folder"},
  "data": {"schema", "paths", "geometry", "hands", "codecs", "runs.folder"},
  "weights": {"schema", "paths", "hands", "runs.folder"},
  "models": {"schema", "geometry", "hands", "codecs", "losses"},
  "systems": {"schema", "former_names", "geometry", "hands", "codecs", "losses", "data", "weights", "models"},
  "evaluation.metrics": {"schema", "evaluation.verdict", "geometry", "hands", "codecs", "runs.folder"},
  "evaluation.result": {"evaluation.verdict", "runs.folder", "terminal"},
  "evaluation.compare": {"hands", "evaluation.metrics", "evaluation.verdict", "runs.folder"},
  "evaluation.latency": {"schema", "systems.base"},
}
_BELOW_TRAIN = {
  "schema", "terminal", "paths", "geometry", "hands", "codecs", "losses", "drawing", "data", "weights", "runs.folder",
  "evaluation.verdict", "evaluation.metrics", "systems.base", "systems.construct",
  "systems.subtrees", "configuration.ordered",
}  # fmt: skip
ALLOWED |= {
  "train": _BELOW_TRAIN,
  "evaluation.evaluator": _BELOW_TRAIN | {"train", "evaluation.result"},
  "evaluation.ablations": {"systems.base", "systems.construct"},
  "evaluation.chosen_metrics": {"evaluation.metrics", "data", "hands", "models", "weights"},
  "configuration.requirements": {"train", "runs.folder"},
  "configuration.command_line": {"configuration.locate", "terminal", "data"},
  "configuration.rules": {"data", "evaluation.metrics", "train"},
  "runs.stages": {"hands", "train", "runs.folder", "runs.lock"},
  "runs.run_data": {"paths", "data", "hands", "configuration.requirements", "runs.folder", "systems.base"},
  "runs.released": {
    "configuration.locate", "former_names", "paths", "runs.lock", "runs.stages", "systems.base", "systems.construct",
    "train", "weights",
  },
  "drawing.inputs": {"schema", "geometry", "render", "drawing", "systems.base", "train", "runs.run_data"},
  "prediction": _BELOW_TRAIN | {"render", "meshes", "train", "evaluation.evaluator", "runs.released"},
  "report": {
    "schema", "geometry", "hands", "render", "drawing", "evaluation.verdict", "evaluation.metrics", "runs.folder",
  },
  "results": {"evaluation.verdict", "runs.folder", "terminal"},
}  # fmt: skip
ALLOWED["runs.stage"] = set(ALLOWED) | {"systems.base", "systems.construct", "systems.subtrees"}
ALLOWED["run"] = {"configuration.requirements", "configuration.rules", "train", "runs.folder", "runs.run_data"}
ALLOWED["run"] |= {"runs.stage", "runs.stages"}
ALLOWED["commands"] = set(ALLOWED)
ALLOWED["cli"] = {"terminal", "runs.lock"}
ALLOWED["__main__"] = {"cli", "huge_pages"}
ALLOWED["__init__"] = {"prediction", "former_names"}
_PACKAGES = {"evaluation", "configuration", "runs"}  # whose modules have rows of their own; no row is for the whole
BUILDERS_MAY_USE = {
  "schema", "terminal", "paths", "runs.lock", "geometry", "hands", "render", "drawing", "data.folders",
  "data.shard_files", "data.workers",
}  # fmt: skip


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


def _layer(inner: str) -> str:
  """The row that a module, or something in it, belongs to: the longest name that it begins with; "" = none."""
  words = inner.split(".")
  names = (".".join(words[:end]) for end in range(len(words), 0, -1))
  return next((name for name in names if name in ALLOWED), "")


def _allowed(name: str, layers: set[str]) -> bool:
  inner = name.removeprefix("jaxhands.")
  if name == "jaxhands.__version__" or _layer(inner) in layers:
    return True
  return any(inner == layer or inner.startswith(layer + ".") for layer in layers - ALLOWED.keys())


PACKAGE_FILES = sorted((ROOT / "jaxhands").rglob("*.py"))


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_package_imports_point_down(path):
  module = path.relative_to(ROOT / "jaxhands").with_suffix("").parts
  if module[-1] == "__init__" and module[0] in _PACKAGES and len(module) == 2:
    assert not _imports(path), f"{path} is a docstring alone"
    return
  layer = _layer(".".join(module))
  assert layer, f"{path} is in no layer; add it to ALLOWED where it belongs"
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
