"use strict";
/* The network on a canvas. Places are found once by springs (Fruchterman and Reingold 1991), in the order of the names
   for many nodes, and stay when numbers change; only what moved is drawn again. */
class Graph {
  constructor(canvas, onChoose) {
    this.canvas = canvas; this.onChoose = onChoose;
    this.nodes = []; this.edges = []; this.places = new Map(); this.pulses = new Map();
    this.scale = 1; this.dx = 0; this.dy = 0; this.chosen = null; this.waiting = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.listen();
  }

  update(nodes, edges) {
    const known = new Map(this.edges.map(([a, b, n]) => [a + "\0" + b, n]));
    for (const [a, b, n] of edges) {
      const before = known.get(a + "\0" + b);
      if (before !== undefined && n > before) this.pulses.set(a + "\0" + b, performance.now());
    }
    const fresh = nodes.length !== this.nodes.length || edges.length !== this.edges.length;
    this.nodes = nodes; this.edges = edges;
    if (fresh) this.layout();
    this.draw();
  }

  layout() {
    const n = this.nodes.length;
    this.nodes.forEach((node, i) => {
      if (!this.places.has(node.name) || n > 300) {
        const angle = 2 * Math.PI * i / n, r = n > 300 ? 0.35 + 0.13 * (i % 5) / 4 : 0.4 + 0.05 * (i % 2);
        this.places.set(node.name, [0.5 + r * Math.cos(angle), 0.5 + r * Math.sin(angle)]);
      }
    });
    if (n <= 300) this.relax(n < 60 ? 200 : 60);
  }

  relax(steps) {
    const p = this.nodes.map(node => this.places.get(node.name)), n = p.length;
    const at = new Map(this.nodes.map((node, i) => [node.name, i])), k = 0.8 / Math.sqrt(n || 1);
    for (let step = 0; step < steps; step++) {
      const f = p.map(() => [0, 0]), heat = 0.06 * (1 - step / steps);
      for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) {
        const x = p[i][0] - p[j][0], y = p[i][1] - p[j][1], d2 = x * x + y * y + 1e-6, push = k * k / d2;
        f[i][0] += x * push; f[i][1] += y * push; f[j][0] -= x * push; f[j][1] -= y * push;
      }
      for (const [a, b] of this.edges) {
        const i = at.get(a), j = at.get(b), x = p[i][0] - p[j][0], y = p[i][1] - p[j][1], pull = Math.hypot(x, y) / k;
        f[i][0] -= x * pull; f[i][1] -= y * pull; f[j][0] += x * pull; f[j][1] += y * pull;
      }
      for (let i = 0; i < n; i++) {
        const size = Math.hypot(f[i][0], f[i][1]) || 1, go = Math.min(size, heat) / size;
        p[i][0] = Math.min(0.96, Math.max(0.04, p[i][0] + f[i][0] * go));
        p[i][1] = Math.min(0.96, Math.max(0.04, p[i][1] + f[i][1] * go));
      }
    }
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  point(name) {
    const [x, y] = this.places.get(name) || [0.5, 0.5], w = this.canvas.clientWidth, h = this.canvas.clientHeight;
    return [(x * w - w / 2) * this.scale + w / 2 + this.dx, (y * h - h / 2) * this.scale + h / 2 + this.dy];
  }

  paint() {
    const { canvas } = this, ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (canvas.width !== w * ratio || canvas.height !== h * ratio) { canvas.width = w * ratio; canvas.height = h * ratio; }
    const c = canvas.getContext("2d"), style = getComputedStyle(document.documentElement), now = performance.now();
    const [ink, line, mark, bad] = ["--ink", "--line", "--mark", "--bad"].map(name => style.getPropertyValue(name));
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    c.strokeStyle = line; c.lineWidth = this.nodes.length > 300 ? 0.5 : 1; c.beginPath();
    for (const [a, b] of this.edges) { c.moveTo(...this.point(a)); c.lineTo(...this.point(b)); }
    c.stroke();
    let alive = false;
    c.strokeStyle = mark;
    for (const [key, since] of this.pulses) {
      const age = (now - since) / 1200;
      if (age >= 1) { this.pulses.delete(key); continue; }
      alive = true;
      const [a, b] = key.split("\0");
      c.globalAlpha = 1 - age; c.lineWidth = 2.5; c.beginPath(); c.moveTo(...this.point(a)); c.lineTo(...this.point(b)); c.stroke();
    }
    c.globalAlpha = 1;
    const r = Math.max(2.5, Math.min(13, 90 / Math.sqrt(this.nodes.length || 1))) * Math.min(2, Math.max(0.7, this.scale));
    c.font = "12px system-ui, sans-serif"; c.textAlign = "center";
    for (const node of this.nodes) {
      const [x, y] = this.point(node.name), off = node.state === "gone" || node.state === "silent";
      c.beginPath(); c.arc(x, y, r, 0, 7);
      c.fillStyle = off || node.accuracy === null ? line : colour(node.accuracy); c.fill();
      if (off || node.name === this.chosen) { c.strokeStyle = off ? bad : ink; c.lineWidth = 2; c.stroke(); }
      if (off) { c.beginPath(); c.moveTo(x - r / 2, y - r / 2); c.lineTo(x + r / 2, y + r / 2); c.stroke(); }
      if (this.nodes.length * 1 <= 80 || this.scale > 2.5) { c.fillStyle = ink; c.fillText(node.name, x, y + r + 13); }
    }
    if (alive) this.draw();
  }

  nearest(x, y) {
    let best = null, least = 18 * 18;
    for (const node of this.nodes) {
      const [a, b] = this.point(node.name), d = (a - x) ** 2 + (b - y) ** 2;
      if (d < least) { least = d; best = node.name; }
    }
    return best;
  }

  listen() {
    let from = null, moved = false;
    this.canvas.addEventListener("pointerdown", e => { from = [e.offsetX, e.offsetY]; moved = false; this.canvas.setPointerCapture(e.pointerId); });
    this.canvas.addEventListener("pointermove", e => {
      if (!from) return;
      const x = e.offsetX - from[0], y = e.offsetY - from[1];
      if (!moved && Math.hypot(x, y) < 4) return;
      moved = true; this.dx += x; this.dy += y; from = [e.offsetX, e.offsetY]; this.draw();
    });
    this.canvas.addEventListener("pointerup", e => { if (from && !moved) this.onChoose(this.nearest(e.offsetX, e.offsetY)); from = null; });
    this.canvas.addEventListener("wheel", e => { e.preventDefault(); this.zoom(e.deltaY < 0 ? 1.15 : 1 / 1.15); }, { passive: false });
    this.canvas.addEventListener("keydown", e => {
      const step = { ArrowLeft: [30, 0], ArrowRight: [-30, 0], ArrowUp: [0, 30], ArrowDown: [0, -30] }[e.key];
      if (step) { this.dx += step[0]; this.dy += step[1]; this.draw(); e.preventDefault(); }
      if (e.key === "+") this.zoom(1.2);
      if (e.key === "-") this.zoom(1 / 1.2);
    });
  }

  zoom(by) { this.scale = Math.min(12, Math.max(0.4, this.scale * by)); this.draw(); }
}

function colour(share) {
  const stops = [[244, 201, 93], [111, 185, 143], [31, 95, 139]], x = Math.min(1, Math.max(0, share)) * 2, i = Math.min(1, Math.floor(x));
  return "rgb(" + stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (x - i))).join(",") + ")";
}
