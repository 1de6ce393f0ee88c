/* Which view the address names, and the stream that feeds it. */
import * as ledger from "/static/ledger.js";
import { open as members } from "/static/members.js";
import { open as network } from "/static/network.js";
import { open as node } from "/static/node.js";
import { board, take } from "/static/state.js";
import { $, percent, setText } from "/static/text.js";

let view = null;

function route() {
  let words;
  try { words = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); } catch { words = []; }
  const [first, second, ...rest] = words;
  switch (first) {
    case "node": return [node, [[second, ...rest].join("/")], "network"];
    case "members": return [members, [], "members"];
    case "receipts": return [ledger.receipts, second === undefined ? [] : [second], "receipts"];
    case "validators": return [ledger.validators, [], "validators"];
    case "evidence": return [ledger.evidence, [], "evidence"];
    case "ledger":
      if (second === "window") return [ledger.windowView, rest, "ledger"];
      if (second === "node") return [ledger.nodeView, rest, "ledger"];
      if (second === "entry") return [ledger.entryView, rest, "ledger"];
      return [ledger.overview, [], "ledger"];
    default: return [network, [], "network"];
  }
}

function show(focus) {
  const [open, words, place] = route(), host = $("content");
  if (view) view.close();
  host.replaceChildren();
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.getAttribute("href") === "#/" + place) anchor.setAttribute("aria-current", "page"); else anchor.removeAttribute("aria-current");
  }
  view = open(host, words);
  if (board.ready) view.update({ fresh: true, moved: [] });
  if (focus) host.querySelector("h2")?.focus();
  scrollTo(0, 0);
}

function live(text, kind) { setText($("live"), text); $("live").className = kind; }

addEventListener("hashchange", () => { if (location.hash !== "#content") show(true); });
document.querySelector(".skip").onclick = event => { event.preventDefault(); $("content").focus(); };
show(false);
const stream = new EventSource("/api/stream");
stream.onopen = () => live("live", "on");
stream.onmessage = event => {
  const change = take(JSON.parse(event.data));
  setText($("title"), board.title);
  document.title = `${percent(board.mean)} – p2pfl`;
  view.update(change);
};
stream.onerror = () => live("the dashboard does not answer; trying again", "off");
/* For tests of how smoothly it moves. */
globalThis.p2pfl = { view: () => view, board };
