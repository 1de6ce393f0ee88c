/* The ledger: windows, members, one member's work and why it was paid so, entries; each with whether its proof holds. */
import { Table } from "/static/table.js";
import { address, ask, badge, bytes, compare, element, facts, known, link, real, whole } from "/static/text.js";

const STEPS = [["committed", "committed to its work"], ["revealed", "said what it sent"], ["receipts", "confirmed what it got"], ["scores", "scored others"], ["other", "other entries"]];
const MATRIX_MAX = 40;
const score = value => known(value) ? real(value / 1e6, 4) : "–";
const heights = row => row.heights.join(" to ");
const sorted = members => [...members].sort((a, b) => compare(a.name, b.name));

/* A view that is asked for again when the ledger has grown: every EVERY_MS, as long as it is open. */
const EVERY_MS = 5000;
function follow(host, title, path, draw, crumbs = null) {
  const note = element("p", "reading the ledger", { role: "status" }), body = element("div");
  host.append(...(crumbs ? [element("p", crumbs, { class: "crumbs" })] : []), element("h2", title, { tabindex: "-1" }), note, body);
  let timer = 0, seen = "", open = true;
  const look = async () => {
    let found;
    try { found = await ask(path); } catch { found = { error: "the dashboard does not answer" }; }
    if (!open) return;
    const text = JSON.stringify(found);
    if (text !== seen) { seen = text; note.textContent = found.error || ""; note.className = found.error ? "bad" : ""; note.hidden = !found.error; if (!found.error) draw(found, body); }
    timer = setTimeout(look, EVERY_MS);
  };
  look();
  return { update() {}, close() { open = false; clearTimeout(timer); } };
}

export function overview(host) {
  const members = new Table("Members", [
    { title: "member", text: m => m.name, href: m => address("ledger", "node", m.key) },
    { title: "credits", text: m => whole(m.balance), sort: m => m.balance, number: true },
    { title: "at stake", text: m => whole(m.stake), sort: m => m.stake, number: true },
    { title: "standing", text: m => m.standing, kind: m => m.standing.startsWith("frozen") ? "bad" : "" },
  ], { key: m => m.key, sort: 0 });
  const windows = new Table("Windows", [
    { title: "window", text: w => w.window, sort: w => w.window, href: w => address("ledger", "window", w.window) },
    { title: "heights", text: heights }, { title: "entries", text: w => w.entries, sort: w => w.entries, number: true },
    { title: "paid", text: w => w.closed ? `${whole(w.paid)} of ${whole(w.supply)}` : "open", sort: w => w.paid, number: true },
    { title: "to", text: w => w.closed ? `${w.paid_to} members` : "–", sort: w => w.paid_to, number: true },
    { title: "closed at", text: w => w.time_ms ? new Date(w.time_ms).toLocaleString() : "–" },
  ], { key: w => w.window, sort: 0, descending: true });
  const top = element("div");
  return follow(host, "Ledger", "/api/ledger", (found, body) => {
    top.replaceChildren(facts([["final height", found.height], ["entries and blocks", whole(found.leaves)], ["credits issued", whole(found.issued)], ["signed the last checkpoint", `${found.cosigned_by} validators`]]),
      element("p", `${found.finality}. The rule that pays: ${found.rule}. As ${found.told_by} tells it; every state is computed anew here.`, { class: "soft" }));
    members.update(sorted(found.members)); windows.update(found.windows);
    if (!body.childNodes.length) body.append(top, element("h3", "Members"), members.host, element("h3", "Windows"), windows.host);
  });
}

export function windowView(host, [number]) {
  const table = new Table("Who did what, and got what", [
    { title: "member", text: m => m.name, href: m => address("ledger", "node", m.key) },
    ...STEPS.slice(0, 4).map(([step]) => ({ title: step, text: m => m[step], sort: m => m[step], number: true })),
    { title: "messages confirmed by others", text: m => m.confirmed, sort: m => m.confirmed, number: true },
    { title: "score", text: m => score(m.score), sort: m => m.score ?? -Infinity, number: true },
    { title: "credits", text: m => known(m.credits) ? whole(m.credits) : "open", sort: m => m.credits ?? -1, number: true },
  ], { key: m => m.key, sort: 0 });
  return follow(host, `Window ${number}`, `/api/ledger/window/${encodeURIComponent(number)}`, (found, body) => {
    const state = found.closed ? `closed with height ${found.heights[1]}; paid ${whole(found.paid)} of ${whole(found.supply)} credits by ${found.rule}` : `open until height ${found.heights[1]}`;
    table.update(sorted(found.members));
    body.replaceChildren(element("p", [`Heights ${heights(found)}, ${state}. `, found.closed ? badge(found.proof) : ""]), table.host,
      element("p", link("Receipts of this window, as a matrix", "receipts", number)));
  }, [link("Ledger", "ledger"), " / window"]);
}

