"""Run by Blender, not by Python: opens a file of meshes and says where Blender has what is in it.

    blender --background --factory-startup --python-exit-code 1 --python tests/meshes/in_blender.py -- \
      FILE OUT.json TIME_S... [--render OUT.png]

Blender's frame is x right, y away from the viewer, z up; what is said is in the files' frame, metres, y up.
"""

import json
import pathlib
import sys

import bpy
import numpy as np

if not hasattr(np, "bool"):
  np.bool = bool  # Debian 12's Blender asks for it, and Debian 12's NumPy has it no longer


def _in_files(point):
  return [point[0], point[2], -point[1]]


def _meshes():
  """{object: vertices} as they are at the moment."""
  graph = bpy.context.evaluated_depsgraph_get()
  found = {}
  for thing in bpy.context.scene.objects:
    if thing.type == "MESH" and thing.name.split(".")[0] in ("right_hand", "left_hand"):
      posed = thing.evaluated_get(graph)
      mesh = posed.to_mesh()
      found[thing.name] = [_in_files(posed.matrix_world @ vertex.co) for vertex in mesh.vertices]
      posed.to_mesh_clear()
  return found


def _joints():
  """{bone: head} as they are at the moment."""
  armatures = [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]
  return {
    bone.name: _in_files(armature.matrix_world @ bone.head) for armature in armatures for bone in armature.pose.bones
  }


def _open(path):
  suffix = path.suffix[1:]
  if suffix == "glb":
    bpy.ops.import_scene.gltf(filepath=str(path))
  elif suffix == "bvh":
    from io_anim_bvh import import_bvh

    # Debian 12's asks for "rU", which its Python knows no longer.
    import_bvh.open = lambda path, mode: pathlib.Path(path).open()  # noqa: SIM115 (its caller closes it)
    bpy.ops.import_anim.bvh(filepath=str(path), update_scene_fps=True)
  else:
    raise ValueError(f"{path} is neither .glb nor .bvh")


def _render(path):
  scene = bpy.context.scene
  scene.camera = next(thing for thing in scene.objects if thing.type == "CAMERA")
  for place in ((-0.4, 0.2, 0.5), (0.5, -0.3, 0.4)):
    light = bpy.data.objects.new("light", bpy.data.lights.new("light", "POINT"))
    light.data.energy, light.location = 8, place
    scene.collection.objects.link(light)
  scene.world = bpy.data.worlds.new("world")
  scene.world.color = (0.3, 0.3, 0.3)
  scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 32, False
  scene.render.resolution_x, scene.render.resolution_y, scene.render.filepath = 640, 480, str(path)
  bpy.ops.render.render(write_still=True)


def main(arguments):
  """See the module."""
  picture = arguments.pop(arguments.index("--render") + 1) if "--render" in arguments else None
  file, out, *times = [word for word in arguments if word != "--render"]
  bpy.ops.wm.read_factory_settings(use_empty=True)
  _open(pathlib.Path(file))
  scene, moments = bpy.context.scene, []
  for time in map(float, times):
    frame = time * scene.render.fps / scene.render.fps_base + (1 if file.endswith(".bvh") else 0)
    scene.frame_set(int(frame), subframe=frame - int(frame))
    moments.append({"meshes": _meshes(), "joints": _joints()})
  cameras = [thing.name for thing in scene.objects if thing.type == "CAMERA"]
  told = {"version": bpy.app.version_string, "moments": moments, "cameras": cameras}
  pathlib.Path(out).write_text(json.dumps(told))
  if picture:
    _render(picture)


main(sys.argv[sys.argv.index("--") + 1 :])
