"""Colour of a hand's pixels in linear light, by compiled passes over shading points.

A shading point is a face in a pixel. `find_points` lists them, `interpolate` gives each its attributes, `material` what
the surface is made of there, `crevices` what hides it close by, `light` its colour, `scatter` brings the colours back
into the picture.

The passes share small packed float32 arrays, whose columns are named here.

attributes [N, 13] per vertex: 0-2 skin coordinates, 3-5 normal (camera), 6 palm, 7-8 place on the nail, 9 flush,
  10 blotch, 11 light of the surroundings that reaches it past its own hand, 12 past the other hand.
table [P, 16] per shading point: the attributes, 13-15 place (camera).
materials [P, 6]: red, green, blue, gloss, sharpness of the gloss, how far light creeps round into the shade.
skin [19]: back 0-2, palm 3-5, nail 6-8, blotches 9, grain 10, flush 11, lines 12, veins 13, translucency 14,
  gloss 15, sharpness 16, nail gloss 17, mm per texel of the fine noise 18.
cloth [8]: colour 0-2, second colour 3-5, pattern 6, period 7 (mm).
lights [L, 6]: direction to the light (camera), colour. surroundings [9]: up (camera), sky, ground.
"""

from __future__ import annotations

import numpy as np

from jaxhands.geometry.compiled import fast_kernel, kernel

NUM_ATTRIBUTES = 13
_SHADOW_BIAS_MM = np.float32(2.5)
# Pictures show the parts that the other hand hides, lit as they are: not so dark there that nothing is to be seen.
_OTHER_SHADE = np.float32(0.55)
_SHADOW_BORDER = np.float32(8.0)  # texels over which shadows fade out towards the border of their map
# Samples of a pixel whose nearness differs by less belong to one surface, which is shaded once.
_SAME_SURFACE = np.float32(0.994)
_NAIL_SHARPNESS = np.float32(90.0)
_CREVICE_MM = np.float32(7.0)
_AROUND = np.array([(np.cos(k * np.pi / 3 + 0.3), np.sin(k * np.pi / 3 + 0.3)) for k in range(6)], np.float32)
_AT_ONCE = 1024  # shading points whose tables fit in a core's cache
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_HALF, _TWO, _THREE, _EIGHT = np.float32(0.5), np.float32(2.0), np.float32(3.0), np.float32(8.0)


@kernel
def find_points(face_map, nearness, hidden_by, samples, box, pixels, faces, places, shares):
  """Lists the shading points of a layer and returns their number P.

  Samples of a pixel that lie on one surface share a point: on the face with most of them, at their mean place.

  Args:
    face_map, nearness: [h s, w s], s = 1 or 2 samples per pixel and axis.
    hidden_by: [h s, w s] nearness of what hides; pixels all of whose samples are hidden are left out.
    box: first and last row, first and last column of pixels to look at, the last ones excluded.
    pixels, faces, places, shares: outputs with room for h s w s points: number of the pixel, face, x and y in
      samples, share of the pixel's samples on the layer.
  """
  width = face_map.shape[1] // samples
  found, depth = np.empty(4, np.int32), np.empty(4, np.float32)
  column, row = np.empty(4, np.int32), np.empty(4, np.int32)
  points = 0
  for y in range(box[0], box[1]):
    for x in range(box[2], box[3]):
      if samples == 2:
        i, j = 2 * y, 2 * x
        face = face_map[i, j]
        if face == face_map[i, j + 1] and face == face_map[i + 1, j] and face == face_map[i + 1, j + 1]:  # most pixels
          if face >= 0 and (
            hidden_by[i, j] <= nearness[i, j]
            or hidden_by[i, j + 1] <= nearness[i, j + 1]
            or hidden_by[i + 1, j] <= nearness[i + 1, j]
            or hidden_by[i + 1, j + 1] <= nearness[i + 1, j + 1]
          ):
            pixels[points], faces[points], shares[points] = y * width + x, face, _ONE
            places[points, 0], places[points, 1] = j + _HALF, i + _HALF
            points += 1
          continue
      count, seen = 0, False
      for i in range(y * samples, (y + 1) * samples):
        for j in range(x * samples, (x + 1) * samples):
          if face_map[i, j] >= 0:
            found[count], depth[count], column[count], row[count] = face_map[i, j], nearness[i, j], j, i
            seen |= hidden_by[i, j] <= depth[count]
            count += 1
      if not seen:
        continue
      one = True
      for k in range(1, count):
        one &= found[k] == found[0]
      if one:
        sum_x, sum_y = 0, 0
        for k in range(count):
          sum_x, sum_y = sum_x + column[k], sum_y + row[k]
        pixels[points], faces[points], shares[points] = y * width + x, found[0], _ONE
        places[points, 0], places[points, 1] = sum_x / count, sum_y / count
        points += 1
        continue
      for first in range(count):
        if found[first] < 0:
          continue
        near, face, most, surface = depth[first], found[first], 0, 0
        for k in range(first, count):
          if found[k] >= 0 and min(near, depth[k]) > _SAME_SURFACE * max(near, depth[k]):
            surface += 1
            same = 0
            for m in range(first, count):
              same += found[m] == found[k]
            if same > most:
              face, most = found[k], same
        same, sum_x, sum_y = 0, 0, 0
        for k in range(first, count):
          if found[k] >= 0 and min(near, depth[k]) > _SAME_SURFACE * max(near, depth[k]):
            if found[k] == face:
              sum_x, sum_y, same = sum_x + column[k], sum_y + row[k], same + 1
            found[k] = -1
        pixels[points], faces[points], shares[points] = y * width + x, face, np.float32(surface) / np.float32(count)
        places[points, 0], places[points, 1] = sum_x / same, sum_y / same
        points += 1
  return points


