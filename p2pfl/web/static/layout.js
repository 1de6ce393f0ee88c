/* Where nodes stand: springs by Fruchterman and Reingold 1991 with their grid variant, in which only near nodes push each
   other, so a step costs what there are nodes and edges. From a ring in the order of names; ends within 0..1. */
export function place(count, edges, old) {
  const x = new Float32Array(count), y = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const angle = 2 * Math.PI * i / count - Math.PI / 2, r = 0.42 + 0.05 * ((i * 7919) % 13) / 13 - 0.025;
    x[i] = old && old[i] ? old[i][0] : 0.5 + r * Math.cos(angle);
    y[i] = old && old[i] ? old[i][1] : 0.5 + r * Math.sin(angle);
  }
  const steps = count > 5000 ? 0 : count > 1500 ? 60 : 160;
  for (let step = 0; step < steps; step++) relax(x, y, edges, 0.08 * (1 - step / steps) ** 1.5 + 0.0005);
  return fit(x, y);
}

function relax(x, y, edges, heat) {
  const n = x.length, k = 0.75 / Math.sqrt(n), wide = Math.max(2 * k, 0.02), fx = new Float32Array(n), fy = new Float32Array(n);
  const cells = new Map(), cell = (i, dx, dy) => (Math.floor(x[i] / wide) + dx) * 100003 + Math.floor(y[i] / wide) + dy;
  for (let i = 0; i < n; i++) { const c = cell(i, 0, 0), have = cells.get(c); if (have) have.push(i); else cells.set(c, [i]); }
  for (let i = 0; i < n; i++) for (let dx = -1; dx <= 1; dx++) for (let dy = -1; dy <= 1; dy++) {
    for (const j of cells.get(cell(i, dx, dy)) || []) {
      if (j === i) continue;
      const a = x[i] - x[j], b = y[i] - y[j], push = k * k / (a * a + b * b + 1e-7);
      fx[i] += a * push; fy[i] += b * push;
    }
  }
  for (let e = 0; e < edges.length; e += 2) {
    const i = edges[e], j = edges[e + 1], a = x[i] - x[j], b = y[i] - y[j], pull = Math.hypot(a, b) / k * 0.6;
    fx[i] -= a * pull; fy[i] -= b * pull; fx[j] += a * pull; fy[j] += b * pull;
  }
  for (let i = 0; i < n; i++) {
    const size = Math.hypot(fx[i], fy[i]) || 1, go = Math.min(size, heat) / size;
    x[i] += fx[i] * go; y[i] += fy[i] * go;
  }
}

function fit(x, y) {
  const reach = v => { let low = Infinity, high = -Infinity; for (const value of v) { low = Math.min(low, value); high = Math.max(high, value); } return [low, high - low || 1]; };
  const [x0, w] = reach(x), [y0, h] = reach(y);
  for (let i = 0; i < x.length; i++) { x[i] = 0.05 + 0.9 * (x[i] - x0) / w; y[i] = 0.06 + 0.86 * (y[i] - y0) / h; }
  return [x, y];
}
