// Tables, and what is taken away of them: as CSV, and as SQL.

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text != null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function cell(value, column, row, isNumeric) {
  const made = element("td", null, [isNumeric ? "number" : "", column.className?.(row) ?? ""].join(" ").trim());
  made.append(column.show ? column.show(value, row) : rounded(value, column, row));
  const range = interval(column, row);
  if (range) made.append(element("small", range));
  return made;
}

function digitsOf(value, column, row) {
  const given = typeof column.digits === "function" ? column.digits(row) : column.digits;
  return given ?? (Number.isInteger(value) && !/acc$|^gap$|^agreement/.test(column.name) ? 0 : 3);
}

const rounded = (value, column, row) =>
  typeof value === "number" ? fixed(value, digitsOf(value, column, row)) : value ?? "–";

function interval(column, row) {
  const [low, high] = (column.ends ?? []).map((name) => row[name]);
  const digits = digitsOf(row[column.name], column, row);
  return low == null ? "" : ` (${fixed(low, digits)} to ${fixed(high, digits)})`;
}

const inWords = (column, row) => rounded(row[column.name], column, row) + interval(column, row);

function table(columns, rows, heading) {
  const made = element("table");
  if (heading) made.append(element("caption", heading));
  const head = made.createTHead().insertRow();
  const isNumber = (column) => typeof rows.find((row) => row[column.name] != null)?.[column.name] === "number";
  const numeric = new Set(columns.filter(isNumber));
  for (const column of columns) head.append(element("th", column.title, numeric.has(column) ? "number" : ""));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) line.append(cell(row[column.name], column, row, numeric.has(column)));
  }
  return made;
}

const as = (name, title, digits, className) => ({ name, title: title ?? name, digits, className });
// With its 95 % interval, where it has one.
const ranged = (name, title, digits) => ({ ...as(name, title, digits), ends: [`${name}_low`, `${name}_high`] });
const AGREEMENTS = [ranged("agreement"), ranged("agreement_right", "agree, right"), ranged("agreement_wrong", "agree, wrong")];
const verdict = (row) => (row.verdict === "ok" ? "" : row.verdict);
const flagged = (row) => (row.flag ? "flag" : "");
const ACCURACIES = [as("weak_acc", "weak"), as("supervisor_acc", "labels"), as("transfer_acc", "student"), as("ceiling_acc", "ceiling")];
const NUMBERS = {
  pairs: [as("dataset"), as("weak"), as("strong"), as("method"), ...ACCURACIES, as("gap"), ranged("pgr", "PGR", 2),
    as("flag", "flag", null, flagged), as("near_chance", "near chance"), ...AGREEMENTS, as("n_seeds", "seeds"),
    as("n_items", "test items"), as("interval_of", "intervals of")],
  seeds: [as("dataset"), as("weak"), as("strong"), as("method"), as("seed"), ...ACCURACIES, as("gap"), ranged("pgr", "PGR", 2),
    as("flag", "flag", null, flagged), ...AGREEMENTS, as("transfer_score", "student's key")],
};

