"use strict";
/* A line for each node (at most EACH_MAX of them), a thick one for the mean, one for the chosen node. */
const EACH_MAX = 100, SVG = "http://www.w3.org/2000/svg";

function drawChart(svg, history, axis, value, percent, chosen) {
  const w = svg.clientWidth || 400, h = svg.clientHeight || 180, left = 44, bottom = 20, top = 6, right = 8;
  const lines = Object.entries(history).filter(([, points]) => points.length);
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  svg.replaceChildren();
  if (!lines.length) return write(svg, w / 2, h / 2, "nothing judged yet", "middle");
  let far = 0, high = percent ? 1 : 0;
  for (const [, points] of lines) for (const point of points) { far = Math.max(far, point[axis]); high = Math.max(high, point[value]); }
  far = far || 1; high = high || 1;
  const x = v => left + (w - left - right) * v / far, y = v => h - bottom - (h - bottom - top) * v / high;
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    line(svg, [[left, y(high * share)], [w - right, y(high * share)]], "grid");
    write(svg, left - 5, y(high * share) + 4, percent ? `${Math.round(share * 100)} %` : (high * share).toPrecision(2), "end");
  }
  for (const share of [0, 0.5, 1]) write(svg, x(far * share), h - 5, axis === 4 ? bytesText(far * share) : Math.round(far * share), share ? "end" : "start");
  const place = point => [x(point[axis]), y(point[value])], step = Math.ceil(lines.length / EACH_MAX);
  lines.forEach(([, points], i) => { if (i % step === 0) line(svg, points.map(place), "each"); });
  line(svg, mean(lines.map(([, points]) => points), axis, value, far).map(([a, b]) => [x(a), y(b)]), "mean");
  if (chosen && history[chosen]) line(svg, history[chosen].map(place), "chosen");
}

function mean(all, axis, value, far) {
  const found = [], cursor = all.map(() => 0);
  for (let i = 0; i <= 60; i++) {
    const at = far * i / 60;
    let sum = 0, count = 0;
    all.forEach((points, k) => {
      while (cursor[k] + 1 < points.length && points[cursor[k] + 1][axis] <= at) cursor[k]++;
      const here = points[cursor[k]], next = points[cursor[k] + 1] || here, gap = next[axis] - here[axis];
      if (here[axis] > at) return;
      sum += here[value] + (gap > 0 ? (next[value] - here[value]) * (at - here[axis]) / gap : 0);
      count++;
    });
    if (count * 2 >= all.length) found.push([at, sum / count]);
  }
  return found;
}

function line(svg, points, kind) {
  const path = document.createElementNS(SVG, "polyline");
  path.setAttribute("points", points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" "));
  path.setAttribute("class", kind);
  svg.append(path);
}

function write(svg, x, y, text, anchor) {
  const node = document.createElementNS(SVG, "text");
  node.setAttribute("x", x); node.setAttribute("y", y); node.setAttribute("text-anchor", anchor);
  node.textContent = text;
  svg.append(node);
}

function bytesText(n) {
  for (const unit of ["B", "kB", "MB", "GB"]) { if (n < 1000 || unit === "GB") return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`; n /= 1000; }
}
