"use strict";
// The page of a grid: chooses rows by the filters, and gives them to the charts and the tables.
// What a chart looks like is in charts.py. Texts of the data are only ever set as text.
(() => {
  const byId = (id) => document.getElementById(id);
  const unpack = (packed) =>
    packed.rows.map((row) => Object.fromEntries(packed.names.map((name, index) => [name, row[index]])));
  const distinct = (values) => [...new Set(values)];
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const pairOf = (row) => `${row.weak} → ${row.strong}`;
  const cellOf = (row) => JSON.stringify([row.dataset, row.weak, row.strong, row.method]);
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const fixed = (value, digits) => (value == null ? "–" : value.toFixed(digits).replace(/^-/, "−"));

  const DIMENSIONS = ["dataset", "pair", "method", "seed", "flag"];
  const FLAGS = ["sound", "unstable", "undefined"];
  const PACKED = ["calibration", "history", "labels", "audits", "pairs", "seeds", "curves", "trainings"];
  const T = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
    2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06]; // 0.975 quantile, by degrees of freedom
  const quantile = (df) => T[df] ?? 1.96 + 2.5 / df;

  // ---- grids, and what is chosen of them -------------------------------------------------------------------------

  const sources = new Map();
  for (const element of document.querySelectorAll("script.grid")) sources.set(element.dataset.grid, element);
  const loaded = new Map();

  function grid() {
    if (!loaded.has(state.grid)) {
      const raw = JSON.parse(sources.get(state.grid).textContent);
      for (const name of PACKED) raw[name] = unpack(raw[name]);
      for (const row of [...raw.pairs, ...raw.seeds]) row.pair = pairOf(row);
      raw.values = {
        dataset: distinct(raw.pairs.map((row) => row.dataset)),
        pair: distinct(raw.pairs.map((row) => row.pair)),
        method: distinct(raw.pairs.map((row) => row.method)),
        seed: distinct(raw.seeds.map((row) => row.seed)).sort((a, b) => a - b).map(String),
        flag: FLAGS,
      };
      raw.trainingsByName = new Map(raw.trainings.map((row) => [`${row.dataset} ${row.training}`, row]));
      raw.curvesByName = new Map(raw.curves.map((row) => [`${row.dataset} ${row.training}`, row]));
      loaded.set(state.grid, raw);
    }
    return loaded.get(state.grid);
  }

  const state = {};
  const freshOff = () => Object.fromEntries(DIMENSIONS.map((name) => [name, new Set()]));

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    state.grid = sources.has(asked.get("grid")) ? asked.get("grid") : sources.keys().next().value;
    state.off = freshOff();
    for (const name of DIMENSIONS)
      for (const value of asked.getAll(`no-${name}`)) if (grid().values[name].includes(value)) state.off[name].add(value);
    state.cell = asked.get("cell");
    state.base = grid().values.method.includes(asked.get("base")) ? asked.get("base") : grid().values.method[0];
    state.level = asked.get("level") === "seeds" ? "seeds" : "pairs";
    state.words = asked.get("words") ?? "";
    state.sort = asked.get("sort");
    state.isDown = asked.get("down") === "1";
  }

  function writeAddress() {
    const words = new URLSearchParams({ grid: state.grid });
    for (const name of DIMENSIONS) for (const value of state.off[name]) words.append(`no-${name}`, value);
    if (state.cell) words.set("cell", state.cell);
    if (state.base !== grid().values.method[0]) words.set("base", state.base);
    if (state.level !== "pairs") words.set("level", state.level);
    if (state.words) words.set("words", state.words);
    if (state.sort) words.set("sort", state.sort);
    if (state.isDown) words.set("down", "1");
    history.replaceState(null, "", `#${words}`);
  }

  const isOn = (name, value) => !state.off[name].has(String(value));
  const isChosen = (row) => isOn("dataset", row.dataset) && isOn("method", row.method) && isOn("pair", pairOf(row));
  const hasFlag = (row) => isOn("flag", row.flag ?? "sound");
  const chosenSeeds = () => grid().values.seed.filter((seed) => isOn("seed", seed));

  // Pairs over the chosen seeds. Of all of them, as the results have it; of some, without an interval, and flagged where
  // one of them is: what their mean is worth is not known here.
  function chosenPairs() {
    const seeds = chosenSeeds();
    let rows = grid().pairs.filter(isChosen);
    if (seeds.length < grid().values.seed.length) {
      const bySeed = Map.groupBy(grid().seeds.filter((row) => seeds.includes(String(row.seed))), cellOf);
      rows = rows.flatMap((row) => {
        const own = bySeed.get(cellOf(row));
        if (!own) return [];
        const over = (name) => (own.some((each) => each[name] == null) ? null : mean(own.map((each) => each[name])));
        const known = ["weak_acc", "transfer_acc", "ceiling_acc", "supervisor_acc", "gap", "agreement", "agreement_right",
          "agreement_wrong"];
        const found = { ...row, ...Object.fromEntries(known.map((name) => [name, over(name)])) };
        found.n_seeds = own.length;
        found.pgr = found.gap > 0 ? (found.transfer_acc - found.weak_acc) / found.gap : null;
        found.flag = found.gap > 0 ? (own.some((each) => each.flag) ? "unstable" : null) : "undefined";
        found.pgr_low = found.pgr_high = null;
        found.interval_of = "a choice of seeds: none";
        return [found];
      });
    }
    return rows.filter(hasFlag);
  }

  const chosenSeedRows = () =>
    grid().seeds.filter((row) => isChosen(row) && isOn("seed", row.seed) && hasFlag(row));

  // ---- rows of the charts ----------------------------------------------------------------------------------------

  function comparisons(pairs) {
    const byCell = new Map(pairs.map((row) => [cellOf(row), row]));
    const rows = [];
    for (const row of pairs) {
      if (row.method === state.base) continue;
      const other = byCell.get(cellOf({ ...row, method: state.base }));
      if (!other) continue;
      rows.push({
        kind: "one", method: row.method, dataset: row.dataset, pair: row.pair,
        accuracy: row.transfer_acc - other.transfer_acc,
        pgr: row.flag || other.flag ? null : row.pgr - other.pgr,
      });
    }
    for (const [method, own] of Map.groupBy(rows, (row) => row.method)) {
      const found = { kind: "mean", method };
      for (const name of ["accuracy", "pgr"]) {
        const held = own.filter((row) => row[name] != null);
        const means = [...Map.groupBy(held, (row) => row.dataset).values()].map((of) => mean(of.map((row) => row[name])));
        const n = means.length;
        if (!n) continue;
        found[name] = mean(means);
        found[`${name}_of`] = `${held.length} on ${plural(n, "dataset")}`;
        if (n < 2) continue;
        const spread = Math.sqrt(means.reduce((sum, each) => sum + (each - found[name]) ** 2, 0) / (n - 1) / n);
        found[`${name}_low`] = found[name] - quantile(n - 1) * spread;
        found[`${name}_high`] = found[name] + quantile(n - 1) * spread;
      }
      rows.push(found);
    }
    return rows;
  }

  function withinRows() {
    const rows = [];
    const seen = new Set();
    for (const row of chosenSeedRows()) {
      const name = `${row.dataset} ${row.transfer_training}`;
      const curve = grid().curvesByName.get(name);
      if (!curve || seen.has(name)) continue;
      seen.add(name);
      for (const [index, fraction] of curve.fraction.entries())
        for (const [against, column] of [["truth", "gt_accuracy"], ["labels", "label_accuracy"]])
          if (curve[column][index] != null)
            rows.push({ method: row.method, fraction: Math.round(fraction * 100) / 100, against, accuracy: curve[column][index] });
    }
    return distinct(rows.map((row) => row.fraction)).length > 1 ? rows : [];
  }

  function curveRows(cell) {
    const rows = [];
    for (const row of seedsOf(cell))
      for (const [role, column] of [["supervisor", "weak"], ["student", "transfer"], ["ceiling", "ceiling"]]) {
        const curve = grid().curvesByName.get(`${row.dataset} ${row[`${column}_training`]}`);
        if (!curve) continue;
        for (const [index, fraction] of curve.fraction.entries()) {
          const known = { role, seed: row.seed, fraction };
          rows.push({ ...known, loss: curve.loss[index] });
          if (curve.gt_accuracy[index] != null) rows.push({ ...known, against: "truth", accuracy: curve.gt_accuracy[index] });
          if (curve.label_accuracy[index] != null && role === "student")
            rows.push({ ...known, against: "labels", accuracy: curve.label_accuracy[index] });
        }
      }
    return rows;
  }

  const seedsOf = (cell) => grid().seeds.filter((row) => cellOf(row) === cell && isOn("seed", row.seed));

  const CHARTS = {
    heatmap: (pairs) => pairs,
    pair_curves: () => (state.cell ? curveRows(state.cell) : []),
    accuracy: (pairs) => pairs,
    pgr_by_pair: (pairs) => pairs,
    pgr_by_dataset: (pairs) => pairs,
    comparison: comparisons,
    agreement: (pairs) => pairs.filter((row) => row.agreement != null),
    within: withinRows,
    calibration: () => grid().calibration.filter(isChosen),
    labels: (pairs) => pairs,
    history: () =>
      grid().history.filter((row) =>
        isOn("dataset", row.dataset) && isOn("seed", row.seed) && (row.method == null || isOn("method", row.method))),
  };

  const EMPTY = {
    pair_curves: "No curve of these trainings is known.",
    comparison: "Nothing to compare: choose another method beside it.",
    within: "Students were not looked at on their way: runtime.eval_at names the points.",
    calibration: "These answers have no probabilities.",
    history: "Every number of this grid has been computed once: no other version of code or data made it before.",
  };

  function counted(name, rows, pairs) {
    if (name === "history") return `${plural(distinct(rows.map((row) => row.node)).length, "number")} with more than one version`;
    const of = (column) => distinct(pairs.map((row) => row[column])).length;
    const items = pairs.map((row) => row.n_items).filter((n) => n != null);
    const words = [plural(of("dataset"), "dataset"), plural(of("pair"), "pair"), plural(of("method"), "method"),
      `${chosenSeeds().length === 1 ? "seed" : "seeds"} ${chosenSeeds().join(", ")}`];
    if (items.length) {
      const [least, most] = [Math.min(...items), Math.max(...items)];
      words.push(`${least === most ? least : `${least} to ${most}`} test items`);
    }
    const n = pairs.filter((row) => !row.flag).length;
    words.push(`${n} of ${pairs.length} sound`);
    return words.join(" · ");
  }

  // ---- drawing, what is nearest to the eye first -----------------------------------------------------------------

  const waiting = new Map();
  let isDrawing = false;

  function plan(pairs) {
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      const name = figure.dataset.chart;
      waiting.set(figure, () => draw(figure, name, CHARTS[name](pairs), pairs));
    }
    if (!isDrawing) drawAll();
  }

  async function drawAll() {
    isDrawing = true;
    document.body.dataset.drawn = "no";
    while (waiting.size) {
      const distance = (figure) => {
        const box = figure.getBoundingClientRect();
        return box.bottom < 0 ? -box.bottom : Math.max(0, box.top - innerHeight);
      };
      const nearest = [...waiting.keys()].reduce((best, each) => (distance(each) < distance(best) ? each : best));
      const task = waiting.get(nearest);
      waiting.delete(nearest);
      await task();
      await new Promise((resolve) => setTimeout(resolve));
    }
    isDrawing = false;
    document.body.dataset.drawn = "yes";
  }

  async function draw(figure, name, rows, pairs) {
    if (!figure.isConnected) return;
    figure.view?.finalize();
    figure.view = null;
    if (!rows.length) {
      const words = document.createElement("p");
      words.className = "empty";
      words.textContent = pairs.length ? EMPTY[name] ?? "Nothing to show." : "Nothing is chosen.";
      figure.replaceChildren(words);
      return;
    }
    const spec = structuredClone(grid().specs[name]);
    spec.data = { values: rows };
    spec.title.subtitle = counted(name, rows, pairs);
    const options = {
      renderer: "svg", ast: true, logLevel: 1, downloadFileName: `${state.grid}-${name}`,
      actions: { export: true, source: false, compiled: false, editor: false },
    };
    const { view } = await vegaEmbed(figure, spec, options);
    figure.view = view;
    view.addEventListener("click", (event, item) => {
      const row = item?.datum;
      if (row && row.dataset && row.weak && row.strong && row.method) open(cellOf(row));
    });
  }

  // ---- tables ----------------------------------------------------------------------------------------------------

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text != null) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function cell(value, digits, className) {
    const isNumber = typeof value === "number";
    return element("td", isNumber ? (Number.isInteger(value) && digits !== 3 ? String(value) : fixed(value, digits ?? 3)) : value ?? "–",
      [isNumber ? "number" : "", className].filter(Boolean).join(" "));
  }

  function table(columns, rows, heading) {
    const made = element("table");
    if (heading) made.append(element("caption", heading));
    const head = made.createTHead().insertRow();
    for (const column of columns) head.append(element("th", column.title ?? column.name));
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const column of columns) line.append(cell(row[column.name], column.digits, column.className?.(row)));
    }
    return made;
  }

  const as = (name, title, digits, className) => ({ name, title: title ?? name, digits, className });
  const verdict = (row) => (row.verdict === "ok" ? "" : row.verdict);
  const ACCURACIES = [as("weak_acc", "weak"), as("supervisor_acc", "labels"), as("transfer_acc", "student"), as("ceiling_acc", "ceiling")];
  const NUMBERS = {
    pairs: [as("dataset"), as("weak"), as("strong"), as("method"), ...ACCURACIES, as("gap"), as("pgr", "PGR", 2),
      as("pgr_low", "from", 2), as("pgr_high", "to", 2), as("interval_of", "95 % of"), as("flag", "flag", null, () => "flag"),
      as("near_chance", "near chance"), as("agreement"), as("agreement_right", "agree, right"),
      as("agreement_wrong", "agree, wrong"), as("n_seeds", "seeds"), as("n_items", "test items")],
    seeds: [as("dataset"), as("weak"), as("strong"), as("method"), as("seed"), ...ACCURACIES, as("gap"), as("pgr", "PGR", 2),
      as("flag", "flag", null, () => "flag"), as("agreement"), as("agreement_right", "agree, right"),
      as("agreement_wrong", "agree, wrong"), as("transfer_score", "student's key")],
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

  function showTable() {
    const columns = NUMBERS[state.level];
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
    const columns = NUMBERS[state.level].map((column) => column.name);
    const quoted = (value) => {
      const text = value == null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [["grid", ...columns], ...shownRows().map((row) => [state.grid, ...columns.map((name) => row[name])])];
    return lines.map((line) => line.map(quoted).join(",") + "\n").join("");
  }

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
    const known = NUMBERS[state.level].some((column) => column.name === state.sort);
    const order = known ? `\nORDER BY ${state.sort}${state.isDown ? " DESC" : ""} NULLS LAST` : "";
    return `SELECT * FROM ${state.level === "pairs" ? "pgr_by_pair" : "pgr"}\nWHERE ${where.join("\n  AND ")}${order}`;
  }

  byId("csv").addEventListener("click", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `${state.grid}-${state.level}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  byId("sql").addEventListener("click", () => {
    const area = byId("sql-shown").querySelector("textarea");
    byId("sql-shown").hidden = false;
    area.value = sql();
    area.select();
    navigator.clipboard?.writeText(area.value).catch(() => {}); // it is selected, so it can be copied by hand
  });

  byId("level").addEventListener("change", (event) => { state.level = event.target.value; writeAddress(); showTable(); });
  byId("words").addEventListener("input", (event) => { state.words = event.target.value; writeAddress(); showTable(); });
  byId("base").addEventListener("change", (event) => { state.base = event.target.value; show(); });

  // ---- one pair --------------------------------------------------------------------------------------------------

  function open(chosen) {
    state.cell = chosen;
    writeAddress();
    showPair();
    showTable();
    byId("pair").scrollIntoView({ behavior: "smooth", block: "start" });
  }

  function showPair() {
    const section = byId("pair");
    section.querySelector("figure")?.view?.finalize();
    const row = state.cell && chosenPairs().find((each) => cellOf(each) === state.cell);
    section.hidden = !row;
    section.replaceChildren();
    if (!row) return;
    const head = element("header");
    const close = element("button", "close");
    close.addEventListener("click", () => { state.cell = null; writeAddress(); showPair(); showTable(); });
    head.append(element("h2", `${row.dataset}: ${row.pair}, ${row.method}`), close);
    const range = row.flag ? row.flag : row.pgr_low == null ? "no interval" :
      `95 % interval ${fixed(row.pgr_low, 2)} to ${fixed(row.pgr_high, 2)}, ${row.interval_of}`;
    const words = [
      `PGR ${fixed(row.pgr, 2)} (${range}); ${plural(row.n_seeds, "seed")}, ${row.n_items ?? "?"} test items.`,
      `Accuracy: weak ${fixed(row.weak_acc, 3)}, its labels ${fixed(row.supervisor_acc, 3)}, student ${fixed(row.transfer_acc, 3)}, ` +
        `ceiling ${fixed(row.ceiling_acc, 3)}. The student answers as the labels say on ${fixed(row.agreement, 3)} of the test set: on ` +
        `${fixed(row.agreement_right, 3)} of what they have right, on ${fixed(row.agreement_wrong, 3)} of what they have wrong.`,
    ];
    if (row.near_chance) words.push(`Near chance: ${row.near_chance}.`);
    const audit = grid().audits.filter((each) => each.dataset === row.dataset);
    const amiss = audit.filter((each) => each.verdict !== "ok");
    words.push(audit.length ? `Audit of ${row.dataset}: ${amiss.length ? amiss.map((each) => `${each.verdict}, ${each.check} (${each.detail})`).join("; ") : `sound in all ${audit.length} checks`}.`
      : `${row.dataset} was not audited.`);
    const figure = element("figure");
    figure.dataset.chart = "pair_curves";
    const seeds = seedsOf(state.cell);
    const numbers = [as("seed"), ...ACCURACIES, as("gap"), as("pgr", "PGR", 2), as("flag", "flag", null, () => "flag"),
      as("weak_score", "weak's score"), as("transfer_score", "student's score"), as("ceiling_score", "ceiling's score")];
    const trainings = seeds.flatMap((each) =>
      [["supervisor", "weak"], ["student", "transfer"], ["ceiling", "ceiling"]].flatMap(([role, column]) => {
        const found = grid().trainingsByName.get(`${each.dataset} ${each[`${column}_training`]}`);
        return found ? [{ role, seed: each.seed, ...found }] : [];
      }));
    section.append(head, ...words.map((text) => element("p", text)), figure, scrolled(table(numbers, seeds)));
    if (trainings.length)
      section.append(scrolled(table([as("role", "training"), as("seed"), as("key"), as("seconds", "seconds", 1), as("device"), as("started", "started (UTC)")], trainings)));
    section.append(element("p", "More of any key: w2s explain KEY", "fine"));
    const pairs = chosenPairs();
    waiting.set(figure, () => draw(figure, "pair_curves", CHARTS.pair_curves(pairs), [row]));
    if (!isDrawing) drawAll();
  }

  function scrolled(made) {
    const box = element("div", null, "wide");
    box.append(made);
    return box;
  }

  // ---- the rest of the page --------------------------------------------------------------------------------------

  function showFilters() {
    const bar = byId("filters");
    bar.replaceChildren();
    if (sources.size > 1) bar.append(filterLine("grid", [gridChoice()]));
    for (const name of DIMENSIONS) {
      const values = grid().values[name];
      if (values.length < 2) continue;
      const buttons = values.map((value) => {
        const button = element("button", value);
        button.setAttribute("aria-pressed", String(isOn(name, value)));
        button.title = "switch on or off; with Shift: this alone";
        button.addEventListener("click", (event) => {
          if (event.shiftKey) state.off[name] = new Set(values.filter((other) => other !== value));
          else if (!state.off[name].delete(value)) state.off[name].add(value);
          show();
        });
        return button;
      });
      const all = element("button", state.off[name].size ? "all" : "none", "plain");
      all.addEventListener("click", () => {
        state.off[name] = new Set(state.off[name].size ? [] : values);
        show();
      });
      bar.append(filterLine(name, [...buttons, all]));
    }
  }

  function filterLine(name, items) {
    const line = element("div", null, "filter");
    const values = element("span", null, "values");
    values.append(...items);
    line.append(element("strong", name), values);
    return line;
  }

  function gridChoice() {
    const select = element("select");
    select.setAttribute("aria-label", "grid");
    for (const name of sources.keys()) select.append(element("option", name));
    select.value = state.grid;
    select.addEventListener("change", () => {
      state.grid = select.value;
      Object.assign(state, { off: freshOff(), cell: null, base: grid().values.method[0], sort: null });
      show();
    });
    return select;
  }

  function showSummary(pairs) {
    const sound = pairs.filter((row) => !row.flag).map((row) => row.pgr).sort((a, b) => a - b);
    const half = sound.length / 2;
    const median = sound.length % 2 ? sound[Math.floor(half)] : (sound[half - 1] + sound[half]) / 2;
    byId("grid-name").textContent = state.grid;
    byId("summary").textContent = `${counted("", [], pairs)}. ` +
      (sound.length ? `Median PGR ${fixed(median, 2)}, of the ${sound.length} sound ones of ${pairs.length}.` : "No sound PGR.");
  }

  function showSmallTables(pairs) {
    byId("base").replaceChildren(...grid().values.method.map((name) => element("option", name)));
    byId("base").value = state.base;
    const means = comparisons(pairs).filter((row) => row.kind === "mean").map((row) => ({
      ...row,
      accuracy_range: row.accuracy_low == null ? "none" : `${fixed(row.accuracy_low, 3)} to ${fixed(row.accuracy_high, 3)}`,
      pgr_range: row.pgr_low == null ? "none" : `${fixed(row.pgr_low, 2)} to ${fixed(row.pgr_high, 2)}`,
    }));
    byId("comparison-table").replaceChildren(...(means.length ? [table([as("method", `less ${state.base}`), as("accuracy", "accuracy"),
      as("accuracy_range", "95 % interval"), as("accuracy_of", "pairs"), as("pgr", "PGR", 2), as("pgr_range", "95 % interval"),
      as("pgr_of", "sound pairs")], means)] : []));
    const labels = grid().labels.filter((row) => isOn("dataset", row.dataset));
    byId("labels-table").replaceChildren(...(labels.length ? [details(`What the labels are worth: ${labels.length} rows`,
      table([as("dataset"), as("supervisor"), as("split"), as("accuracy"), as("certainty"), as("ece", "calibration error"),
        as("length_correlation", "correlation with length"), as("n_seeds", "seeds")], labels))] : []));
    const audits = grid().audits.filter((row) => isOn("dataset", row.dataset));
    const columns = [as("dataset"), as("source"), as("split"), as("check"), as("value"), as("threshold"),
      as("verdict", "verdict", null, verdict), as("detail", "detail", null, () => "words")];
    const amiss = audits.filter((row) => row.verdict !== "ok");
    const sound = audits.filter((row) => row.verdict === "ok");
    byId("audit-table").replaceChildren(
      element("p", !audits.length ? "No dataset of this grid was audited." :
        amiss.length ? `${plural(amiss.length, "check")} of ${audits.length} not ok.` : `All ${audits.length} checks are ok.`),
      ...(amiss.length ? [table(columns, amiss)] : []),
      ...(sound.length ? [details(`The ${sound.length} that are ok`, table(columns, sound))] : []));
  }

  function details(title, content) {
    const made = element("details");
    made.append(element("summary", title), content);
    return made;
  }

  function showProvenance() {
    const { run } = grid();
    const box = byId("provenance");
    box.replaceChildren(element("p", `Run ${run.run}, ${run.state}, started ${run.started} UTC.`));
    const tables = element("div", null, "columns");
    const hours = (name) => run.stages.reduce((sum, row) => sum + (row[name] ?? 0), 0);
    if (run.stages.length) {
      box.append(element("p", `${run.stages.reduce((sum, row) => sum + row.n, 0)} stages, ${fixed(hours("hours"), 2)} hours; ` +
        `${run.stages.reduce((sum, row) => sum + row.n_reused, 0)} of them, ${fixed(hours("hours_reused"), 2)} hours, were there before the latest run.`));
      tables.append(table([as("stage"), as("n", "stages"), as("hours", "hours", 3), as("n_reused", "reused"), as("hours_reused", "hours reused", 3)], run.stages));
    }
    if (run.machines.length)
      tables.append(table([as("torch"), as("transformers"), as("host"), as("device"), as("n", "stages"), as("first", "first (UTC)"), as("last", "last (UTC)")], run.machines));
    const revisions = Object.entries(run.revisions).map(([id, commit]) => ({ id, commit }));
    if (revisions.length) tables.append(table([as("id", "from the Hub"), as("commit")], revisions));
    box.append(tables);
    if (run.toml) box.append(element("h3", "The grid, with all that its defaults say"), element("pre", run.toml));
    else box.append(element("p", "Its grid file is not in the store of this home.", "fine"));
  }

  function show() {
    const pairs = chosenPairs();
    writeAddress();
    showFilters();
    showSummary(pairs);
    plan(pairs);
    showPair();
    showSmallTables(pairs);
    showTable();
    showProvenance();
  }

  addEventListener("hashchange", () => { readAddress(); show(); });
  readAddress();
  show();
})();