function shownRows() {
  const rows = state.level === "pairs" ? chosenPairs() : chosenSeedRows();
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const columns = NUMBERS[state.level];
  const kept = rows.filter((row) => {
    const text = columns.map((column) => row[column.name] ?? "").join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const { sort } = state;
  if (!columns.some((column) => column.name === sort)) return kept;
  const sign = state.isDown ? -1 : 1;
  const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
  return kept.sort((a, b) => {
    const [one, other] = [a[sort], b[sort]];
    if (one == null || other == null) return (one == null) - (other == null); // what is not known comes last
    return sign * compare(one, other);
  });
}

// Of columns, those that say something of any row.
const saying = (columns, rows) => columns.filter((column) => rows.some((row) => row[column.name] != null));

function showTable() {
  const columns = saying(NUMBERS[state.level], grid()[state.level]);
  const rows = shownRows();
  const made = table(columns, rows);
  for (const [index, head] of [...made.tHead.rows[0].cells].entries()) {
    const { name, title } = columns[index];
    const button = element("button", title + (state.sort === name ? (state.isDown ? " ↓" : " ↑") : ""));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", state.sort !== name ? "none" : state.isDown ? "descending" : "ascending");
    button.addEventListener("click", () => {
      [state.isDown, state.sort] = [state.sort === name && !state.isDown, name];
      writeAddress();
      showTable();
    });
  }
  for (const [index, line] of [...made.tBodies[0].rows].entries()) {
    line.classList.toggle("open", cellOf(rows[index]) === state.cell);
    line.title = "open the pair";
    line.addEventListener("click", () => open(cellOf(rows[index])));
  }
  byId("table").replaceChildren(made);
  byId("table-count").textContent = plural(rows.length, "row");
  byId("level").value = state.level;
  if (byId("words").value !== state.words) byId("words").value = state.words;
}

function csv() {
  const columns = NUMBERS[state.level].flatMap((column) => [column.name, ...(column.ends ?? [])]);
  const quoted = (value) => {
    const text = value == null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [["grid", ...columns], ...shownRows().map((row) => [state.grid, ...columns.map((name) => row[name])])];
  return lines.map((line) => line.map(quoted).join(",") + "\n").join("");
}

// What the table shows, and a little more.
const ASKED = {
  pairs: "FROM pgr_by_pair LEFT JOIN (\n  SELECT * EXCLUDE (weak_acc, transfer_acc, interval_of, n_items, n_seeds) FROM agreement_by_pair\n) " +
    "USING (grid, dataset, weak, strong, method)",
  seeds: "FROM pgr LEFT JOIN (\n  SELECT * EXCLUDE (n, weak_acc, transfer_acc) FROM agreement\n) " +
    "USING (grid, dataset, weak, strong, method, seed)",
};

function sql() {
  const quoted = (value) => `'${String(value).replaceAll("'", "''")}'`;
  const where = [`grid = ${quoted(state.grid)}`];
  for (const name of ["dataset", "method"])
    if (state.off[name].size)
      where.push(`${name} IN (${grid().values[name].filter((value) => isOn(name, value)).map(quoted).join(", ")})`);
  if (state.off.pair.size) {
    const pairs = grid().pairs.filter((row) => isOn("pair", row.pair));
    const named = distinct(pairs.map((row) => `(${quoted(row.weak)}, ${quoted(row.strong)})`));
    where.push(`(weak, strong) IN (${named.join(", ")})`);
  }
  if (state.off.seed.size && state.level === "seeds") where.push(`seed IN (${chosenSeeds().join(", ")})`);
  if (state.off.flag.size)
    where.push(`coalesce(flag, 'sound') IN (${FLAGS.filter((value) => isOn("flag", value)).map(quoted).join(", ")})`);
  const known = state.sort !== "transfer_score" && NUMBERS[state.level].some((column) => column.name === state.sort);
  const order = known ? `\nORDER BY ${state.sort}${state.isDown ? " DESC" : ""} NULLS LAST` : "";
  return `${ASKED[state.level]}\nWHERE ${where.join("\n  AND ")}${order}`;
}

byId("csv").addEventListener("click", () => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `${state.grid}-${state.level}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

// A browser cannot write Parquet; whoever has the results can.
function parquetCommand() {
  const asked = sql().split(/\s+/).join(" ");
  const quoted = /["$`\\!]/.test(asked) ? `'${asked.replaceAll("'", "'\\''")}'` : `"${asked}"`;
  return `w2s sql ${quoted} --output ${state.grid}-${state.level}.parquet`;
}

function giveAway(text) {
  const area = byId("copied").querySelector("textarea");
  byId("copied").hidden = false;
  area.value = text;
  area.select();
  navigator.clipboard?.writeText(text).catch(() => {}); // it is selected, so it can be copied by hand
}

byId("sql").addEventListener("click", () => giveAway(sql()));
byId("parquet").addEventListener("click", () => giveAway(parquetCommand()));

byId("level").addEventListener("change", (event) => { state.level = event.target.value; writeAddress(); showTable(); });
byId("words").addEventListener("input", (event) => { state.words = event.target.value; writeAddress(); showTable(); });
byId("base").addEventListener("change", (event) => { state.base = event.target.value; show(); });
