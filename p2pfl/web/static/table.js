/* A table that can be sorted, filtered and read page by page. Rows are reused, so the focus stays where it is.
   columns: {title, text(row), sort(row), number, href(row), kind(row), node(row)} */
import { compare, element, setText } from "/static/text.js";
const PAGE = 100;

export class Table {
  constructor(caption, columns, { key = row => row.name, page = PAGE, sort = null, descending = false } = {}) {
    this.columns = columns; this.key = key; this.page = page; this.rows = []; this.from = 0; this.words = "";
    this.order = sort; this.sign = descending ? -1 : 1;
    this.head = element("tr"); this.body = element("tbody");
    this.table = element("table", [element("caption", caption), element("thead", this.head), this.body]);
    this.search = element("input", "", { type: "search", "aria-label": `Filter: ${caption}`, placeholder: "filter" });
    this.search.addEventListener("input", () => { this.words = this.search.value.toLowerCase(); this.from = 0; this.draw(); });
    this.back = element("button", "Previous", { type: "button" }); this.next = element("button", "Next", { type: "button" });
    this.back.onclick = () => { this.from = Math.max(0, this.from - this.page); this.draw(); };
    this.next.onclick = () => { this.from += this.page; this.draw(); };
    this.place = element("span", "", { role: "status" });
    this.pager = element("div", [this.search, this.back, this.next, this.place], { class: "pager" });
    this.host = element("div", [this.pager, element("div", this.table, { class: "wide", tabindex: "0", role: "region", "aria-label": caption })]);
    columns.forEach((column, i) => this.head.append(this.headOf(column, i)));
  }

  headOf(column, i) {
    const button = element("button", column.title, { type: "button" });
    button.onclick = () => { this.sign = this.order === i ? -this.sign : 1; this.order = i; this.draw(); };
    return element("th", button, { scope: "col", class: column.number ? "number" : null });
  }

  update(rows) { this.rows = rows; this.draw(); }

  draw() {
    [...this.head.cells].forEach((cell, i) => cell.setAttribute("aria-sort", i !== this.order ? "none" : this.sign > 0 ? "ascending" : "descending"));
    const found = this.chosen(), shown = found.slice(this.from, this.from + this.page);
    while (this.body.rows.length > shown.length) this.body.deleteRow(-1);
    shown.forEach((row, i) => this.fill(this.body.rows[i] || this.body.insertRow(), row));
    this.pager.hidden = this.rows.length <= 12;
    this.back.hidden = this.next.hidden = found.length <= this.page;
    this.back.disabled = this.from === 0; this.next.disabled = this.from + this.page >= found.length;
    setText(this.place, found.length ? `${this.from + 1} to ${this.from + shown.length} of ${found.length}` : "none");
  }

  chosen() {
    const { words } = this, column = this.columns[this.order];
    const found = words ? this.rows.filter(row => this.columns.some(c => String(c.text(row)).toLowerCase().includes(words))) : [...this.rows];
    if (column) { const by = column.sort || column.text; found.sort((a, b) => this.sign * compare(by(a), by(b))); }
    if (this.from >= found.length) this.from = 0;
    return found;
  }

  fill(line, row) {
    this.columns.forEach((column, i) => {
      const cell = line.cells[i] || line.appendChild(element(i ? "td" : "th", "", i ? {} : { scope: "row" }));
      cell.className = [column.number ? "number" : "", column.kind ? column.kind(row) : ""].join(" ").trim();
      if (column.node) return cell.replaceChildren(column.node(row));
      const href = column.href && column.href(row), text = column.text(row);
      if (!href) return setText(cell, text);
      const anchor = cell.firstElementChild || cell.appendChild(element("a"));
      if (anchor.getAttribute("href") !== href) anchor.setAttribute("href", href);
      setText(anchor, text);
    });
  }
}
