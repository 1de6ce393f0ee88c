/* The network on a canvas. All nodes and edges are drawn on a sheet beyond the canvas, which is larger than what is seen;
   while it is moved, a frame is one copy of the sheet, however many nodes there are. It is drawn anew when something has
   changed, after a zoom, and when the move leaves it. */
import { place } from "/static/layout.js";
import { isAway } from "/static/state.js";
const PULSE_MS = 1200, SHADES = 24, MARGIN = 0.5, LABELS_MAX = 80, RECENT_S = 10, SETTLE_MS = 120;

export class Graph {
  constructor(canvas, onChoose) {
    this.canvas = canvas; this.onChoose = onChoose; this.sheet = document.createElement("canvas");
    this.nodes = []; this.edges = new Int32Array(); this.recent = new Set(); this.pulses = new Map(); this.at = new Map();
    this.x = this.y = new Float32Array(); this.scale = 1; this.dx = this.dy = 0; this.drawn = null; this.waiting = false; this.timer = 0;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.again = () => { this.colours = null; this.drawn = null; this.draw(); };
    this.dark.addEventListener("change", this.again);
    this.sizes = new ResizeObserver(() => { this.drawn = null; this.draw(); });
    this.sizes.observe(canvas);
    this.listen();
  }

  close() { this.sizes.disconnect(); this.dark.removeEventListener("change", this.again); clearTimeout(this.timer); }

  /* edges: {a, b, met}; moved: those that have just exchanged; fresh: there are new ones. */
  update(nodes, edges, seconds, moved, fresh) {
    const old = new Map(this.nodes.map((node, i) => [node.name, [this.x[i], this.y[i]]]));
    this.nodes = nodes; this.at = new Map(nodes.map((node, i) => [node.name, i]));
    const kept = edges.filter(edge => this.at.has(edge.a) && this.at.has(edge.b));
    this.edges = Int32Array.from(kept.flatMap(edge => [this.at.get(edge.a), this.at.get(edge.b)]));
    this.recent = new Set(kept.flatMap((edge, e) => edge.met !== null && seconds - edge.met <= RECENT_S ? [2 * e] : []));
    if (fresh || this.x.length !== nodes.length) [this.x, this.y] = place(nodes.length, this.edges, old.size === nodes.length ? nodes.map(node => old.get(node.name)) : null);
    if (!this.calm.matches && nodes.length <= 300) for (const [a, b] of moved) this.pulses.set(a + "\0" + b, performance.now());
    this.drawn = null;
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  screen(i) {
    const w = this.canvas.clientWidth, h = this.canvas.clientHeight;
    return [(this.x[i] - 0.5) * w * this.scale + w / 2 + this.dx, (this.y[i] - 0.5) * h * this.scale + h / 2 + this.dy];
  }

  paint() {
    const { canvas } = this, ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w || !h) return;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
    const d = this.drawn, stale = !d || Math.abs(this.dx - d.dx) > MARGIN * w || Math.abs(this.dy - d.dy) > MARGIN * h;
    if (stale) this.drawSheet(w, h, ratio);
    const c = canvas.getContext("2d"), { dx, dy, scale } = this.drawn, zoom = this.scale / scale;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    const left = w / 2 + this.dx - zoom * (w / 2 + dx + MARGIN * w), top = h / 2 + this.dy - zoom * (h / 2 + dy + MARGIN * h);
    c.drawImage(this.sheet, left, top, zoom * w * (1 + 2 * MARGIN), zoom * h * (1 + 2 * MARGIN));
    if (zoom !== 1) { clearTimeout(this.timer); this.timer = setTimeout(() => { this.drawn = null; this.draw(); }, SETTLE_MS); }
    if (this.paintPulses(c)) this.draw();
  }

  paintPulses(c) {
    const now = performance.now();
    c.strokeStyle = this.look().fresh; c.lineWidth = 3;
    for (const [key, since] of this.pulses) {
      const age = (now - since) / PULSE_MS, [i, j] = key.split("\0").map(name => this.at.get(name));
      if (age >= 1 || i === undefined || j === undefined) { this.pulses.delete(key); continue; }
      c.globalAlpha = 1 - age; c.beginPath(); c.moveTo(...this.screen(i)); c.lineTo(...this.screen(j)); c.stroke();
    }
    c.globalAlpha = 1;
    return this.pulses.size > 0;
  }

  look() {
    if (!this.colours) {
      const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue(name).trim();
      this.colours = { ink: of("--ink"), edge: of("--edge"), fresh: of("--fresh"), bad: of("--bad"), card: of("--card"), soft: of("--soft") };
      this.shades = shades([of("--low"), of("--mid"), of("--high")], SHADES);
    }
    return this.colours;
  }

  drawSheet(w, h, ratio) {
    const { sheet } = this, colours = this.look(), wide = Math.round(w * (1 + 2 * MARGIN) * ratio), high = Math.round(h * (1 + 2 * MARGIN) * ratio);
    if (sheet.width !== wide || sheet.height !== high) { sheet.width = wide; sheet.height = high; }
    const c = sheet.getContext("2d"), n = this.nodes.length, px = new Float32Array(n), py = new Float32Array(n);
    c.setTransform(ratio, 0, 0, ratio, MARGIN * w * ratio, MARGIN * h * ratio);
    c.clearRect(-MARGIN * w, -MARGIN * h, w * (1 + 2 * MARGIN), h * (1 + 2 * MARGIN));
    for (let i = 0; i < n; i++) [px[i], py[i]] = this.screen(i);
    const many = this.edges.length > 2000;
    this.strokeEdges(c, px, py, e => !this.recent.has(e), colours.edge, many ? 0.4 : 1, many ? 0.6 : 1);
    this.strokeEdges(c, px, py, e => this.recent.has(e), colours.fresh, many ? 0.7 : 1.8, many ? 0.5 : 0.75);
    this.drawNodes(c, px, py, colours);
    this.drawn = { dx: this.dx, dy: this.dy, scale: this.scale };
  }

