/* The network: who exchanges with whom, the curves, and the table that says the same as the picture. */
import { Chart } from "/static/chart.js";
import { Graph } from "/static/graph.js";
import { board, isAway, nodes } from "/static/state.js";
import { Table } from "/static/table.js";
import { address, bytes, element, facts, known, percent, real, seconds, state, whole } from "/static/text.js";

export const AXES = [["round", 1, 1], ["second", 0, 0], ["byte sent", 4, 2]];
/* name, place in a judged point, place in a course point */
const written = [v => String(Math.round(v)), v => seconds(v), v => bytes(v)];
export const CHARTS = [
  { from: "judged", title: "Accuracy", value: 2, format: percent, top: 1 },
  { from: "judged", title: "Loss", value: 3, format: v => real(v, 2) },
  { from: "course", title: "Distance between the models", note: "half the distance to a neighbour's, at exchanges", value: 3, format: v => real(v, 2) },
  { from: "course", title: "Bytes sent", note: "by each node", value: 2, format: bytes },
];

export function charts() {
  const found = CHARTS.map(shown => new Chart(shown));
  const select = element("select", AXES.map(([name], i) => element("option", name, { value: i })), { "aria-label": "Curves by" });
  return { found, select, update: (only, chosen) => {
    const axis = Number(select.value);
    found.forEach((chart, i) => {
      const { from } = CHARTS[i], tracks = only ? new Map([...board[from]].filter(([name]) => only(name))) : board[from];
      chart.update(tracks, from === "judged" ? AXES[axis][1] : AXES[axis][2], written[axis], chosen);
    });
  }, close: () => found.forEach(chart => chart.close()) };
}

export const budget = n => known(n.planned) && n.planned > 0 ? `${percent(Math.max(0, 1 - n.releases / n.planned))} left` : known(n.epsilon) ? `ε ${n.epsilon.toFixed(2)} spent` : "–";

export const COLUMNS = [
  { title: "node", text: n => n.name, href: n => address("node", n.name) },
  { title: "state", text: n => n.state, kind: state },
  { title: "round", text: n => n.rounds ? `${n.round} / ${n.rounds}` : n.round, sort: n => n.round, number: true },
  { title: "accuracy", text: n => percent(n.accuracy), sort: n => n.accuracy ?? -1, number: true },
  { title: "loss", text: n => real(n.loss), sort: n => n.loss ?? -1, number: true },
  { title: "distance", text: n => real(n.apart), sort: n => n.apart ?? -1, number: true },
  { title: "sent", text: n => bytes(n.bytes_sent), sort: n => n.bytes_sent, number: true },
  { title: "received", text: n => bytes(n.bytes_received), sort: n => n.bytes_received, number: true },
  { title: "a round", text: n => seconds(n.round_s), sort: n => n.round_s ?? -1, number: true },
  { title: "late", text: n => n.late, sort: n => n.late, number: true },
  { title: "refused", text: n => n.refused, sort: n => n.refused, number: true },
  { title: "height", text: n => n.height ?? "–", sort: n => n.height ?? -1, number: true },
  { title: "own copy", text: n => percent(n.own_accuracy), sort: n => n.own_accuracy ?? -1, number: true },
  { title: "privacy", text: budget },
  { title: "why", text: n => n.why, kind: () => "soft" },
];

const EDGES = [
  { title: "one", text: e => e.a, href: e => address("node", e.a) },
  { title: "the other", text: e => e.b, href: e => address("node", e.b) },
  { title: "exchanges", text: e => e.count, sort: e => e.count, number: true },
  { title: "the last one", text: e => ago(e.met), sort: e => e.met ?? -1, number: true },
];
export const ago = met => known(met) ? `${seconds(Math.max(0, board.seconds - met))} ago` : "–";

export function open(host) {
  const top = element("div"), canvas = element("canvas", "", { tabindex: "0", role: "img", "aria-describedby": "keys" });
  const graph = new Graph(canvas, name => { location.hash = address("node", name); });
  const tools = ["+", "−", "whole"].map((text, i) => {
    const button = element("button", text, { type: "button", "aria-label": ["zoom in", "zoom out", "show the whole network"][i] });
    button.onclick = () => [() => graph.zoom(1.3), () => graph.zoom(1 / 1.3), () => graph.whole()][i]();
    return button;
  });
  const scale = element("span", [element("span", "0 %"), element("i"), element("span", "100 % accuracy")], { class: "scale", "aria-hidden": "true" });
  const note = element("small", "blue: exchanged lately; crossed out: away; click a node");
  const hint = element("span", "Arrow keys move the picture, plus and minus zoom, 0 shows it whole. The tables below say the same.", { id: "keys", class: "hidden" });
  const picture = element("figure", [element("figcaption", ["Who exchanges with whom", note]), element("div", [canvas, hint], { class: "network" }), element("div", [...tools, scale], { class: "tools" })], { class: "tall" });
  const curves = charts();
  const by = element("label", ["Curves by ", curves.select], { class: "soft" });
  curves.select.onchange = () => curves.update();
  const table = new Table("Nodes", COLUMNS), pairs = new Table("Exchanges", EDGES, { key: e => e.a + e.b, sort: 3, descending: true });
  const twin = element("details", [element("summary", "Who exchanged with whom, as a table"), pairs.host]);
  twin.addEventListener("toggle", () => twin.open && pairs.update([...board.edges.values()]));
  host.append(element("h2", "Network", { tabindex: "-1" }), top, element("div", [picture, ...curves.found.slice(0, 2).map(c => c.host)], { class: "pictures" }), twin,
    element("h3", "Curves"), by, element("div", curves.found.slice(2).map(c => c.host), { class: "pictures" }), element("h3", "Nodes"), table.host);
  return {
    graph,
    update({ fresh, moved }) {
      const all = nodes();
      top.replaceChildren(summary(all));
      canvas.setAttribute("aria-label", `The network: ${all.length} nodes, ${board.edges.size} edges, ${all.filter(isAway).length} away`);
      graph.update(all, [...board.edges.values()], board.seconds, moved, fresh);
      curves.update();
      table.update(all);
      if (twin.open) pairs.update([...board.edges.values()]);
    },
    close() { graph.close(); curves.close(); },
  };
}

function summary(all) {
  const judged = all.map(n => n.accuracy).filter(known), away = all.filter(isAway).length, apart = all.map(n => n.apart).filter(known);
  const rounds = all.filter(n => n.state !== "heard of").map(n => n.round), low = Math.min(...rounds), high = Math.max(...rounds);
  const left = all.filter(n => known(n.planned) && n.planned > 0).map(n => Math.max(0, 1 - n.releases / n.planned));
  return facts([
    ["nodes", away ? `${all.length - away} of ${all.length}` : all.length, away ? "bad" : ""],
    ["mean accuracy", percent(board.mean)],
    ["lowest", percent(judged.length ? judged.reduce((a, b) => Math.min(a, b)) : null)],
    ["rounds", rounds.length ? low === high ? low : `${low} to ${high}` : "–"],
    ["distance", apart.length ? real(apart.reduce((a, b) => a + b, 0) / apart.length) : "–"],
    ["sent by all", bytes(board.sent)],
    ...left.length ? [["privacy left, least", percent(left.reduce((a, b) => Math.min(a, b)))]] : [],
    ["refused", whole(all.reduce((sum, n) => sum + n.refused, 0))],
  ]);
}
