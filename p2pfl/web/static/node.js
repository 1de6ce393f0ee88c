/* One node: its figures, its curves beside the mean, its neighbours, who refused whom. */
import { ago, budget, charts } from "/static/network.js";
import { board } from "/static/state.js";
import { Table } from "/static/table.js";
import { address, ask, bytes, element, facts, known, link, percent, real, seconds, state } from "/static/text.js";

const NEIGHBOURS = [
  { title: "neighbour", text: row => row.name, href: row => address("node", row.name) },
  { title: "state", text: row => board.nodes.get(row.name)?.state ?? "–", kind: row => state(board.nodes.get(row.name) || {}) },
  { title: "exchanges", text: row => row.exchanges, sort: row => row.exchanges, number: true },
  { title: "the last one", text: row => ago(row.met), sort: row => row.met ?? -1, number: true },
  { title: "failed since", text: row => row.failed ?? "–", sort: row => row.failed ?? -1, number: true },
  { title: "latency", text: row => known(row.latency_ms) ? `${row.latency_ms.toFixed(1)} ms` : "–", sort: row => row.latency_ms ?? -1, number: true },
  { title: "bandwidth", text: row => known(row.bandwidth_mbps) ? `${row.bandwidth_mbps.toFixed(1)} Mbit/s` : "–", sort: row => row.bandwidth_mbps ?? -1, number: true },
];
export const REFUSALS = [
  { title: "who refused", text: row => row.by }, { title: "whom", text: row => row.of }, { title: "why", text: row => row.why },
  { title: "times", text: row => row.times, sort: row => row.times, number: true },
];

export function open(host, [name]) {
  const top = element("div"), why = element("p"), curves = charts();
  const near = new Table("Neighbours", NEIGHBOURS), refusals = new Table("Refusals in which it took part", REFUSALS, { key: row => row.by + row.of + row.why });
  const none = element("p", "Nobody refused it, and it refused nobody.", { class: "soft" });
  const select = element("label", ["Curves by ", curves.select], { class: "soft" });
  curves.select.onchange = () => curves.update(null, name);
  host.append(element("p", [link("Network", "network"), " / node"], { class: "crumbs" }), element("h2", name, { tabindex: "-1" }), why, top, select,
    element("div", curves.found.map(chart => chart.host), { class: "pictures" }), element("h3", "Neighbours"), near.host, element("h3", "Refusals"), none, refusals.host);
  let asking = false;
  const refresh = async () => {
    if (asking) return;
    asking = true;
    const found = await ask(`/api/node/${encodeURIComponent(name)}`);
    asking = false;
    if (found.error) { why.textContent = found.error; return; }
    near.update(found.neighbours);
    refusals.update(found.refusals);
    none.hidden = found.refusals.length > 0; refusals.host.hidden = !none.hidden;
  };
  return {
    update() {
      const node = board.nodes.get(name);
      if (!node) { why.textContent = "no node of this name is known"; return; }
      why.textContent = node.why ? `${node.state}: ${node.why}` : node.state;
      why.className = state(node);
      top.replaceChildren(facts([
        ["round", node.rounds ? `${node.round} / ${node.rounds}` : node.round], ["accuracy", percent(node.accuracy)], ["loss", real(node.loss)],
        ["distance", real(node.apart)], ["sent", bytes(node.bytes_sent)], ["received", bytes(node.bytes_received)], ["a round", seconds(node.round_s)],
        ["privacy", budget(node)], ...node.member ? [["as a member", node.member]] : [], ["final height", node.height ?? "–"],
      ]), element("p", [element("code", node.key || "key not known"), node.key ? " " : "", node.key ? link("its work and credits", "ledger", "node", node.key) : ""]));
      curves.update(null, name);
      refresh();
    },
    close: curves.close,
  };
}