export function nodeView(host, [who]) {
  return follow(host, "Work and credits", `/api/ledger/node/${encodeURIComponent(who)}`, (found, body) => {
    const opened = new Set([...body.querySelectorAll("details[open]")].map(d => d.dataset.of));
    host.querySelector("h2").textContent = found.name;
    body.replaceChildren(facts([["credits", element("span", [whole(found.balance), " ", badge(found.balance_proof)])], ["at stake", whole(found.stake)]]),
      element("p", found.standing), element("p", link("the node in the network", "node", found.name.replace(/ \([0-9a-f]{8}\)$/, ""))), ...found.windows.map(card));
    for (const details of body.querySelectorAll("details")) details.open = opened.has(details.dataset.of);
  }, [link("Ledger", "ledger"), " / member"]);
}

function card(w) {
  const verb = w.closed ? "got" : "would get, as things stand,", paid = element("span", [`${whole(w.credits)} of ${whole(w.supply)} credits `, w.closed ? badge(w.payout_proof) : ""], { class: w.credits ? "" : "bad" });
  const rows = STEPS.filter(([step]) => step !== "other" || w.steps.other.length).flatMap(([step, text]) => [element("dt", text), element("dd", entries(w.steps[step], `${w.window} ${step}`))]);
  const confirmed = w.confirmed.length ? w.confirmed.map(c => `${c.by}: ${c.messages}`).join(", ") : "nobody confirmed anything";
  return element("section", [element("h3", [link(`Window ${w.window}`, "ledger", "window", w.window), ` (heights ${heights(w)}): ${verb} `, paid]),
    element("p", "because:"), element("ul", w.because.map(reason => element("li", reason))),
    element("dl", [...rows, element("dt", "confirmed by"), element("dd", confirmed), element("dt", "score"), element("dd", score(w.score))], { class: "steps" })], { class: "card" });
}

function entries(items, of) {
  if (!items.length) return "nothing";
  const list = element("ul", items.map(item => element("li", [link(`#${item.index}`, "ledger", "entry", item.index), ` height ${item.height}, round ${item.round}, ${item.kind}: ${item.says} `, badge(item.proof)])));
  if (items.length <= 2) return list;
  const proved = items.filter(item => item.proof.holds === true).length;
  return element("details", [element("summary", `${items.length} entries, ${proved} proved`), list], { "data-of": of });
}

export function entryView(host, [index]) {
  return follow(host, `Entry #${index}`, `/api/ledger/entry/${encodeURIComponent(index)}`, (found, body) => {
    body.replaceChildren(element("p", [`${found.kind}, height ${found.height}: ${found.says} `, badge(found.proof)]), element("p", found.proof.says, { class: "soft" }),
      element("p", found.author ? ["by ", link(found.author, "ledger", "node", found.key)] : ""), element("p", ["id ", element("code", found.id)]),
      element("p", element("a", "The proof, for p2pfl ledger verify-proof", { href: `/api/ledger/proof/${encodeURIComponent(index)}`, download: "proof.json" })),
      ...(found.details ? [element("h3", "Decoded"), element("pre", JSON.stringify(found.details, null, 2), { tabindex: "0" })] : []), element("h3", "As signed"), element("pre", found.raw, { tabindex: "0" }));
  }, [link("Ledger", "ledger"), " / entry"]);
}

