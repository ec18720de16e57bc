"""Colour of a hand's pixels: one pass over the pixels that its mesh covers, in linear light, compiled.

Kernels share small packed arrays, whose columns are named here.

attributes [N, 11] per vertex: 0-2 skin coordinates, 3-5 normal (camera), 6 palm, 7 nail, 8 flush,
  9 light of the surroundings that reaches it past its own hand, 10 past the other hand.
lights [L, 6]: direction to the light (camera), colour. surroundings [9]: up (camera), sky, ground.
skin [19]: back 0-2, palm 3-5, nail 6-8, blotches 9, grain 10, flush 11, lines 12, veins 13, translucency 14,
  gloss 15, sharpness 16, nail gloss 17, mm per texel of the noise volume 18.
cloth [8]: colour 0-2, second colour 3-5, pattern 6, period 7 (mm).
"""

from __future__ import annotations

import numpy as np

from jaxhands.render.compiled import kernel

_SHADOW_BIAS_MM = 2.5
_LAST_ATTRIBUTE = 11


@kernel
def shade_layer(
  face_map, samples, points, vertices, attributes, faces, num_hand, num_skin, noise, noise_offset,
  marks, marks_origin, marks_texel, skin, cloth, lights, surroundings, light_matrix, own_shadow, other_shadow,
  together, alone,
):  # fmt: skip
  """Fills `together` and `alone` [h, w, 3], the mean colour of the samples in each pixel that the mesh covers.

  `together` has the shade that the other hand throws on this one, `alone` has not. `face_map` [h s, w s] holds s = 1
  or 2 samples per pixel and axis; a face is shaded once per pixel, at the mean place of its samples.
  """
  height, width = together.shape[0], together.shape[1]
  value = np.empty(_LAST_ATTRIBUTE, np.float32)
  both = np.empty(3, np.float32)
  single = np.empty(3, np.float32)
  found = np.empty(4, np.int32)
  for y in range(height):
    for x in range(width):
      count = 0
      for i in range(samples):
        for j in range(samples):
          face = face_map[y * samples + i, x * samples + j]
          if face >= 0:
            found[count] = face
            count += 1
      if count == 0:
        continue
      for channel in range(3):
        together[y, x, channel] = 0.0
        alone[y, x, channel] = 0.0
      for k in range(count):
        face = found[k]
        first = True
        for earlier in range(k):
          first = first and found[earlier] != face
        if not first:
          continue
        column, row, same = 0.0, 0.0, 0
        for i in range(samples):
          for j in range(samples):
            if face_map[y * samples + i, x * samples + j] == face:
              column += x * samples + j
              row += y * samples + i
              same += 1
        _interpolate(points, faces, face, column / same, row / same, attributes, vertices, value, both)
        px, py, pz = both[0], both[1], both[2]
        _shade(
          px, py, pz, value, face < num_hand, face >= num_skin, noise, noise_offset, marks, marks_origin, marks_texel,
          skin, cloth, lights, surroundings, light_matrix, own_shadow, other_shadow, both, single,
        )  # fmt: skip
        share = np.float32(same / count)
        for channel in range(3):
          together[y, x, channel] += share * both[channel]
          alone[y, x, channel] += share * single[channel]