@kernel
def interpolate(points, triangles, vertices, attributes, faces, places, table):
  """Fills `table`: attributes and place of each shading point, perspective-correct."""
  last = attributes.shape[1]
  for p in range(faces.shape[0]):
    a, b, c = triangles[faces[p], 0], triangles[faces[p], 1], triangles[faces[p], 2]
    ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
    vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
    dx, dy = places[p, 0] - points[a, 0], places[p, 1] - points[a, 1]
    scale = 1.0 / (ux * vy - uy * vx)
    w1 = (dx * vy - dy * vx) * scale
    w2 = (ux * dy - uy * dx) * scale
    wa, wb, wc = (1.0 - w1 - w2) * points[a, 2], w1 * points[b, 2], w2 * points[c, 2]
    scale = 1.0 / (wa + wb + wc)
    sa, sb, sc = np.float32(wa * scale), np.float32(wb * scale), np.float32(wc * scale)
    for k in range(last):
      table[p, k] = sa * attributes[a, k] + sb * attributes[b, k] + sc * attributes[c, k]
    for k in range(3):
      table[p, last + k] = sa * vertices[a, k] + sb * vertices[b, k] + sc * vertices[c, k]


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
def _lit(shadow, x, y, nearness):
  """Share of a light that reaches a point past a shadow map: 3 x 3 texels with soft borders."""
  fi, fj = np.floor(x), np.floor(y)
  i, j = int(fi) - 1, int(fj) - 1
  dark = _ZERO
  if i >= 0 and j >= 0 and i + 3 < shadow.shape[1] and j + 3 < shadow.shape[0]:
    fx, fy = x - fi, y - fj
    for row in range(4):
      a = (_ONE - fx) if nearness < shadow[j + row, i] else _ZERO
      b = _ONE if nearness < shadow[j + row, i + 1] else _ZERO
      c = _ONE if nearness < shadow[j + row, i + 2] else _ZERO
      d = fx if nearness < shadow[j + row, i + 3] else _ZERO
      dark += (a + b + c + d) * (_ONE - fy if row == 0 else (fy if row == 3 else _ONE))
    border = min(min(x, y), min(np.float32(shadow.shape[1]) - x, np.float32(shadow.shape[0]) - y))
    dark *= min(_ONE, border / _SHADOW_BORDER)
  return _ONE - dark * np.float32(1.0 / 9.0)


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


@fast_kernel
def crevices(table, places, nearness, camera, open_sky):
  """Fills `open_sky`: the share of light from all around that what lies close by lets through, 1 in the open.

  Looks at the surface some millimetres away in six directions of the picture: what rises over the point's tangent
  plane there hides a part of its sky. So fingers on one another, or a thumb on the palm, are seen apart.

  Args:
    nearness: of the layer, in samples. camera [4]: focal lengths and principal point in samples.
  """
  for p in range(table.shape[0]):
    px, py, pz = table[p, 13], table[p, 14], table[p, 15]
    nx, ny, nz = table[p, 3], table[p, 4], table[p, 5]
    scale = _ONE / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    step = camera[0] * _CREVICE_MM / pz
    hidden = _ZERO
    for k in range(6):
      reach = step if k % 2 == 0 else _HALF * step
      x, y = int(places[p, 0] + _AROUND[k, 0] * reach), int(places[p, 1] + _AROUND[k, 1] * reach)
      if x < 0 or y < 0 or x >= nearness.shape[1] or y >= nearness.shape[0] or nearness[y, x] <= _ZERO:
        continue
      depth = _ONE / nearness[y, x]
      vx = (np.float32(x) - camera[2]) / camera[0] * depth - px
      vy = (np.float32(y) - camera[3]) / camera[1] * depth - py
      vz = depth - pz
      square = vx * vx + vy * vy + vz * vz + np.float32(1e-6)
      rise = (vx * nx + vy * ny + vz * nz) * scale / np.sqrt(square) - np.float32(0.15)
      if rise > _ZERO:
        hidden += rise / (_ONE + square * np.float32(1.0 / 200.0))
    open_sky[p] = _ONE / (_ONE + np.float32(0.45) * hidden * (_ONE + hidden))