  strokeEdges(c, px, py, wanted, colour, width, alpha) {
    c.strokeStyle = colour; c.lineWidth = width; c.globalAlpha = alpha; c.beginPath();
    for (let e = 0; e < this.edges.length; e += 2) if (wanted(e)) { const i = this.edges[e], j = this.edges[e + 1]; c.moveTo(px[i], py[i]); c.lineTo(px[j], py[j]); }
    c.stroke(); c.globalAlpha = 1;
  }

  drawNodes(c, px, py, colours) {
    const r = this.radius(), groups = new Map();
    this.nodes.forEach((node, i) => {
      const key = isAway(node) ? "away" : node.accuracy === null ? "none" : Math.min(SHADES - 1, Math.floor(Math.max(0, node.accuracy) * SHADES));
      if (groups.has(key)) groups.get(key).push(i); else groups.set(key, [i]);
    });
    for (const [key, members] of groups) {
      c.beginPath();
      for (const i of members) { c.moveTo(px[i] + r, py[i]); c.arc(px[i], py[i], r, 0, 7); }
      c.fillStyle = key === "away" ? colours.card : key === "none" ? colours.edge : this.shades[key];
      c.fill();
      c.strokeStyle = key === "away" ? colours.bad : colours.card; c.lineWidth = key === "away" ? 2 : r > 5 ? 1.5 : 0.5; c.stroke();
      if (key === "away") this.cross(c, members, px, py, r * 0.55);
    }
    if (this.nodes.length > LABELS_MAX && this.scale <= 2.5) return;
    c.font = "12px system-ui, sans-serif"; c.textAlign = "center"; c.fillStyle = colours.ink; c.strokeStyle = colours.card; c.lineWidth = 3; c.lineJoin = "round";
    this.nodes.forEach((node, i) => { const text = node.name.slice(0, 20); c.strokeText(text, px[i], py[i] + r + 14); c.fillText(text, px[i], py[i] + r + 14); });
  }

  cross(c, members, px, py, s) {
    c.beginPath();
    for (const i of members) { c.moveTo(px[i] - s, py[i] - s); c.lineTo(px[i] + s, py[i] + s); c.moveTo(px[i] + s, py[i] - s); c.lineTo(px[i] - s, py[i] + s); }
    c.stroke();
  }

  radius() { return Math.max(2.5, Math.min(13, 90 / Math.sqrt(this.nodes.length || 1))) * Math.min(2, Math.max(0.7, this.scale)); }

  nearest(x, y) {
    let best = null, least = Math.max(14, this.radius() + 4) ** 2;
    for (let i = 0; i < this.nodes.length; i++) {
      const [a, b] = this.screen(i), d = (a - x) ** 2 + (b - y) ** 2;
      if (d < least) { least = d; best = this.nodes[i]; }
    }
    return best;
  }

  listen() {
    let from = null, moved = false;
    const { canvas } = this;
    canvas.addEventListener("pointerdown", e => { from = [e.offsetX, e.offsetY]; moved = false; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", e => {
      if (!from) { const node = this.nearest(e.offsetX, e.offsetY); canvas.style.cursor = node ? "pointer" : "grab"; canvas.title = node ? `${node.name}, ${node.state}` : ""; return; }
      const x = e.offsetX - from[0], y = e.offsetY - from[1];
      if (!moved && Math.hypot(x, y) < 4) return;
      moved = true; from = [e.offsetX, e.offsetY]; this.move(x, y);
    });
    canvas.addEventListener("pointerup", e => { if (from && !moved) { const node = this.nearest(e.offsetX, e.offsetY); if (node) this.onChoose(node.name); } from = null; });
    canvas.addEventListener("wheel", e => { e.preventDefault(); this.zoom(e.deltaY < 0 ? 1.15 : 1 / 1.15, e.offsetX, e.offsetY); }, { passive: false });
    canvas.addEventListener("keydown", e => {
      const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
      if (step) this.move(...step); else if (e.key === "+" || e.key === "=") this.zoom(1.25); else if (e.key === "-") this.zoom(1 / 1.25); else if (e.key === "0") this.whole(); else return;
      e.preventDefault();
    });
  }

  move(x, y) { this.dx += x; this.dy += y; this.draw(); }

  zoom(by, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(16, Math.max(0.4, this.scale * by)), real = scale / this.scale;
    const cx = this.canvas.clientWidth / 2, cy = this.canvas.clientHeight / 2;
    this.dx = (this.dx + cx - x) * real + x - cx; this.dy = (this.dy + cy - y) * real + y - cy;
    this.scale = scale; this.draw();
  }

  whole() { this.scale = 1; this.dx = this.dy = 0; this.drawn = null; this.draw(); }
}

function shades(stops, count) {
  const rgb = stops.map(stop => [1, 3, 5].map(at => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: count }, (_, i) => {
    const x = 2 * i / (count - 1), k = Math.min(1, Math.floor(x));
    return `rgb(${rgb[k].map((v, c) => Math.round(v + (rgb[k + 1][c] - v) * (x - k))).join(",")})`;
  });
}
