"""Convolutions as functions, which choose their form by shape and platform; depthwise ones are in `models.attention`.

Maps are [batch, rows, columns, channels], kernels [row, column, in, out] (HWIO); padding is zeros, the same on all
sides. On CPUs some gradients are not those of differentiating XLA's convolution, where that is slower:

- the gradient of the input of strided windows is one plain convolution for each place within a stride, interleaved; XLA
  dilates the cotangent with zeros and convolves these, too. A transposed convolution is the same;
- the gradient of the kernel of large maps, on one device, is a sum of products of matrices, a few rows of the map after
  the other.

And a picture gets a fourth channel of zeros for the numbers of outputs that XLA is ten times slower at with three.

On accelerators these are XLA's. Everywhere a 1x1 convolution, and one of squares that do not overlap, is a product of
matrices. There is no forward-mode derivative.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_AXES = ("NHWC", "HWIO", "NHWC")
# Values of a map from which on bands are used: 1x1 convolutions are faster with them, larger windows in whole steps of
# large networks (docs/performance.md).
_LARGE_OF_POINTS, _LARGE_OF_WINDOWS = 2**17, 2**20
_SLOW_OF_PICTURES = range(17, 33)  # outputs that XLA:CPU computes of 3 channels, but not of 4, on one slow thread
_BAND = 2**18  # values of all windows that `kernel_by_bands` looks at at once: 1 MB


def convolve(
  x: Float[Array, "b h w c"], kernel: Float[Array, "k l c d"], stride: int = 1, padding: int = 0, dilation: int = 1
) -> Float[jax.Array, "b p q d"]:
  """Cross-correlation, as PyTorch's `conv2d`; rows and columns after the last whole window are ignored.

  Args:
    x: maps.
    kernel: of the same dtype.
    stride: between windows.
    padding: zeros on every side.
    dilation: pixels from one place of the kernel to the next.
  """
  if kernel.shape[:2] == (1, 1) and not padding:
    x, stride, dilation = x[:, ::stride, ::stride], 1, 1
  elif kernel.shape[:2] == (stride, stride) and not padding and dilation == 1:
    x, kernel, stride = _patches(x, stride), kernel.reshape(1, 1, -1, kernel.shape[-1]), 1
  return _convolve(x, kernel, stride, padding, dilation)


def deconvolve(
  x: Float[Array, "b h w c"], kernel: Float[Array, "k l d c"], stride: int, padding: int
) -> Float[jax.Array, "b p q d"]:
  """Transposed convolution, as PyTorch's `conv_transpose2d`: rows grow to (h - 1) x stride - 2 x padding + k.

  Args:
    x: maps.
    kernel: [row, column, out, in], that of the convolution whose derivative with respect to its input this is.
    stride: between the windows of that convolution.
    padding: of that convolution.
  """
  return _deconvolve(x, kernel, stride, padding)


def _patches(x: jax.Array, side: int) -> jax.Array:
  """Squares that do not overlap as one pixel each: [b, h / side, w / side, side x side x c]."""
  batch, height, width, channels = x.shape
  rows, columns = height // side, width // side
  x = x[:, : rows * side, : columns * side].reshape(batch, rows, side, columns, side, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)


# ---- derivatives ------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int, dilation: int) -> jax.Array:
  def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _xla(x, kernel, stride, padding, dilation)

  def of_four_channels(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return plain(jnp.pad(x, ((0, 0),) * 3 + ((0, 1),)), jnp.pad(kernel, ((0, 0),) * 2 + ((0, 1), (0, 0))))

  if kernel.shape[2] == 3 and kernel.shape[3] in _SLOW_OF_PICTURES:
    return jax.lax.platform_dependent(x, kernel, cpu=of_four_channels, default=plain)
  return plain(x, kernel)


def _convolve_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: int, dilation: int) -> Any:
  return _convolve(x, kernel, stride, padding, dilation), (x, kernel)


def _convolve_backward(stride: int, padding: int, dilation: int, residuals: Any, cotangent: jax.Array) -> Any:
  x, kernel = residuals
  return (
    _to_input(cotangent, kernel, x.shape[1:3], stride, padding, dilation),
    _to_kernel(x, cotangent, kernel.shape, stride, padding, dilation),
  )


_convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _deconvolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
  rows, columns = ((x.shape[i + 1] - 1) * stride - 2 * padding + kernel.shape[i] for i in range(2))
  return _to_input(x, kernel, (rows, columns), stride, padding, 1)


def _deconvolve_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> Any:
  return _deconvolve(x, kernel, stride, padding), (x, kernel)


def _deconvolve_backward(stride: int, padding: int, residuals: Any, cotangent: jax.Array) -> Any:
  x, kernel = residuals
  return (
    _xla(cotangent, kernel, stride, padding, 1),
    _to_kernel(cotangent, x, kernel.shape, stride, padding, 1),
  )


_deconvolve.defvjp(_deconvolve_forward, _deconvolve_backward)


# ---- forms ------------------------------------------------------------------


def _xla(x: jax.Array, kernel: jax.Array, stride: int, padding: Any, dilation: int = 1) -> jax.Array:
  if kernel.shape[:2] == (1, 1) and stride == 1 and not padding:
    return x @ kernel[0, 0]
  pads = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), pads, rhs_dilation=(dilation, dilation), dimension_numbers=_AXES
  )


def _to_input(
  cotangent: jax.Array, kernel: jax.Array, out_hw: tuple[int, ...], stride: int, padding: int, dilation: int
) -> jax.Array:
  """The cotangent of a convolution's input of `out_hw` rows and columns."""
  shape = (cotangent.shape[0], *out_hw, kernel.shape[2])

  def plain(cotangent: jax.Array, kernel: jax.Array) -> jax.Array:
    x = jax.ShapeDtypeStruct(shape, cotangent.dtype)
    return jax.linear_transpose(lambda x: _xla(x, kernel, stride, padding, dilation), x)(cotangent)[0]

  def phases(cotangent: jax.Array, kernel: jax.Array) -> jax.Array:
    return _phases(cotangent, kernel, out_hw, stride, padding)

  if stride == 1 or dilation > 1:
    return plain(cotangent, kernel)
  return jax.lax.platform_dependent(cotangent, kernel, cpu=phases, default=plain)


