"""Files of full size as the authors give them away: their names, shapes, containers and prefixes; random values."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from tests.parity.cases import Case
from tests.weights import torch_writer

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Release:
  """One released network.

  Attributes:
    system: module of `jaxhands.systems`.
    case: folder of the goldens that has its names and shapes.
    config: of `launch.py`.
    file: name of the file.
    write: writes it.
    batch_sizes: with which the file and its import predict; two of them must not matter.
    version: of several that one case has.
    asked: the config must be named, as another release of the system is the one that is taken.
  """

  system: str
  case: str
  config: str
  file: str
  write: Callable[[pathlib.Path, Arrays], None]
  batch_sizes: tuple[int, int]
  version: str = ""
  asked: bool = False

  @property
  def name(self) -> str:
    return f"{self.system}.{self.version}" if self.version else self.system

  @property
  def config_name(self) -> str:
    """As `import --config` takes it, where it must be told; else ""."""
    return self.config.replace(".py", "") if self.asked else ""

  def write_into(self, folder: pathlib.Path, goldens: pathlib.Path) -> pathlib.Path:
    path = folder / self.file
    golden = f"golden_{self.version}.npz" if self.version else "golden.npz"
    self.write(path, Case(goldens, self.case, golden).state_dict(self.version))
    return path


def _parallel(arrays: Arrays) -> Arrays:
  """As torch's data parallel wrapper names them."""
  return {f"module.{name}": array for name, array in arrays.items()}


def _adam(arrays: Arrays) -> dict:
  """What Adam keeps beside parameters."""
  parameters = [array for name, array in arrays.items() if array.dtype == np.float32 and "running_" not in name]
  moments = {
    number: {"step": 7, "exp_avg": torch_writer.Tensor.of(array), "exp_avg_sq": torch_writer.Tensor.of(array**2)}
    for number, array in enumerate(parameters)
  }
  return {"state": moments, "param_groups": [{"lr": 1e-4, "params": list(moments)}]}


def _snapshot_before_1_6(path: pathlib.Path, arrays: Arrays) -> None:
  tree = {"epoch": 20, "network": torch_writer.tensors(_parallel(arrays)), "optimizer": {"state": {}}}
  torch_writer.write_stream(path, tree)


def _snapshot(path: pathlib.Path, arrays: Arrays) -> None:
  tree = {"epoch": 19, "network": torch_writer.tensors(_parallel(arrays)), "optimizer": _adam(arrays)}
  torch_writer.write_zip(path, tree)


def _wrapped(path: pathlib.Path, arrays: Arrays) -> None:
  torch_writer.write_zip(path, torch_writer.tensors({f"model.{name}": array for name, array in arrays.items()}))


def _mmsegmentation(path: pathlib.Path, arrays: Arrays) -> None:
  torch_writer.write_zip(path, {"meta": {"iter": 237_500}, "state_dict": torch_writer.tensors(arrays), "optimizer": {}})


def _npz(path: pathlib.Path, arrays: Arrays) -> None:
  np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def _plain_before_1_6(path: pathlib.Path, arrays: Arrays) -> None:
  torch_writer.write_stream(path, torch_writer.tensors(arrays))


def _with_mano(arrays: Arrays) -> Arrays:
  """Besides, buffers of the MANO layers, which an import leaves where they are."""
  buffers = {"v_template": (778, 3), "J_regressor": (16, 778), "betas": (1, 10)}
  return arrays | {
    f"mesh_reg.mano_layer.{side}.{name}": np.ones(shape, np.float32) for side in "rl" for name, shape in buffers.items()
  }


def _intershape_v1(path: pathlib.Path, arrays: Arrays) -> None:
  _plain_before_1_6(path, _with_mano(arrays))


def _intershape_v2(path: pathlib.Path, arrays: Arrays) -> None:
  tree = {"epoch": 47, "network": torch_writer.tensors(_parallel(_with_mano(arrays))), "optimizer": {"state": {}}}
  torch_writer.write_zip(path, tree)


NETWORKS = (
  Release("internet", "internet", "internet.py:paper,released", "snapshot_20.pth.tar", _snapshot_before_1_6, (2, 3)),
  Release("rootnet", "rootnet", "rootnet.py:paper,released", "snapshot_19.pth.tar", _snapshot, (1, 3)),
  Release("digit", "digit", "digit.py:paper,released", "digit.pt", _wrapped, (1, 1)),
  Release("hdr.hasm", "hasm", "hdr.py:paper,hasm,released", "hasm.pth", _mmsegmentation, (1, 1)),
  Release("hdr.hdrm", "hdrnet", "hdr.py:paper,hdrm,released", "hdrm.npz", _npz, (1, 2)),
  Release("hdr.shpe", "detnet", "hdr.py:paper,shpe,released", "shpe.pth", _plain_before_1_6, (2, 2)),
  Release(
    "intershape", "intershape", "intershape.py:paper,hands,released_v1", "v1.pth", _intershape_v1, (1, 1), "v1", True
  ),
  Release(
    "intershape",
    "intershape",
    "intershape.py:paper,hands,released",
    "snapshot_47.pth.tar",
    _intershape_v2,
    (1, 1),
    "v2",
  ),
)


def resnet50(path: pathlib.Path, goldens: pathlib.Path) -> Arrays:
  """torchvision's, from before it counted batches, with its classifier."""
  arrays = {name: a for name, a in Case(goldens, "resnet50").state_dict().items() if "num_batches" not in name}
  head = {"fc.weight": np.zeros((1000, 2048), np.float32), "fc.bias": np.zeros(1000, np.float32)}
  torch_writer.write_stream(path, torch_writer.tensors(arrays | head))
  return arrays


def hrnet_w32(path: pathlib.Path, goldens: pathlib.Path) -> Arrays:
  """That of the HRNet pose repository, with a classifier."""
  arrays = Case(goldens, "hrnet_w32").state_dict()
  head = {"classifier.weight": np.zeros((1000, 2048), np.float32), "classifier.bias": np.zeros(1000, np.float32)}
  torch_writer.write_zip(path, torch_writer.tensors(arrays | head))
  return arrays


def mit_b5(path: pathlib.Path, goldens: pathlib.Path) -> Arrays:
  """mmsegmentation's, alone."""
  whole = Case(goldens, "hasm").state_dict()
  arrays = {name.removeprefix("backbone."): a for name, a in whole.items() if name.startswith("backbone.")}
  _mmsegmentation(path, arrays)
  return arrays


def vgg16(path: pathlib.Path, goldens: pathlib.Path) -> Arrays:
  """torchvision's, with all its layers; those beyond the third pooling are zeros."""
  ours = Case(goldens, "hdr_losses").state_dict()  # the same layers, called enc_BLOCK.N
  first = {"enc_1": 0, "enc_2": 5, "enc_3": 10}
  arrays = {}
  for name, array in ours.items():
    block, number, kind = name.split(".")
    arrays[f"features.{first[block] + int(number)}.{kind}"] = array
  rest = {f"features.{number}": (512, 256 if number == 17 else 512, 3, 3) for number in (17, 19, 21, 24, 26, 28)}
  rest |= {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096), "classifier.6": (1000, 4096)}
  zeros = {f"{name}.weight": np.zeros(shape, np.float32) for name, shape in rest.items()}
  zeros |= {f"{name}.bias": np.zeros(shape[0], np.float32) for name, shape in rest.items()}
  torch_writer.write_zip(path, torch_writer.tensors(arrays | zeros))
  return arrays