@fast_kernel
def light(
  table, materials, faces, num_skin, lights, surroundings, light_matrix, own_shadow, other_shadow, open_sky, colours
):
  """Fills the colours [P, 3] of the shading points.

  Wrapped diffuse light, which creeps farthest in red, and Blinn's gloss; the first light is stopped by the shadow
  maps (the other hand's may be empty), the others are as dim in hidden places as the root of the surroundings' light.
  """
  for p in range(table.shape[0]):
    nx, ny, nz = table[p, 3], table[p, 4], table[p, 5]
    scale = _ONE / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    px, py, pz = table[p, 13], table[p, 14], table[p, 15]
    scale = -_ONE / np.sqrt(px * px + py * py + pz * pz)
    vx, vy, vz = px * scale, py * scale, pz * scale
    dim = _ONE
    if faces[p] >= num_skin and nx * vx + ny * vy + nz * vz < np.float32(-0.2):  # the inside of a sleeve
      nx, ny, nz = -nx, -ny, -nz
      dim = np.float32(0.15)
    red, green, blue = materials[p, 0], materials[p, 1], materials[p, 2]
    gloss, sharpness, creep = materials[p, 3], materials[p, 4], materials[p, 5]
    wrap_green, wrap_blue = np.float32(0.4) * creep, np.float32(0.25) * creep

    up = _HALF + _HALF * (nx * surroundings[0] + ny * surroundings[1] + nz * surroundings[2])
    own_sky, other_sky = table[p, 11] * dim * open_sky[p], table[p, 12]
    sky = own_sky * other_sky
    colours[p, 0] = red * sky * (surroundings[6] + up * (surroundings[3] - surroundings[6]))
    colours[p, 1] = green * sky * (surroundings[7] + up * (surroundings[4] - surroundings[7]))
    colours[p, 2] = blue * sky * (surroundings[8] + up * (surroundings[5] - surroundings[8]))

    for k in range(lights.shape[0]):
      lx, ly, lz = lights[k, 0], lights[k, 1], lights[k, 2]
      cosine = nx * lx + ny * ly + nz * lz
      if cosine <= -creep:
        continue
      if k == 0:
        mx, my, mz = px + nx * _SHADOW_BIAS_MM, py + ny * _SHADOW_BIAS_MM, pz + nz * _SHADOW_BIAS_MM
        column = light_matrix[0, 0] * mx + light_matrix[0, 1] * my + light_matrix[0, 2] * mz + light_matrix[0, 3]
        row = light_matrix[1, 0] * mx + light_matrix[1, 1] * my + light_matrix[1, 2] * mz + light_matrix[1, 3]
        near = light_matrix[2, 0] * mx + light_matrix[2, 1] * my + light_matrix[2, 2] * mz + light_matrix[2, 3]
        reaches = _lit(own_shadow, column, row, near + _SHADOW_BIAS_MM) * dim * (_HALF + _HALF * open_sky[p])
        if other_shadow.shape[0] > 0:
          reaches *= _ONE - _OTHER_SHADE * (_ONE - _lit(other_shadow, column, row, near + _SHADOW_BIAS_MM))
      else:
        reaches = np.sqrt(sky)
      hx, hy, hz = lx + vx, ly + vy, lz + vz
      half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-9))
      shine = _ZERO
      lobe = _ONE + sharpness * (half - _ONE) * np.float32(1.0 / 16.0)
      if cosine > _ZERO and lobe > np.float32(0.55):
        # About half^sharpness, which is about exp(sharpness (half - 1)); at 0.55 it is no longer seen.
        lobe *= lobe
        lobe *= lobe
        lobe *= lobe
        lobe *= lobe
        shine = gloss * (sharpness * np.float32(0.125) + _ONE) * lobe * min(_ONE, np.float32(4.0) * cosine)
      colours[p, 0] += lights[k, 3] * reaches * (red * max(_ZERO, cosine + creep) / (_ONE + creep) + shine)
      colours[p, 1] += lights[k, 4] * reaches * (green * max(_ZERO, cosine + wrap_green) / (_ONE + wrap_green) + shine)
      colours[p, 2] += lights[k, 5] * reaches * (blue * max(_ZERO, cosine + wrap_blue) / (_ONE + wrap_blue) + shine)