export function receipts(host, [number]) {
  return follow(host, number === undefined ? "Receipts" : `Receipts of window ${number}`, number === undefined ? "/api/ledger/receipts" : `/api/ledger/receipts/${encodeURIComponent(number)}`, (found, body) => {
    const keys = Object.keys(found.names).sort((a, b) => compare(found.names[a], found.names[b])), name = key => found.names[key];
    const list = new Table("Who sent to whom", [
      { title: "sender", text: r => name(r.from), href: r => address("ledger", "node", r.from) }, { title: "receiver", text: r => name(r.to), href: r => address("ledger", "node", r.to) },
      ...(number === undefined ? [{ title: "sent, it says", text: r => r.sent, sort: r => r.sent, number: true }] : []),
      { title: "confirmed", text: r => r.confirmed, sort: r => r.confirmed, number: true },
      ...(number === undefined ? [{ title: "not confirmed", text: r => Math.max(0, r.sent - r.confirmed), sort: r => r.sent - r.confirmed, number: true }, { title: "refused", text: r => r.refused, sort: r => r.refused, number: true }] : []),
      { title: "size", text: r => bytes(r.bytes), sort: r => r.bytes, number: true },
    ], { key: r => r.from + r.to });
    list.update(found.rows);
    body.replaceChildren(element("p", "A message counts when its sender has named it and its receiver has confirmed it.", { class: "soft" }), ...(keys.length && keys.length <= MATRIX_MAX ? [matrix(found.rows, keys, name)] : []), element("h3", "As a list"), list.host);
  });
}

function matrix(rows, keys, name) {
  const held = new Map(rows.map(row => [row.from + row.to, row])), most = Math.max(1, ...rows.map(row => row.confirmed));
  const short = key => name(key).replace(/ \([0-9a-f]{8}\)$/, "");
  const head = element("tr", [element("th", "sender \\ receiver", { scope: "col" }), ...keys.map(key => element("th", short(key), { scope: "col" }))]);
  const body = keys.map(from => element("tr", [element("th", short(from), { scope: "row" }), ...keys.map(to => {
    const row = held.get(from + to), cell = element("td", from === to ? "" : row ? row.confirmed : "–", { class: from === to ? "self" : null });
    if (row) cell.style.background = `color-mix(in srgb, var(--mark) ${Math.round(34 * row.confirmed / most)}%, transparent)`;
    if (row && row.sent > row.confirmed) { cell.append(element("span", ` +${row.sent - row.confirmed}`, { class: "bad", title: "sent, and not confirmed" })); }
    return cell;
  })]));
  return element("div", element("table", [element("caption", "Messages that the receiver confirmed; +n: sent, by the sender's word, and not confirmed"), element("thead", head), element("tbody", body)], { class: "matrix" }), { class: "wide", tabindex: "0", role: "region", "aria-label": "Receipts as a matrix" });
}

export function validators(host) {
  return follow(host, "Validators", "/api/ledger/validators", (found, body) => {
    const head = element("tr", [element("th", "validator", { scope: "col" }), element("th", "signed", { scope: "col" }), ...found.heights.map(height => element("th", height, { scope: "col" }))]);
    const rows = sorted(found.validators).map(v => {
      const votes = v.signed.filter(s => s !== null), share = votes.filter(Boolean).length;
      return element("tr", [element("th", link(v.name, "ledger", "node", v.key), { scope: "row", class: "nowrap" }), element("td", `${share} of ${votes.length}`, { class: "nowrap" }),
        ...v.signed.map(signed => element("td", [element("span", signed === null ? "·" : signed ? "✓" : "–", { "aria-hidden": "true", class: signed ? "good" : "soft" }), element("span", signed === null ? "no certificate of its own" : signed ? "signed" : "did not", { class: "hidden" })]))]);
    });
    body.replaceChildren(element("p", `${found.finality}. A certificate holds the first ${found.quorum} signatures that came: one that is missing now and then was only slower.`),
      element("div", element("table", [element("caption", "Who signed the certificates of the last heights"), element("thead", head), element("tbody", rows)], { class: "heat" }), { class: "wide", tabindex: "0", role: "region", "aria-label": "Validators by height" }));
  });
}

export function evidence(host) {
  return follow(host, "Forks and evidence", "/api/ledger/evidence", (found, body) => {
    if (!found.evidence.length) return body.replaceChildren(element("p", "Nobody is known to have signed two conflicting things."));
    body.replaceChildren(...found.evidence.map(e => element("section", [element("h3", [link(e.name, "ledger", "node", e.author), ` signed ${e.what}`]),
      element("p", `At ${e.where}; ${e.height ? `final with height ${e.height}: it is frozen` : "not final yet: it will be frozen by a block with this proof"}.`, { class: e.height ? "bad" : "" }),
      element("details", [element("summary", "The two signed things"), ...e.proofs.map(p => element("pre", `${p.name}\n${p.raw}`, { tabindex: "0" }))])], { class: "card" })));
  });
}