def _phases(cotangent: jax.Array, kernel: jax.Array, out_hw: tuple[int, ...], stride: int, padding: int) -> jax.Array:
  """`_to_input` by one convolution for each of the stride x stride places of an input pixel within a stride.

  A place sees every stride-th row and column of the kernel alone, the first of which is that of the window that begins
  latest.
  """
  counts = [-(-size // stride) for size in out_hw]  # pixels of a place
  flipped = kernel[::-1, ::-1].swapaxes(2, 3)

  def kernel_part(place: int, axis: int) -> tuple[slice, tuple[int, int]]:
    """Rows (columns) of the flipped kernel that a place sees, and the padding of the cotangent for them."""
    size = kernel.shape[axis]
    first = (place + padding) % stride
    taps = len(range(first, size, stride))
    rows = slice((size - 1 - first) % stride, size - first, stride)
    low = taps - 1 - (place + padding) // stride
    return rows, (low, counts[axis] + taps - 1 - low - cotangent.shape[axis + 1])

  def at(row: int, column: int) -> jax.Array:
    (rows, above), (columns, beside) = kernel_part(row, 0), kernel_part(column, 1)
    part = flipped[rows, columns]
    if not part.size:
      return jnp.zeros((cotangent.shape[0], *counts, kernel.shape[2]), cotangent.dtype)
    return _xla(cotangent, part, 1, (above, beside))

  places = jnp.stack([jnp.stack([at(i, j) for j in range(stride)], axis=3) for i in range(stride)], axis=2)
  whole = places.reshape(places.shape[0], counts[0] * stride, counts[1] * stride, -1)
  return whole[:, : out_hw[0], : out_hw[1]]


def _to_kernel(
  x: jax.Array, cotangent: jax.Array, shape: tuple[int, ...], stride: int, padding: int, dilation: int
) -> jax.Array:
  """The cotangent of a convolution's kernel of this shape."""

  def plain(x: jax.Array, cotangent: jax.Array) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda kernel: _xla(x, kernel, stride, padding, dilation), kernel)(cotangent)[0]

  # A loop would add up kernels that are larger than the maps, or fetch each band from the device that has it.
  large = _LARGE_OF_POINTS if shape[:2] == (1, 1) else _LARGE_OF_WINDOWS
  if x.size < max(large, math.prod(shape)) or jax.device_count() > 1:
    return plain(x, cotangent)

  def bands(x: jax.Array, cotangent: jax.Array) -> jax.Array:
    return kernel_by_bands(x, cotangent, shape, stride, padding, dilation)

  return jax.lax.platform_dependent(x, cotangent, cpu=bands, default=plain)


def kernel_by_bands(
  x: Float[Array, "b h w c"],
  cotangent: Float[Array, "b p q d"],
  shape: tuple[int, ...],
  stride: int,
  padding: int,
  dilation: int,
) -> Float[jax.Array, "k l c d"]:
  """The cotangent of the kernel, of this shape, by a product of matrices for each band of rows, or group of examples.

  A band with all that its windows see stays in the processor's cache. And what a loop reads is in memory: for a product
  by itself XLA:CPU computes it anew, the whole of batch norm's derivative, in the order of the product's axes.
  """
  batch, height, width = cotangent.shape[:3]
  padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  row = width * shape[0] * shape[1] * shape[2]
  rows = _largest_divisor(height, _BAND // row)
  examples = _largest_divisor(batch, _BAND // (height * row))
  bands = height // rows
  last = [stride * (size - 1) + 1 for size in (rows, width)]  # row and column after that of the last window
  places = [(i * dilation, j * dilation) for i in range(shape[0]) for j in range(shape[1])]
  reach = places[-1]

  def add(step: jax.Array, total: jax.Array) -> jax.Array:
    example, band = step // bands * examples, step % bands * rows
    size = (examples, last[0] + reach[0], last[1] + reach[1], shape[2])
    rows_of_x = jax.lax.dynamic_slice(padded, (example, band * stride, 0, 0), size)
    cotangent_rows = jax.lax.dynamic_slice(cotangent, (example, band, 0, 0), (examples, rows, width, shape[3]))
    windows = [rows_of_x[:, i : i + last[0] : stride, j : j + last[1] : stride] for i, j in places]
    windows = jnp.concatenate(windows, axis=-1) if len(windows) > 1 else windows[0]
    windows, cotangent_rows = windows.reshape(-1, inputs), cotangent_rows.reshape(-1, shape[3])
    # The narrow one is transposed.
    factors = (windows.T, cotangent_rows) if inputs < shape[3] else (cotangent_rows.T, windows)
    return total + jnp.matmul(*factors, preferred_element_type=total.dtype)

  inputs = len(places) * shape[2]
  # Hundreds of bands in bfloat16 would lose what the last ones add.
  exact = jnp.promote_types(x.dtype, jnp.float32)
  gradient = jnp.zeros((inputs, shape[3]) if inputs < shape[3] else (shape[3], inputs), exact)
  gradient = jax.lax.fori_loop(0, batch // examples * bands, add, gradient)
  return (gradient if inputs < shape[3] else gradient.T).reshape(shape).astype(x.dtype)


def _largest_divisor(number: int, most: int) -> int:
  """1 where `most` is less."""
  return max(size for size in range(1, max(min(number, most), 1) + 1) if number % size == 0)
