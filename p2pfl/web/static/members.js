/* Members and refusals, with the reasons. */
import { nodes } from "/static/state.js";
import { REFUSALS } from "/static/node.js";
import { Table } from "/static/table.js";
import { address, ask, element, state } from "/static/text.js";

export function open(host) {
  let standing = new Map(), asking = false;
  const table = new Table("Members", [
    { title: "node", text: n => n.name, href: n => address("node", n.name) },
    { title: "state", text: n => n.state, kind: state },
    { title: "as others see it", text: n => n.member || "–", kind: n => ["alive", "", "–"].includes(n.member) ? "" : "bad" },
    { title: "in the ledger", text: n => standing.get(n.key) || "–" },
    { title: "refused messages", text: n => n.refused, sort: n => n.refused, number: true },
    { title: "key", text: n => n.key ? n.key.slice(0, 16) + "…" : "–" },
    { title: "why", text: n => n.why, kind: () => "soft" },
  ]);
  const refusals = new Table("Who refused whom", REFUSALS, { key: row => row.by + row.of + row.why, sort: 3, descending: true });
  const none = element("p", "Nobody has refused anything.", { class: "soft" });
  host.append(element("h2", "Members", { tabindex: "-1" }), table.host, element("h3", "Refusals"),
    element("p", "Late, doubled and strange messages are refused as a matter of course; what each reason means stands in docs/formats/http.md.", { class: "soft" }), none, refusals.host);
  ask("/api/ledger").then(found => { standing = new Map((found.members || []).map(m => [m.key, m.standing])); table.draw(); });
  return {
    async update() {
      table.update(nodes());
      if (asking) return;
      asking = true;
      const rows = (await ask("/api/refusals")).refusals || [];
      asking = false;
      refusals.update(rows);
      none.hidden = rows.length > 0; refusals.host.hidden = !rows.length;
    },
    close() {},
  };
}
