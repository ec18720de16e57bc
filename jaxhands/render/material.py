"""What a surface is made of at shading points: skin with its lines, veins and nails, cloth, or a picture of skin.

Compiled passes over the arrays that `render.shading` describes.
"""

from __future__ import annotations

import numpy as np

from jaxhands.geometry.compiled import fast_kernel, kernel

_NAIL_SHARPNESS = np.float32(90.0)
_ZERO, _ONE, _HALF, _EIGHT = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(8.0)


@fast_kernel
def volume_at(volume, x, y, z):
  """Trilinear value of a volume that repeats; its side is a power of two."""
  last = volume.shape[0] - 1
  fi, fj, fk = np.floor(x), np.floor(y), np.floor(z)
  i, j, k = int(fi) & last, int(fj) & last, int(fk) & last
  fx, fy, fz = x - fi, y - fj, z - fk
  ii, jj, kk = (i + 1) & last, (j + 1) & last, (k + 1) & last
  n00 = volume[i, j, k] + fz * (volume[i, j, kk] - volume[i, j, k])
  n01 = volume[i, jj, k] + fz * (volume[i, jj, kk] - volume[i, jj, k])
  n10 = volume[ii, j, k] + fz * (volume[ii, j, kk] - volume[ii, j, k])
  n11 = volume[ii, jj, k] + fz * (volume[ii, jj, kk] - volume[ii, jj, k])
  near = n00 + fy * (n01 - n00)
  return near + fx * (n10 + fy * (n11 - n10) - near)


@fast_kernel
def _nearest_in(volume, x, y, z):
  """The texel at a place: the grain is finer than a pixel, so that nobody sees what lies between its texels."""
  last = volume.shape[0] - 1
  return volume[int(np.floor(x)) & last, int(np.floor(y)) & last, int(np.floor(z)) & last]


@fast_kernel
def volume_at_points(volume, points):
  """`volume_at` of points [N, 3], float32."""
  values = np.empty(points.shape[0], np.float32)
  for point in range(points.shape[0]):
    values[point] = volume_at(volume, points[point, 0], points[point, 1], points[point, 2])
  return values


@fast_kernel
def _mark_at(marks, side, x, y, kind):
  """Bilinear value of a mark picture, 0 outside."""
  fi, fj = np.floor(x), np.floor(y)
  i, j = int(fi), int(fj)
  value = _ZERO
  if i >= 0 and j >= 0 and i + 1 < marks.shape[1] and j + 1 < marks.shape[2]:
    fx, fy = x - fi, y - fj
    near = marks[side, i, j, kind] + fy * (marks[side, i, j + 1, kind] - marks[side, i, j, kind])
    far = marks[side, i + 1, j, kind] + fy * (marks[side, i + 1, j + 1, kind] - marks[side, i + 1, j, kind])
    value = near + fx * (far - near)
  return value


@fast_kernel
def _absorbed(x):
  """About exp(-x) for small x, and positive for all."""
  return _ONE / (_ONE + x * (_ONE + _HALF * x))


