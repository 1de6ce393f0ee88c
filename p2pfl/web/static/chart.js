/* A line for each node (at most EACH_MAX of them), a thick one for the mean, a broken one for the chosen node; and the same
   as a table. Points are arrays; `axis` and `value` are places in them. */
import { element, known } from "/static/text.js";
const EACH_MAX = 100, STEPS = 60, ROWS = 12, SVG = "http://www.w3.org/2000/svg";

export class Chart {
  /* shown: {title, note, value, format, top} */
  constructor(shown) {
    this.shown = shown; this.tracks = new Map(); this.axis = 1; this.across = String; this.chosen = null;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("class", "chart"); this.svg.setAttribute("role", "img");
    this.more = element("details", [element("summary", "As a table"), this.body = element("div")]);
    this.more.addEventListener("toggle", () => this.showTable());
    this.host = element("figure", [element("figcaption", [shown.title, element("small", shown.note || "")]), this.svg, this.more]);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.svg);
  }

  close() { this.sizes.disconnect(); }

  /* tracks: name -> points; axis: place of the horizontal number, written by `across` */
  update(tracks, axis, across, chosen) {
    this.tracks = tracks; this.axis = axis; this.across = across; this.chosen = chosen;
    this.draw(); this.showTable();
  }

  lines() {
    const { axis } = this, { value } = this.shown;
    return [...this.tracks].map(([name, points]) => [name, points.filter(point => known(point[value]) && known(point[axis]))]).filter(([, points]) => points.length);
  }

  draw() {
    const { svg, axis } = this, { value, format, top } = this.shown, w = svg.clientWidth || 400, h = svg.clientHeight || 150;
    const lines = this.lines(), left = 52, right = 10, under = 20, over = 6;
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    svg.replaceChildren();
    if (!lines.length) { svg.setAttribute("aria-label", `${this.shown.title}: nothing yet`); return write(svg, w / 2, h / 2, "nothing yet", "middle"); }
    let far = 0, high = top || 0;
    for (const [, points] of lines) for (const point of points) { far = Math.max(far, point[axis]); high = Math.max(high, point[value]); }
    far = far || 1; high = high || 1;
    const x = v => left + (w - left - right) * v / far, y = v => h - under - (h - under - over) * v / high;
    for (const share of [0, 0.5, 1]) {
      line(svg, [[left, y(high * share)], [w - right, y(high * share)]], "grid");
      write(svg, left - 6, y(high * share) + 4, format(high * share), "end");
      write(svg, x(far * share), h - 5, this.across(far * share), share === 1 ? "end" : share ? "middle" : "start");
    }
    const spot = point => [x(point[axis]), y(point[value])], step = Math.ceil(lines.length / EACH_MAX);
    lines.forEach(([, points], i) => { if (i % step === 0) line(svg, points.map(spot), "each"); });
    const average = means(lines.map(([, points]) => points), axis, value, far);
    if (lines.length > 1) line(svg, average.map(([at, middle]) => [x(at), y(middle)]), "mean");
    const own = lines.find(([name]) => name === this.chosen);
    if (own) line(svg, own[1].map(spot), lines.length > 1 ? "chosen" : "mean");
    const last = average[average.length - 1];
    svg.setAttribute("aria-label", `${this.shown.title}, ${lines.length} nodes${last ? `; mean now ${format(last[1])}, from ${format(last[2])} to ${format(last[3])}` : ""}`);
  }

  showTable() {
    if (!this.more.open) return;
    const { format, value } = this.shown, lines = this.lines().map(([, points]) => points);
    let far = 0;
    for (const points of lines) far = Math.max(far, points[points.length - 1][this.axis]);
    const rows = means(lines, this.axis, value, far).filter((_, i) => i % (STEPS / ROWS) === 0);
    const head = element("tr", ["at", "mean", "lowest", "highest"].map((name, i) => element("th", name, { scope: "col", class: i ? "number" : null })));
    const body = rows.map(([at, ...values]) => element("tr", [element("th", this.across(at), { scope: "row" }), ...values.map(v => element("td", format(v), { class: "number" }))]));
    this.body.replaceChildren(element("table", [element("caption", this.shown.title), element("thead", head), element("tbody", body)]));
  }
}

/* [at, mean, lowest, highest] over the nodes at STEPS places, where at least half of them are. */
function means(all, axis, value, far) {
  const found = [], cursor = all.map(() => 0);
  for (let i = 0; i <= STEPS; i++) {
    const at = far * i / STEPS;
    let sum = 0, count = 0, low = Infinity, high = -Infinity;
    all.forEach((points, k) => {
      while (cursor[k] + 1 < points.length && points[cursor[k] + 1][axis] <= at) cursor[k]++;
      const here = points[cursor[k]], next = points[cursor[k] + 1] || here, gap = next[axis] - here[axis];
      if (here[axis] > at + 1e-9) return;
      const v = here[value] + (gap > 0 ? (next[value] - here[value]) * (at - here[axis]) / gap : 0);
      sum += v; count++; low = Math.min(low, v); high = Math.max(high, v);
    });
    if (count && count * 2 >= all.length) found.push([at, sum / count, low, high]);
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