@kernel
def scatter(pixels, shares, colours, picture):
  """Sums the shares of the shading points of each pixel, which follow one another, in `picture` [h, w, 3]."""
  width = picture.shape[1]
  last = -1
  for p in range(pixels.shape[0]):
    y, x = pixels[p] // width, pixels[p] % width
    for channel in range(3):
      before = picture[y, x, channel] if pixels[p] == last else _ZERO
      picture[y, x, channel] = before + shares[p] * colours[p, channel]
    last = pixels[p]


@kernel
def shade(
  pixels, faces, places, shares, points, triangles, vertices, attributes, num_hand, num_skin, noise, noise_offset,
  marks, marks_origin, marks_texel, skin, cloth, corners, texture, lights, surroundings, light_matrix, own_shadow,
  other_shadow, nearness, camera, picture,
):  # fmt: skip
  """All passes after `find_points`, for a few points at a time, whose tables stay in the cache."""
  table = np.empty((_AT_ONCE, attributes.shape[1] + 3), np.float32)
  materials, colours = np.empty((_AT_ONCE, 6), np.float32), np.empty((_AT_ONCE, 3), np.float32)
  open_sky = np.empty(_AT_ONCE, np.float32)
  start, total = 0, pixels.shape[0]
  while start < total:
    end = min(start + _AT_ONCE, total)
    while end < total and pixels[end] == pixels[end - 1]:  # no pixel in two parts
      end -= 1
    n = end - start
    interpolate(points, triangles, vertices, attributes, faces[start:end], places[start:end], table[:n])
    material(
      table[:n], faces[start:end], num_hand, num_skin, noise, noise_offset, marks, marks_origin, marks_texel, skin,
      cloth, materials[:n],
    )  # fmt: skip
    if texture.shape[0] > 0:
      paint(points, triangles, faces[start:end], places[start:end], num_hand, corners, texture, materials[:n])
    crevices(table[:n], places[start:end], nearness, camera, open_sky[:n])
    light(
      table[:n], materials[:n], faces[start:end], num_skin, lights, surroundings, light_matrix, own_shadow,
      other_shadow, open_sky[:n], colours[:n],
    )  # fmt: skip
    scatter(pixels[start:end], shares[start:end], colours[:n], picture)
    start = end


@kernel
def compose(nearness, shaded, background, linear, samples, order, box, picture):
  """Mixes the layers of both hands with the background into `picture` [h, w, 3], linear light.

  Args:
    nearness: [2, h s, w s] inverse depth of each hand's mesh, 0 where it is not.
    shaded: [2, h, w, 3] its colours.
    background: [h, w, 3] uint8; `linear` [256] its linear light.
    order: 0 nearest first, 1 right before left, 2 left before right, 3 right alone, 4 left alone.
    box: first and last row, first and last column of pixels that hands may cover, the last ones excluded.
  """
  height, width = picture.shape[0], picture.shape[1]
  scale = _ONE / np.float32(samples * samples)
  for y in range(height):
    for x in range(width):
      for channel in range(3):
        picture[y, x, channel] = linear[background[y, x, channel]]
  for y in range(box[0], box[1]):
    for x in range(box[2], box[3]):
      right, left = 0, 0
      for i in range(y * samples, (y + 1) * samples):
        for j in range(x * samples, (x + 1) * samples):
          a, b = nearness[0, i, j], nearness[1, i, j]
          if a > _ZERO and order != 4 and (b == _ZERO or order == 1 or order == 3 or (order == 0 and a >= b)):
            right += 1
          elif b > _ZERO and order != 3:
            left += 1
      if right == 0 and left == 0:
        continue
      wr, wl = np.float32(right) * scale, np.float32(left) * scale
      for channel in range(3):
        colour = (_ONE - wr - wl) * picture[y, x, channel]
        if right > 0:
          colour += wr * shaded[0, y, x, channel]
        if left > 0:
          colour += wl * shaded[1, y, x, channel]
        picture[y, x, channel] = colour
