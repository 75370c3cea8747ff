// The list of calls. Rows are made when they are scrolled to; sorting and searching make the first ones.

const ROWS_AT_ONCE = 40;
const STATE_ORDER = { different: 0, incomplete: 1, undescribed: 2, complete: 3 };

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function utcText(startedAt) {
  return startedAt ? startedAt.slice(0, 19).replace("T", " ") : "unknown";
}

function localText(startedAt, withDate) {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short", hourCycle: "h23" };
  if (withDate) Object.assign(options, { year: "numeric", month: "short", day: "numeric" });
  return new Intl.DateTimeFormat(undefined, options).format(new Date(startedAt));
}

// "09:00, 8c2b1f0e": what tells one call from another, short enough to be spoken.
function shortName(row) {
  const name = row.title.length > 16 ? row.title.slice(0, 8) : row.title;
  return row.startedAt ? `${row.startedAt.slice(11, 16)}, ${name}` : name;
}

// Long ids in full where there is room, else their two ends.
function idElements(title) {
  if (title.length <= 16) return [title];
  return [
    make("span", { className: "full", textContent: title }),
    make("span", { className: "short", textContent: `${title.slice(0, 8)}…${title.slice(-4)}`, title }),
  ];
}

class CallList {
  constructor(section, rows, actions) {
    this.section = section;
    this.actions = actions;
    this.rows = rows;
    this.key = "startedAt";
    this.isDescending = false;
    this.table = section.querySelector("table");
    this.body = section.querySelector("tbody");
    this.scroll = section.querySelector(".scroll");
    this.scroll.addEventListener("scroll", () => this.fill());
    for (const row of rows) row.sought = `${row.title} ${utcText(row.startedAt)} ${row.badge} ${row.words}`.toLowerCase();
    for (const button of section.querySelectorAll("th button")) button.addEventListener("click", () => this.sort(button));
    section.querySelector("#search").addEventListener("input", () => this.arrange());
    section.querySelector("#incomplete-only").addEventListener("change", () => this.arrange());
    this.arrange();
  }

  sort(button) {
    this.isDescending = this.key === button.dataset.key && !this.isDescending;
    this.key = button.dataset.key;
    for (const header of this.table.querySelectorAll("th")) header.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
    this.arrange();
  }

  arrange() {
    const words = this.section.querySelector("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const onlyIncomplete = this.section.querySelector("#incomplete-only").checked;
    const valueOf = (row) => {
      if (this.key === "state") return STATE_ORDER[row.state];
      // What has no start comes last.
      return row[this.key] === "" ? "\uffff" : row[this.key];
    };
    const compare = (a, b) => (typeof a === "string" ? (a < b ? -1 : Number(a > b)) : a - b);
    const sign = this.isDescending ? -1 : 1;
    this.order = this.rows
      .filter((row) => words.every((word) => row.sought.includes(word)) && !(onlyIncomplete && row.state === "complete"))
      .sort((a, b) => sign * compare(valueOf(a), valueOf(b)));
    this.section.querySelector("#shown").textContent =
      this.order.length === this.rows.length ? "" : `${this.order.length} of ${this.rows.length} calls`;
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
    this.body.replaceChildren();
    this.scroll.scrollTop = 0;
    this.fill();
  }

  // Rows down to a screen below what is seen.
  fill(upTo = 0) {
    const isNear = () => this.body.rows.length < Math.max(ROWS_AT_ONCE, upTo) ||
      this.scroll.scrollTop + 2 * this.scroll.clientHeight > this.scroll.scrollHeight;
    while (this.body.rows.length < this.order.length && isNear()) {
      const from = this.body.rows.length;
      this.body.append(...this.order.slice(from, from + ROWS_AT_ONCE).map((row, i) => this.element(row, from + i)));
    }
  }

  element(row, place) {
    const started = make("td", { className: "when" });
    for (const part of utcText(row.startedAt).split(" ")) started.append(make("span", { textContent: part }), " ");
    if (row.startedAt) started.append(make("span", { className: "local quiet", textContent: localText(row.startedAt, false) }));
    const play = make("button", { type: "button", className: "row-play", textContent: "▶" });
    play.setAttribute("aria-label", `Play call of ${shortName(row)}`);
    play.addEventListener("click", (event) => { event.stopPropagation(); this.actions.play(row); });
    const link = make("a", { href: `#${row.id}`, title: row.title }, ...idElements(row.title));
    link.addEventListener("click", (event) => { event.preventDefault(); event.stopPropagation(); this.actions.open(row); });
    const element = make("tr", {},
      make("td", {}, play),
      started,
      make("td", { className: "id" }, link),
      make("td", { className: "number", textContent: clockText(row.durationMs) }),
      make("td", { className: `state ${row.state}`, textContent: row.badge }),
      make("td", { className: "number extra", textContent: row.marks || "" }),
      make("td", { className: "number extra", textContent: `${row.talkPercent} %` }),
      make("td", { className: "number extra", textContent: `${row.silencePercent} %` }),
      make("td", { className: "number extra", textContent: row.speech }),
    );
    element.dataset.call = row.id;
    element.setAttribute("aria-rowindex", place + 2);
    if (row.id === this.currentId) element.setAttribute("aria-current", "true");
    element.addEventListener("click", () => this.actions.open(row));
    return element;
  }

  // Marks the open call's row, and makes it seen.
  select(id) {
    this.currentId = id;
    this.fill(this.order.findIndex((row) => row.id === id) + 1);
    for (const row of this.body.rows) {
      if (row.dataset.call !== id) { row.removeAttribute("aria-current"); continue; }
      row.setAttribute("aria-current", "true");
      const [box, view] = [row.getBoundingClientRect(), this.scroll.getBoundingClientRect()];
      const head = this.table.tHead.offsetHeight;
      if (box.top < view.top + head) this.scroll.scrollTop -= view.top + head - box.top;
      if (box.bottom > view.bottom) this.scroll.scrollTop += box.bottom - view.bottom;
    }
  }

  beside(id, step) {
    return this.order[this.order.findIndex((row) => row.id === id) + step];
  }
}
