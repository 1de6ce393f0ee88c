"use strict";
/* The page: takes snapshots as they come and shows them. All text from nodes goes through textContent. */
const $ = id => document.getElementById(id);
const percent = value => value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;
const COLUMNS = [
  ["node", n => n.name], ["state", n => n.state], ["round", n => n.rounds ? `${n.round} / ${n.rounds}` : n.round, n => n.round],
  ["accuracy", n => percent(n.accuracy), n => n.accuracy ?? -1], ["loss", n => n.loss === null ? "–" : n.loss.toFixed(3), n => n.loss ?? -1],
  ["sent", n => bytesText(n.bytes_sent), n => n.bytes_sent], ["received", n => bytesText(n.bytes_received), n => n.bytes_received],
  ["refused", n => n.refused, n => n.refused], ["own copy", n => percent(n.own_accuracy), n => n.own_accuracy ?? -1],
  ["epsilon", n => n.epsilon === null ? "–" : n.epsilon.toFixed(2), n => n.epsilon ?? -1], ["why", n => n.why],
];
const ROWS_MAX = 1000;
let board = null, chosen = null, order = [0, 1];
const history = {};
const graph = new Graph($("graph"), choose);

function take(snapshot) {
  board = snapshot;
  for (const [name, points] of Object.entries(snapshot.history)) {
    const have = history[name] = (history[name] || []).filter(p => !points.length || p[1] < points[0][1]);
    have.push(...points);
  }
  show();
}

function show() {
  if (!board) return;
  const nodes = board.nodes, judged = nodes.map(n => n.accuracy).filter(a => a !== null);
  $("title").textContent = board.title;
  document.title = `${percent(board.mean_accuracy)} – p2pfl`;
  const away = nodes.filter(n => n.state === "gone" || n.state === "silent").length;
  $("nodes").textContent = away ? `${nodes.length - away} of ${nodes.length}` : nodes.length;
  $("accuracy").textContent = percent(board.mean_accuracy);
  $("lowest").textContent = percent(judged.length ? Math.min(...judged) : null);
  $("rounds").textContent = nodes.length ? `${Math.min(...nodes.map(n => n.round))} to ${Math.max(...nodes.map(n => n.round))}` : "–";
  $("bytes").textContent = bytesText(board.bytes_sent);
  graph.chosen = chosen;
  graph.update(nodes, board.edges);
  drawCharts();
  showTable();
  showDetail();
}

function drawCharts() {
  const axis = Number($("axis").value);
  drawChart($("chart-accuracy"), history, axis, 2, true, chosen);
  drawChart($("chart-loss"), history, axis, 3, false, chosen);
}

function showTable() {
  const [at, sign] = order, by = COLUMNS[at][2] || COLUMNS[at][1], head = $("table").tHead;
  if (!head.rows.length) {
    const row = head.insertRow();
    COLUMNS.forEach(([name], i) => {
      const cell = document.createElement("th"), button = document.createElement("button");
      button.type = "button"; button.textContent = name;
      button.onclick = () => { order = [i, order[0] === i ? -order[1] : 1]; showTable(); };
      cell.className = COLUMNS[i][2] ? "number" : "";
      cell.append(button); row.append(cell);
    });
  }
  [...head.rows[0].cells].forEach((cell, i) => cell.setAttribute("aria-sort", i !== at ? "none" : sign > 0 ? "ascending" : "descending"));
  const rows = [...board.nodes];
  if (at || sign < 0) rows.sort((a, b) => sign * compare(by(a), by(b)));
  fill($("table").tBodies[0], rows.slice(0, ROWS_MAX).map(node => ({
    cells: COLUMNS.map(([, text, number]) => [text(node), Boolean(number)]), kind: node.state, key: node.name, selected: node.name === chosen,
  })), choose);
}

function compare(a, b) { return typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }); }

function fill(body, rows, onChoose) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach(({ cells, kind, key, selected }, i) => {
    const row = body.rows[i] || body.insertRow();
    row.className = kind; row.tabIndex = 0; row.setAttribute("aria-selected", selected);
    row.onclick = () => onChoose(key);
    row.onkeydown = e => { if (e.key === "Enter") onChoose(key); };
    cells.forEach(([text, number], k) => {
      const cell = row.cells[k] || row.insertCell();
      if (cell.textContent !== String(text)) cell.textContent = text;
      cell.className = number ? "number" : "";
    });
  });
}

function choose(name) { chosen = name === chosen ? null : name; show(); }

function showDetail() {
  const node = board.nodes.find(n => n.name === chosen), box = $("detail");
  box.hidden = !node;
  if (!node) return;
  const near = board.edges.filter(([a, b]) => a === chosen || b === chosen).map(([a, b, n]) => `${a === chosen ? b : a} (${n})`);
  box.replaceChildren(element("h2", node.name), element("p", `${node.state}${node.why ? ": " + node.why : ""}; round ${node.round}, accuracy ${percent(node.accuracy)}`),
    element("p", near.length ? `exchanged with ${near.join(", ")}` : "no exchange seen yet"), element("code", node.key));
}

function element(kind, text) { const found = document.createElement(kind); found.textContent = text; return found; }

async function showLedger() {
  const reply = await fetch("/api/ledger"), found = await reply.json(), note = $("ledger-note");
  note.className = found.error ? "error" : "";
  note.textContent = found.error || `${found.issued} credits issued up to height ${found.height}. Click a member to see why.`;
  if (found.error) return;
  const head = $("members").tHead;
  head.replaceChildren(document.createElement("tr"));
  for (const name of ["member", "credits", "at stake", "standing"]) head.rows[0].append(element("th", name));
  fill($("members").tBodies[0], found.members.map(m => ({
    cells: [[m.name, false], [m.balance, true], [m.stake, true], [m.standing, false]], kind: "", key: m.key, selected: false,
  })), showWhy);
}

async function showWhy(name) {
  const found = await (await fetch(`/api/ledger/${encodeURIComponent(name)}`)).json(), box = $("why");
  if (found.error) return box.replaceChildren(element("p", found.error));
  const parts = [element("h2", `${found.name}: ${found.standing}; ${found.balance} credits`)];
  for (const w of [...found.windows].reverse()) {
    parts.push(element("p", `window ${w.window}, heights ${w.heights.join(" to ")}: ${w.closed ? "got" : "would get"} ${w.credits} of ${w.supply} credits, because`));
    const list = document.createElement("ul");
    list.append(...w.because.map(line => element("li", line)));
    parts.push(list);
  }
  box.replaceChildren(...parts);
}

function view(name) {
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  }
  for (const id of ["network", "ledger"]) $(id).hidden = id !== name;
  if (name === "ledger") showLedger(); else show();
}

for (const button of document.querySelectorAll("nav button")) button.onclick = () => view(button.dataset.view);
$("axis").onchange = drawCharts;
addEventListener("resize", () => board && drawCharts());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.draw());
const stream = new EventSource("/api/stream");
stream.onopen = () => { $("live").textContent = "live"; };
stream.onmessage = event => take(JSON.parse(event.data));
stream.onerror = () => { $("live").textContent = "the dashboard does not answer; trying again"; };
