// Hands in space, to be turned: meshes with a depth buffer where there are any, skeletons else. Needs no WebGL.
// Camera frame: x right, y down, z forward, mm.
class Space {
  // colours: [hand][finger] rgb; chains: joints of each finger; faces: [hand] Uint16Array, three vertices a face, or null;
  // sureness: { stops, unsure }, colours of deviations from 0 to `unsure` mm, for `sure`.
  constructor(canvas, { colours, chains, faces, sureness }) {
    Object.assign(this, { canvas, colours, chains, faces, sureness, pen: canvas.getContext("2d"), hands: [], others: [] });
    this.sure = false;  // hands with a deviation [21] are shown in its colours, with their samples
    this.view = { yaw: 0.5, pitch: 0.25, zoom: 1 };
    this.scene = { centre: [0, 0, 0], radius: 120, floor: 0 };
    this.layer = document.createElement("canvas");
    this.listen();
  }

  // hands: right and left, null where one is not; each with joints [21][3] and confidence [21], or with a mesh of `unpack`.
  show(hands) { this.hands = hands; this.draw(); }

  frame(hands) {
    const points = hands.flatMap(hand => hand ? hand.joints : []);
    if (!points.length) return;
    const low = [0, 1, 2].map(i => points.reduce((m, p) => Math.min(m, p[i]), Infinity));
    const high = [0, 1, 2].map(i => points.reduce((m, p) => Math.max(m, p[i]), -Infinity));
    this.scene = {
      centre: low.map((v, i) => (v + high[i]) / 2),
      radius: Math.max(60, Math.hypot(...low.map((v, i) => (high[i] - v) / 2))),
      floor: high[1] + 15,
    };
  }

  turn(to) { Object.assign(this.view, { zoom: 1 }, to); this.draw(); this.others.forEach(other => other.follow(this)); }
  follow(other) { this.view = { ...other.view }; this.draw(); }

  // The frame turned about the middle of the hands, and seen from in front of it; `scale` is pixels per mm there.
  turned([x, y, z]) {
    const cy = Math.cos(this.view.yaw), sy = Math.sin(this.view.yaw);
    const cp = Math.cos(this.view.pitch), sp = Math.sin(this.view.pitch);
    const z1 = -sy * x + cy * z;
    return [cy * x + sy * z, cp * y - sp * z1, sp * y + cp * z1];
  }

  project(point) {
    const [x, y, z] = this.turned(point.map((v, i) => v - this.scene.centre[i])), { width, height } = this.canvas;
    const depth = this.scene.radius * 4 + z;
    const scale = this.view.zoom * 0.42 * Math.min(width, height) / this.scene.radius * (this.scene.radius * 4) / depth;
    return { x: width / 2 + x * scale, y: height / 2 + y * scale, depth, scale };
  }

