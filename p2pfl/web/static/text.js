/* Numbers and elements. All text goes through textContent: what nodes say is never markup. */
export const $ = id => document.getElementById(id);

export function element(kind, content = "", attributes = {}) {
  const found = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) found.setAttribute(name, ""); else if (value !== null && value !== undefined && value !== false) found.setAttribute(name, value);
  }
  if (Array.isArray(content)) found.append(...content.filter(part => part !== null)); else if (content instanceof Node) found.append(content); else found.textContent = content;
  return found;
}

export const link = (text, ...path) => element("a", text, { href: address(...path) });
export const address = (...path) => "#/" + path.map(encodeURIComponent).join("/");
export const known = value => value !== null && value !== undefined;
export const percent = value => known(value) ? `${(100 * value).toFixed(1)} %` : "–";
export const real = (value, digits = 3) => known(value) ? Number(value).toFixed(digits) : "–";
export const whole = value => known(value) ? Math.round(value).toLocaleString("en").replaceAll(",", "\u202f") : "–";

export function bytes(count) {
  if (!known(count)) return "–";
  let n = count;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (n < 1000 || unit === "TB") return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1000;
  }
}

export function seconds(value) {
  if (!known(value)) return "–";
  if (value < 1) return `${Math.round(1000 * value)} ms`;
  if (value < 100) return `${value.toFixed(1)} s`;
  return value < 6000 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`;
}

export const state = node => node.state === "gone" || node.state === "silent" ? "bad" : node.state === "training" ? "" : "soft";
export const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

export function facts(pairs) {
  return element("dl", pairs.map(([name, value, kind]) => element("div", [element("dt", name), value instanceof Node ? element("dd", value) : element("dd", value, { class: kind || null })])), { class: "facts" });
}

export function setText(node, text) { if (node.textContent !== String(text)) node.textContent = text; }

export function badge(proof) {
  if (!proof) return element("span", "not closed yet", { class: "badge soft" });
  const [text, kind] = proof.holds === true ? ["proved", "good"] : proof.holds === false ? ["proof fails", "bad"] : ["not provable yet", "soft"];
  return element("span", [text, element("span", ": " + proof.says, { class: "hidden" })], { class: `badge ${kind}`, title: proof.says });
}

export async function ask(path) {
  const reply = await fetch(path);
  try { return await reply.json(); } catch { return { error: `${reply.status} ${reply.statusText}` }; }
}
