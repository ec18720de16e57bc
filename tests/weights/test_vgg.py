"""VGG-16's weights from the files that users have."""

import numpy as np
import pytest

from jaxhands.models.backbones import vgg
from jaxhands.weights.vgg import import_vgg, read

SHAPES = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256)]
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
KERAS_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


@pytest.fixture
def tensors():
  """Kernels [3, 3, in, out] and biases of the seven layers."""
  rng = np.random.default_rng(0)
  return [
    (rng.normal(0, (9 * i) ** -0.5, (3, 3, i, o)).astype(np.float32), rng.normal(0, 0.1, o).astype(np.float32))
    for o, i in SHAPES
  ]


def _torchvision(tensors):
  numbers = (0, 2, 5, 7, 10, 12, 14)
  named = {}
  for number, (kernel, bias) in zip(numbers, tensors, strict=True):
    named |= {f"features.{number}.weight": kernel.transpose(3, 2, 0, 1), f"features.{number}.bias": bias}
  return named


def test_torchvision(tensors, tmp_path):
  named = _torchvision(tensors)
  np.savez(tmp_path / "vgg16.npz", **named, **{"features.17.weight": np.zeros(1), "classifier.0.bias": np.zeros(2)})
  params = read(str(tmp_path / "vgg16.npz"))
  assert list(params) == [layer for layers in vgg.LAYERS for layer in layers]
  for found, (kernel, bias) in zip(params.values(), tensors, strict=True):
    np.testing.assert_array_equal(found["kernel"], kernel)
    np.testing.assert_array_equal(found["bias"], bias)
  with pytest.raises(ValueError, match=r"missing: features\.12\.bias"):
    import_vgg({key: value for key, value in named.items() if key != "features.12.bias"})
  np.savez(tmp_path / "narrow.npz", **(named | {"features.0.weight": np.zeros((8, 3, 3, 3))}))
  with pytest.raises(ValueError, match="kernel of conv1_1 is"):
    read(str(tmp_path / "narrow.npz"))


@pytest.mark.parametrize("layout", ["applications", "keras 3"])
def test_keras(tensors, tmp_path, layout):
  """The changed first layer does with normalised RGB what the file's does with BGR in 0..255 less a mean."""
  h5py = pytest.importorskip("h5py", reason="h5py reads Keras' files: pip install 'jaxhands[vgg]'")
  path = tmp_path / f"{layout}.h5"
  with h5py.File(path, "w") as file:
    for layer, (kernel, bias) in zip([x for xs in vgg.LAYERS for x in xs], tensors, strict=True):
      block, number = int(layer[4]), int(layer[6])
      if layout == "applications":
        names = [f"block{block}_conv{number}/block{block}_conv{number}/{end}:0" for end in ("kernel", "bias")]
      else:
        own = "conv2d" if number == 1 else f"conv2d_{number - 1}"
        names = [f"block{block}/layers/{own}/vars/{i}" for i in range(2)]
      for name, value in zip(names, (kernel, bias), strict=True):
        file[name] = value
  params = read(str(path))
  image = np.random.default_rng(1).random((1, 16, 16, 3)).astype(np.float32)
  found = vgg.pools(params, (image - MEAN) / STD)

  as_trained = {layer: {"kernel": kernel, "bias": bias} for layer, (kernel, bias) in zip(params, tensors, strict=True)}
  expected = vgg.pools(as_trained, 255 * image[..., ::-1] - KERAS_MEAN_BGR)
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=0.01 * np.abs(b).max())


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"config\.vgg"):
    read(str(tmp_path / "none.npz"))
  (tmp_path / "weights.pth").write_bytes(b"no weights at all")
  with pytest.raises(ValueError, match=r"weights\.pth: it is neither a torch file nor"):
    read(str(tmp_path / "weights.pth"))