  draw() {
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.round(box.width * devicePixelRatio);
    this.canvas.height = Math.round(box.height * devicePixelRatio);
    if (!this.canvas.width || !this.canvas.height) return;
    const pen = this.pen;
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.hands.some(Boolean)) {
      pen.fillStyle = getComputedStyle(this.canvas).color;
      pen.font = `${15 * devicePixelRatio}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.fillText("no hand was found", this.canvas.width / 2, this.canvas.height / 2);
      return;
    }
    this.drawFloor();
    if (this.hands.some(hand => this.meshed(hand))) this.drawMeshes();
    if (this.sure) this.drawSamples();
    this.skeletons().sort((a, b) => b.depth - a.depth).forEach(item => item.draw());
  }

  spread(hand) { return this.sure && hand && hand.deviation; }
  meshed(hand) { return hand && hand.mesh && !this.spread(hand); }

  drawFloor() {
    const { centre: [cx, , cz], floor, radius } = this.scene, pen = this.pen;
    const step = 50, reach = Math.ceil(radius * 1.5 / step) * step;
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--line");
    pen.lineWidth = devicePixelRatio;
    for (let at = -reach; at <= reach; at += step) {
      for (const [a, b] of [[[cx + at, floor, cz - reach], [cx + at, floor, cz + reach]],
                            [[cx - reach, floor, cz + at], [cx + reach, floor, cz + at]]]) {
        const p = this.project(a), q = this.project(b);
        if (p.depth <= 1 || q.depth <= 1) continue;
        pen.beginPath(); pen.moveTo(p.x, p.y); pen.lineTo(q.x, q.y); pen.stroke();
      }
    }
  }

  drawMeshes() {
    const fine = devicePixelRatio < 2 ? 2 : 1;  // samples a pixel, in each direction
    const width = this.canvas.width * fine, height = this.canvas.height * fine;
    this.layer.width = width;
    this.layer.height = height;
    const pen = this.layer.getContext("2d"), image = pen.createImageData(width, height);
    const nearness = new Float32Array(width * height);
    this.hands.forEach((hand, side) => {
      if (this.meshed(hand)) this.fill(hand.mesh, this.faces[side], this.colours[side][2], fine, image, nearness);
    });
    pen.putImageData(image, 0, 0);
    this.pen.imageSmoothingQuality = "high";
    this.pen.drawImage(this.layer, 0, 0, this.canvas.width, this.canvas.height);
  }

  fill({ points, normals }, faces, rgb, fine, image, nearness) {
    const { width, height, data } = image, count = points.length / 3;
    const x = new Float32Array(count), y = new Float32Array(count), near = new Float32Array(count);
    const light = new Float32Array(count);
    for (let v = 0; v < count; v++) {
      const p = this.project([points[3 * v], points[3 * v + 1], points[3 * v + 2]]);
      x[v] = p.x * fine; y[v] = p.y * fine; near[v] = p.depth > 1 ? 1 / p.depth : 0;
      const n = this.turned([normals[3 * v], normals[3 * v + 1], normals[3 * v + 2]]);
      const lit = Math.max(0, -0.35 * n[0] - 0.65 * n[1] - 0.67 * n[2]);
      light[v] = 0.42 + 0.62 * lit + 0.25 * lit ** 12;
    }
    for (let f = 0; f < faces.length; f += 3) {
      const a = faces[f], b = faces[f + 1], c = faces[f + 2];
      if (!near[a] || !near[b] || !near[c]) continue;
      const ux = x[b] - x[a], uy = y[b] - y[a], vx = x[c] - x[a], vy = y[c] - y[a], area = ux * vy - uy * vx;
      if (Math.abs(area) < 1e-9) continue;
      const inside = area > 0;  // y runs down: seen from outside, corners run the other way
      const left = Math.max(0, Math.ceil(Math.min(x[a], x[b], x[c])));
      const right = Math.min(width - 1, Math.floor(Math.max(x[a], x[b], x[c])));
      const top = Math.max(0, Math.ceil(Math.min(y[a], y[b], y[c])));
      const bottom = Math.min(height - 1, Math.floor(Math.max(y[a], y[b], y[c])));
      for (let row = top; row <= bottom; row++) {
        for (let column = left; column <= right; column++) {
          const dx = column - x[a], dy = row - y[a];
          const s = (dx * vy - dy * vx) / area, t = (ux * dy - uy * dx) / area, r = 1 - s - t;
          if (r < 0 || s < 0 || t < 0) continue;
          const q = r * near[a] + s * near[b] + t * near[c], at = row * width + column;
          if (q <= nearness[at]) continue;
          nearness[at] = q;
          const shade = inside ? 0.2 : r * light[a] + s * light[b] + t * light[c];
          for (let i = 0; i < 3; i++) data[4 * at + i] = (0.6 * rgb[i] + 102) * shade;
          data[4 * at + 3] = 255;
        }
      }
    }
  }

  skeletons() {
    const found = [];
    this.hands.forEach((hand, side) => {
      if (!hand || this.meshed(hand)) return;
      const at = hand.joints.map(joint => this.project(joint)), colours = this.colours[side];
      const spread = this.spread(hand), of = (joint, finger) => spread ? this.sureColour(spread[joint]) : colours[finger];
      this.chains.forEach((chain, finger) => {
        for (let i = 1; i < chain.length; i++) {
          const p = at[chain[i - 1]], q = at[chain[i]], depth = (p.depth + q.depth) / 2;
          found.push({ depth, draw: () => this.line(p, q, of(chain[i], finger)) });
        }
        for (const joint of chain) {
          const size = 2.6 + 3.2 * hand.confidence[joint];
          found.push({ depth: at[joint].depth - 1, draw: () => this.dot(at[joint], size, of(joint, finger)) });
        }
      });
    });
    return found;
  }

  drawSamples() {
    const pen = this.pen;
    pen.globalAlpha = 0.3;
    this.hands.forEach((hand, side) => ((this.spread(hand) && hand.samples) || []).forEach(joints => {
      const at = joints.map(joint => this.project(joint));
      this.chains.forEach((chain, finger) => {
        for (let i = 1; i < chain.length; i++) this.line(at[chain[i - 1]], at[chain[i]], this.colours[side][finger], 1.2);
      });
    }));
    pen.globalAlpha = 1;
  }

  sureColour(deviation) {
    const { stops, unsure } = this.sureness, at = Math.min(deviation / unsure, 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((c, k) => c + (at - i) * (stops[i + 1][k] - c));
  }

  shade(rgb, depth) {
    const fog = Math.max(0.65, Math.min(1.1, 1.1 - 0.45 * (depth / this.scene.radius - 3) / 2));
    return `rgb(${rgb.map(c => Math.round(Math.min(255, c * fog))).join(",")})`;
  }

  line(p, q, rgb, width = 6) {
    const pen = this.pen;
    pen.strokeStyle = this.shade(rgb, (p.depth + q.depth) / 2);
    pen.lineWidth = width * (p.scale + q.scale) / 2;
    pen.lineCap = "round";
    pen.beginPath(); pen.moveTo(p.x, p.y); pen.lineTo(q.x, q.y); pen.stroke();
  }

  dot(p, size, rgb) {
    const pen = this.pen;
    pen.fillStyle = this.shade(rgb, p.depth);
    pen.strokeStyle = "rgba(255,255,255,.7)";
    pen.lineWidth = 0.8 * p.scale;
    pen.beginPath(); pen.arc(p.x, p.y, Math.max(1, size * p.scale), 0, 7); pen.fill(); pen.stroke();
  }

  listen() {
    const canvas = this.canvas, pointers = new Map();
    const zoomed = factor => Math.max(0.3, Math.min(8, this.view.zoom * factor));
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", event => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const now = [event.clientX, event.clientY];
      pointers.set(event.pointerId, now);
      if (pointers.size === 1) {
        const pitch = this.view.pitch + (now[1] - last[1]) * 0.008;
        this.turn({
          yaw: this.view.yaw - (now[0] - last[0]) * 0.008, pitch: Math.max(-1.57, Math.min(1.57, pitch)),
          zoom: this.view.zoom,
        });
      } else {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
        this.turn({ zoom: zoomed(gap(now) / (gap(last) || 1)) });
      }
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, event => pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.turn({ zoom: zoomed(Math.exp(-event.deltaY * 0.001)) });
    }, { passive: false });
    window.addEventListener("resize", () => this.draw());
  }

  static FRONT = { yaw: 0, pitch: 0 };
  static ABOVE = { yaw: 0, pitch: Math.PI / 2 };
  static SIDE = { yaw: -Math.PI / 2, pitch: 0 };

  static numbers(text, Kind) {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  // Poses [S][21][3] of `two_hands.packed`.
  static poses({ origin, tenths }) {
    const values = Array.from(Space.numbers(tenths, Int16Array), (value, i) => origin[i % 3] + value / 10);
    const points = Array.from({ length: values.length / 3 }, (_, i) => values.slice(3 * i, 3 * i + 3));
    return Array.from({ length: points.length / 21 }, (_, i) => points.slice(21 * i, 21 * i + 21));
  }

  // A mesh of `two_hands.packed`, tenths of millimetres from `origin`, with the normals of its vertices.
  static unpack({ origin, tenths }, faces) {
    const points = Float32Array.from(Space.numbers(tenths, Int16Array), (value, i) => origin[i % 3] + value / 10);
    const normals = new Float32Array(points.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [faces[f], faces[f + 1], faces[f + 2]].map(v => [0, 1, 2].map(i => points[3 * v + i]));
      const u = b.map((v, i) => v - a[i]), w = c.map((v, i) => v - a[i]);
      const n = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
      for (let k = 0; k < 3; k++) for (let i = 0; i < 3; i++) normals[3 * faces[f + k] + i] += n[i];
    }
    for (let v = 0; v < normals.length; v += 3) {
      const length = Math.hypot(normals[v], normals[v + 1], normals[v + 2]) || 1;
      for (let i = 0; i < 3; i++) normals[v + i] /= length;
    }
    return { points, normals };
  }
}