@kernel
def _interpolate(points, faces, face, x, y, attributes, vertices, value, place):
  """Attributes and place of a face at a position in the picture, perspective-correct."""
  a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
  ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
  vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
  dx, dy = x - points[a, 0], y - points[a, 1]
  area = ux * vy - uy * vx
  w1 = (dx * vy - dy * vx) / area
  w2 = (ux * dy - uy * dx) / area
  wa, wb, wc = (1.0 - w1 - w2) * points[a, 2], w1 * points[b, 2], w2 * points[c, 2]
  total = wa + wb + wc
  wa, wb, wc = np.float32(wa / total), np.float32(wb / total), np.float32(wc / total)
  for k in range(value.shape[0]):
    value[k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
  for k in range(3):
    place[k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]


@kernel
def _volume_at(volume, x, y, z):
  """Trilinear value of a volume that repeats; its side is a power of two."""
  last = volume.shape[0] - 1
  i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
  fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
  i, j, k = i & last, j & last, k & last
  ii, jj, kk = (i + 1) & last, (j + 1) & last, (k + 1) & last
  one = np.float32(1.0)
  near = (volume[i, j, k] * (one - fz) + volume[i, j, kk] * fz) * (one - fy) + (
    volume[i, jj, k] * (one - fz) + volume[i, jj, kk] * fz
  ) * fy
  far = (volume[ii, j, k] * (one - fz) + volume[ii, j, kk] * fz) * (one - fy) + (
    volume[ii, jj, k] * (one - fz) + volume[ii, jj, kk] * fz
  ) * fy
  return near * (one - fx) + far * fx


@kernel
def _mark_at(marks, side, x, y, kind):
  """Bilinear value of a mark picture, 0 outside."""
  i, j = int(np.floor(x)), int(np.floor(y))
  if i < 0 or j < 0 or i + 1 >= marks.shape[1] or j + 1 >= marks.shape[2]:
    return np.float32(0.0)
  fx, fy = np.float32(x - i), np.float32(y - j)
  one = np.float32(1.0)
  return (marks[side, i, j, kind] * (one - fy) + marks[side, i, j + 1, kind] * fy) * (one - fx) + (
    marks[side, i + 1, j, kind] * (one - fy) + marks[side, i + 1, j + 1, kind] * fy
  ) * fx


@kernel
def _lit(shadow, x, y, nearness):
  """Share of a light that reaches a point past a shadow map: 3 x 3 texels with soft borders."""
  i, j = int(np.floor(x)) - 1, int(np.floor(y)) - 1
  if i < 0 or j < 0 or i + 3 >= shadow.shape[1] or j + 3 >= shadow.shape[0]:
    return np.float32(1.0)
  fx, fy = x - np.floor(x), y - np.floor(y)
  lit = 0.0
  for row in range(4):
    wy = 1.0 - fy if row == 0 else (fy if row == 3 else 1.0)
    for column in range(4):
      if nearness >= shadow[j + row, i + column]:
        wx = 1.0 - fx if column == 0 else (fx if column == 3 else 1.0)
        lit += wx * wy
  return np.float32(lit / 9.0)


@kernel
def _shade(
  px, py, pz, value, is_hand, is_cloth, noise, noise_offset, marks, marks_origin, marks_texel, skin, cloth, lights,
  surroundings, light_matrix, own_shadow, other_shadow, both, single,
):  # fmt: skip
  """Colour of one surface point with (`both`) and without (`single`) the other hand's shade."""
  nx, ny, nz = value[3], value[4], value[5]
  scale = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
  nx, ny, nz = nx * scale, ny * scale, nz * scale
  scale = np.float32(-1.0) / np.sqrt(px * px + py * py + pz * pz)
  vx, vy, vz = px * scale, py * scale, pz * scale
  facing = nx * vx + ny * vy + nz * vz
  inside = is_cloth and facing < -0.2
  if inside:
    nx, ny, nz = -nx, -ny, -nz

  red, green, blue, gloss, sharpness, creep = _surface(
    value, is_hand, is_cloth, noise, noise_offset, marks, marks_origin, marks_texel, skin, cloth
  )
  up = np.float32(0.5) + np.float32(0.5) * (nx * surroundings[0] + ny * surroundings[1] + nz * surroundings[2])
  dim = np.float32(0.15) if inside else np.float32(1.0)
  own_sky, other_sky = value[9] * dim, value[10]
  ambient_r = own_sky * (surroundings[6] + up * (surroundings[3] - surroundings[6]))
  ambient_g = own_sky * (surroundings[7] + up * (surroundings[4] - surroundings[7]))
  ambient_b = own_sky * (surroundings[8] + up * (surroundings[5] - surroundings[8]))
  both[0], both[1], both[2] = ambient_r * other_sky * red, ambient_g * other_sky * green, ambient_b * other_sky * blue
  single[0], single[1], single[2] = ambient_r * red, ambient_g * green, ambient_b * blue

  for light in range(lights.shape[0]):
    lx, ly, lz = lights[light, 0], lights[light, 1], lights[light, 2]
    cosine = nx * lx + ny * ly + nz * lz
    if cosine <= -creep:
      continue
    # Lamps without a shadow map of their own reach hidden places as the surroundings do.
    mine, theirs = np.sqrt(own_sky), np.sqrt(other_sky)
    if light == 0:
      shift = _SHADOW_BIAS_MM
      mx, my, mz = px + nx * shift, py + ny * shift, pz + nz * shift
      column = light_matrix[0, 0] * mx + light_matrix[0, 1] * my + light_matrix[0, 2] * mz + light_matrix[0, 3]
      row = light_matrix[1, 0] * mx + light_matrix[1, 1] * my + light_matrix[1, 2] * mz + light_matrix[1, 3]
      near = light_matrix[2, 0] * mx + light_matrix[2, 1] * my + light_matrix[2, 2] * mz + light_matrix[2, 3]
      near += _SHADOW_BIAS_MM
      mine = _lit(own_shadow, column, row, near) * dim
      theirs = _lit(other_shadow, column, row, near)
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    half = max(np.float32(0.0), (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-9))
    shine = np.float32(0.0)
    if cosine > 0:
      shine = gloss * (sharpness + np.float32(8.0)) * np.float32(0.125) * half**sharpness * min(1.0, 4.0 * cosine)
    for channel in range(3):
      wrap = creep * (1.0 if channel == 0 else (0.4 if channel == 1 else 0.25))
      diffuse = max(0.0, (cosine + wrap) / (1.0 + wrap))
      colour = red if channel == 0 else (green if channel == 1 else blue)
      light_here = np.float32(lights[light, 3 + channel] * (colour * diffuse + shine)) * mine
      both[channel] += light_here * theirs
      single[channel] += light_here


@kernel
def _surface(value, is_hand, is_cloth, noise, noise_offset, marks, marks_origin, marks_texel, skin, cloth):
  """What the surface is made of: red, green, blue, gloss, sharpness of the gloss, how far light creeps."""
  u, v, w = value[0], value[1], value[2]
  texel = np.float32(1.0) / skin[18]
  x, y, z = u * texel + noise_offset[0], v * texel + noise_offset[1], w * texel + noise_offset[2]
  coarse = _volume_at(noise, x, y, z)
  # 3.7 and a turn: the fine noise shows no trace of the coarse one.
  fine = _volume_at(noise, 3.7 * y, 3.7 * z, 3.7 * x)
  zero = np.float32(0.0)
  if is_cloth:
    mix = zero
    if cloth[6] > 0:
      bar = np.float32(1.0) if (u / cloth[7]) % 1.0 < 0.4 else zero
      mix = bar
      if cloth[6] > 1:
        mix = np.float32(0.5) * (bar + (np.float32(1.0) if (v / cloth[7]) % 1.0 < 0.4 else zero))
    weave = np.float32(1.0) + np.float32(0.06) * coarse + np.float32(0.08) * fine
    return (
      (cloth[0] + mix * (cloth[3] - cloth[0])) * weave,
      (cloth[1] + mix * (cloth[4] - cloth[1])) * weave,
      (cloth[2] + mix * (cloth[5] - cloth[2])) * weave,
      np.float32(0.004), np.float32(8.0), np.float32(0.05),
    )  # fmt: skip
  palm = min(np.float32(1.0), max(zero, value[6]))
  red = skin[0] + palm * (skin[3] - skin[0])
  green = skin[1] + palm * (skin[4] - skin[1])
  blue = skin[2] + palm * (skin[5] - skin[2])
  line, vein = zero, zero
  mx, my = (u - marks_origin[0]) / marks_texel, (v - marks_origin[1]) / marks_texel
  if palm > 0.1:
    line = palm * _mark_at(marks, 1, mx, my, 0)
  if palm < 0.9:
    line += (1 - palm) * _mark_at(marks, 0, mx, my, 0)
    vein = (1 - palm) * _mark_at(marks, 0, mx, my, 1)
  nail = zero
  if is_hand:
    nail = min(np.float32(1.0), max(zero, (value[7] - np.float32(0.35)) / np.float32(0.3)))
    nail = nail * nail * (np.float32(3.0) - np.float32(2.0) * nail)
  bare = np.float32(1.0) - nail
  blood = bare * (skin[9] * coarse + skin[11] * (value[8] + np.float32(0.35) * palm)) + skin[12] * line
  shade = np.exp(-bare * (skin[10] * fine + skin[12] * line * np.float32(0.6) + skin[13] * vein))
  red = red * shade * np.exp(-np.float32(0.2) * blood - skin[13] * vein)
  green = green * shade * np.exp(-blood)
  blue = blue * shade * np.exp(-np.float32(0.9) * blood)
  red += nail * (skin[6] - red)
  green += nail * (skin[7] - green)
  blue += nail * (skin[8] - blue)
  gloss = (skin[15] * max(zero, np.float32(1.0) + np.float32(0.35) * fine - line)) * bare + nail * skin[17]
  sharpness = skin[16] + nail * (np.float32(90.0) - skin[16])
  return red, green, blue, gloss, sharpness, skin[14] * (np.float32(1.0) - np.float32(0.5) * nail)


@kernel
def compose(nearness, shaded, background, linear, samples, order, picture):
  """Mixes the layers of both hands with the background into `picture` [h, w, 3], linear light.

  Args:
    nearness: [2, h s, w s] inverse depth of each hand's mesh, 0 where it is not.
    shaded: [2, h, w, 3] its colours.
    background: [h, w, 3] uint8; `linear` [256] its linear light.
    order: 0 nearest first, 1 right before left, 2 left before right, 3 right alone, 4 left alone.
  """
  height, width = picture.shape[0], picture.shape[1]
  total = samples * samples
  for y in range(height):
    for x in range(width):
      right, left = 0, 0
      for i in range(samples):
        for j in range(samples):
          a = nearness[0, y * samples + i, x * samples + j]
          b = nearness[1, y * samples + i, x * samples + j]
          if a > 0 and order != 4 and (b == 0 or order == 1 or order == 3 or (order == 0 and a >= b)):
            right += 1
          elif b > 0 and order != 3:
            left += 1
      wr, wl = np.float32(right / total), np.float32(left / total)
      wb = np.float32(1.0) - wr - wl
      for channel in range(3):
        colour = np.float32(0.0)
        if wb > 0:
          colour += wb * linear[background[y, x, channel]]
        if right > 0:
          colour += wr * shaded[0, y, x, channel]
        if left > 0:
          colour += wl * shaded[1, y, x, channel]
        picture[y, x, channel] = colour