@fast_kernel
def material(
  table, faces, num_hand, num_skin, noise, noise_offset, marks, marks_origin, marks_texel, skin, cloth, materials
):
  """Fills `materials`. Faces from `num_hand` on are of the arm (no nails), from `num_skin` on of cloth."""
  texel, marks_per_mm = _ONE / skin[18], _ONE / marks_texel
  for p in range(table.shape[0]):
    u, v, w = table[p, 0], table[p, 1], table[p, 2]
    fine = _nearest_in(noise, u * texel + noise_offset[0], v * texel + noise_offset[1], w * texel + noise_offset[2])
    if faces[p] >= num_skin:
      mix = _ZERO
      if cloth[6] > _ZERO:
        mix = _ONE if (u / cloth[7]) % _ONE < np.float32(0.4) else _ZERO
      if cloth[6] > _ONE:
        mix = _HALF * (mix + (_ONE if (v / cloth[7]) % _ONE < np.float32(0.4) else _ZERO))
      weave = _ONE + np.float32(0.12) * table[p, 10] + np.float32(0.08) * fine
      for channel in range(3):
        materials[p, channel] = (cloth[channel] + mix * (cloth[3 + channel] - cloth[channel])) * weave
      materials[p, 3], materials[p, 4], materials[p, 5] = np.float32(0.004), _EIGHT, np.float32(0.05)
      continue
    palm = min(_ONE, max(_ZERO, table[p, 6]))
    line, vein = _ZERO, _ZERO
    mx, my = (u - marks_origin[0]) * marks_per_mm, (v - marks_origin[1]) * marks_per_mm
    if palm > np.float32(0.1):
      line = palm * _mark_at(marks, 1, mx, my, 0)
    if palm < np.float32(0.9):
      line += (_ONE - palm) * _mark_at(marks, 0, mx, my, 0)
      vein = skin[13] * (_ONE - palm) * _mark_at(marks, 0, mx, my, 1)
    nail, edge = _ZERO, _ZERO
    along, across = table[p, 7], table[p, 8]
    if max(abs(along), abs(across)) < np.float32(1.5):
      outline = along * along * along * along + across * across * across * across
      nail = min(_ONE, max(_ZERO, np.float32(2.0) * (np.float32(1.25) - outline)))
      # The free edge is pale, the fold of skin around the rest is dark.
      edge = nail * min(_ONE, max(_ZERO, np.float32(6.0) * (along - np.float32(0.75))))
      line = max(line, _HALF * max(_ZERO, _ONE - abs(outline - np.float32(1.4)))) if along < np.float32(0.8) else line
    bare = _ONE - nail
    line *= skin[12]
    blood = bare * (skin[9] * table[p, 10] + skin[11] * (table[p, 9] + np.float32(0.35) * palm)) + _HALF * line
    dark = bare * (skin[10] * fine + vein) + np.float32(0.7) * line - np.float32(0.25) * edge
    red = (skin[0] + palm * (skin[3] - skin[0])) * _absorbed(dark + np.float32(0.2) * blood + vein)
    green = (skin[1] + palm * (skin[4] - skin[1])) * _absorbed(dark + blood)
    blue = (skin[2] + palm * (skin[5] - skin[2])) * _absorbed(dark + np.float32(0.9) * blood)
    materials[p, 0] = red + nail * (skin[6] - red)
    materials[p, 1] = green + nail * (skin[7] - green)
    materials[p, 2] = blue + nail * (skin[8] - blue)
    materials[p, 3] = skin[15] * bare * max(_ZERO, _ONE + np.float32(0.15) * fine - line) + nail * skin[17]
    materials[p, 4] = skin[16] + nail * (_NAIL_SHARPNESS - skin[16])
    materials[p, 5] = skin[14] * (_ONE - _HALF * nail)


@kernel
def paint(points, triangles, faces, places, num_hand, corners, texture, materials):
  """Replaces the colours [P, 0:3] of `materials` of shading points on the hand's own faces, perspective-correct."""
  height, width = texture.shape[0], texture.shape[1]
  for p in range(faces.shape[0]):
    if faces[p] >= num_hand:
      continue
    a, b, c = triangles[faces[p], 0], triangles[faces[p], 1], triangles[faces[p], 2]
    ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
    vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
    dx, dy = places[p, 0] - points[a, 0], places[p, 1] - points[a, 1]
    scale = 1.0 / (ux * vy - uy * vx)
    w1, w2 = (dx * vy - dy * vx) * scale, (ux * dy - uy * dx) * scale
    wa, wb, wc = (1.0 - w1 - w2) * points[a, 2], w1 * points[b, 2], w2 * points[c, 2]
    scale = 1.0 / (wa + wb + wc)
    x = (wa * corners[faces[p], 0, 0] + wb * corners[faces[p], 1, 0] + wc * corners[faces[p], 2, 0]) * scale
    y = (wa * corners[faces[p], 0, 1] + wb * corners[faces[p], 1, 1] + wc * corners[faces[p], 2, 1]) * scale
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    i, j = int(y), int(x)
    fy, fx = np.float32(y - i), np.float32(x - j)
    for channel in range(3):
      near = texture[i, j, channel] + fx * (texture[i, j + 1, channel] - texture[i, j, channel])
      far = texture[i + 1, j, channel] + fx * (texture[i + 1, j + 1, channel] - texture[i + 1, j, channel])
      materials[p, channel] = near + fy * (far - near)
