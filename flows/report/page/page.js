// The page of a grid: the filters, one pair, and the rest that stands around the charts. Texts of the data are only
// ever set as text.

// ---- one pair

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
  const share = (name) => inWords(ranged(name, name, 3), row);
  const range = row.flag ? row.flag : row.pgr_low == null ? "no interval" :
    `95 % interval ${fixed(row.pgr_low, 2)} to ${fixed(row.pgr_high, 2)}, ${row.interval_of}`;
  const words = [
    `PGR ${fixed(row.pgr, 2)} (${range}); ${plural(row.n_seeds, "seed")}, ${row.n_items ?? "?"} test items.`,
    `Accuracy: weak ${fixed(row.weak_acc, 3)}, its labels ${fixed(row.supervisor_acc, 3)}, student ${fixed(row.transfer_acc, 3)}, ` +
      `ceiling ${fixed(row.ceiling_acc, 3)}. The student answers as the labels say on ${share("agreement")} of the test set: on ` +
      `${share("agreement_right")} of what they have right, on ${share("agreement_wrong")} of what they have wrong.`,
  ];
  if (row.near_chance) words.push(`Near chance: ${row.near_chance}.`);
  const audit = grid().audits.filter((each) => each.dataset === row.dataset);
  const amiss = audit.filter((each) => each.verdict !== "ok");
  words.push(audit.length ? `Audit of ${row.dataset}: ${amiss.length ? amiss.map((each) => `${each.verdict}, ${each.check} (${each.detail})`).join("; ") : `sound in all ${audit.length} checks`}.`
    : `${row.dataset} was not audited.`);
  const figure = element("figure");
  figure.dataset.chart = "pair_curves";
  const seeds = seedsOf(state.cell);
  const numbers = [as("seed"), ...ACCURACIES, as("gap"), ranged("pgr", "PGR", 2), as("flag", "flag", null, flagged),
    as("weak_score", "weak's score"), as("transfer_score", "student's score"), as("ceiling_score", "ceiling's score")];
  const trainings = seeds.flatMap((each) =>
    [["supervisor", "weak"], ["student", "transfer"], ["ceiling", "ceiling"]].flatMap(([role, column]) => {
      const found = grid().trainingsByName.get(`${each.dataset} ${each[`${column}_training`]}`);
      return found ? [{ role, seed: each.seed, ...found }] : [];
    }));
  const runs = distinct(seeds.map((each) => each.flow_run).filter(Boolean));
  const made = element("p", runs.length ? `Student made by ${runs.length === 1 ? "flow run" : "flow runs"} ` : "Which flow run made the student was not written down.");
  for (const [index, run] of runs.entries()) made.append(...(index ? [", "] : []), flowRun(run));
  section.append(head, ...words.map((text) => element("p", text)), made, figure, scrolled(table(numbers, seeds)));
  if (trainings.length)
    section.append(scrolled(table([as("role", "training"), as("seed"), as("key"), as("seconds", "seconds", 1), as("device"), as("started", "started (UTC)"),
      { ...as("flow_run", "flow run"), show: flowRun }], trainings)));
  section.append(element("p", "More of any key: w2s explain KEY", "fine"));
  const pairs = chosenPairs();
  waiting.set(figure, () => draw(figure, "pair_curves", CHARTS.pair_curves(pairs), [row]));
  if (!isDrawing) drawAll();
}

// Prefect's page of it, where the server of the home shows this one; elsewhere its id.
const isServed = location.protocol.startsWith("http") && /\/report\/[^/]+$/.test(location.pathname);

function flowRun(id) {
  if (!id) return "–";
  if (!isServed) return id;
  const link = element("a", id.slice(0, 8));
  link.href = `../runs/flow-run/${id}`;
  link.title = `flow run ${id} in Prefect`;
  return link;
}

function scrolled(made) {
  const box = element("div", null, "wide");
  box.append(made);
  return box;
}

// ---- around

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
    const line = filterLine(name, [...buttons, all]);
    if (values.length > MANY) {
      const folded = details(`${values.length - state.off[name].size} of ${values.length}`, line.lastChild);
      folded.open = unfolded.has(name);
      folded.addEventListener("toggle", () => unfolded[folded.open ? "add" : "delete"](name));
      line.append(folded);
    }
    bar.append(line);
  }
}

const MANY = 12; // values of a filter that are folded away, so that the bar leaves room for the page
const unfolded = new Set();

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
  const wholes = new Map(grid().medians.map((row) => [row.method, row]));
  const byMethod = [...Map.groupBy(pairs, (row) => row.method)].map(([method, own]) => ({ method, ...overPairs(own, wholes.get(method)) }));
  const told = byMethod.filter((row) => row.median != null).map((row) =>
    `${row.method} ${inWords(ranged("median", "", 2), row)}`);
  byId("grid-name").textContent = state.grid;
  byId("summary").textContent = `${counted("", [], pairs)}. ` +
    (!told.length ? "No sound PGR." : told.length <= MOST_TOLD ? `Median PGR: ${told.join(", ")}.` : "");
  const over = [ranged("median", "median PGR", 2), ranged("mean", "mean PGR", 2), as("interval_of", "intervals of"), as("n_sound", "sound"),
    as("n_pairs", "of pairs"), as("n_datasets", "datasets"), as("n_seeds", "seeds"), as("weak_acc", "weak"),
    as("transfer_acc", "student"), as("ceiling_acc", "ceiling")];
  byId("by-method").replaceChildren(table([as("method"), ...over], byMethod));
  const groups = (names, whole) => [...Map.groupBy(pairs, (row) => JSON.stringify(names.map((name) => row[name]))).values()].map((own) =>
    ({ ...Object.fromEntries(names.map((name) => [name, own[0][name]])), ...overPairs(own, whole?.(own)) }));
  const whole = (own) => ({ ...own[0], n_sound: own.filter((row) => !row.flag).length });
  byId("by-pair").replaceChildren(folded("by-pair", "The medians as a table", () =>
    table([as("pair"), as("method"), ...over], groups(["pair", "method"], whole))));
  byId("by-dataset").replaceChildren(folded("by-dataset", "Over the pairs of each dataset", () =>
    table([as("dataset"), as("method"), ...over.filter((column) => column.name !== "n_datasets")], groups(["dataset", "method"]))));
}

const MOST_TOLD = 4; // methods whose medians are in the line at the top

function showComparisons(pairs) {
  byId("base").replaceChildren(...grid().values.method.map((name) => element("option", name)));
  byId("base").value = state.base;
  const rows = comparisons(pairs);
  const digits = (row) => row.digits;
  const p = (value) => (value == null ? "–" : value < 0.001 ? "< 0.001" : fixed(value, 3));
  const means = rows.filter((row) => row.kind === "mean").flatMap((row) => MEASURES.filter(([name]) => row[name] != null).map(
    ([name, measure, digits]) => ({
      ...row.tests[name], method: row.method, measure, digits,
      difference: row[name], difference_low: row[`${name}_low`], difference_high: row[`${name}_high`], of: row[`${name}_of`],
    })));
  byId("comparison-table").replaceChildren(...(means.length ? [table([as("method", `less ${state.base}`), as("measure"),
    ranged("difference", "mean difference", digits), ranged("median_difference", "median", digits), as("n_better", "datasets better"),
    as("n_worse", "worse"), { ...as("wilcoxon_holm", "Wilcoxon p"), show: p }, { ...as("sign_holm", "sign test p"), show: p },
    as("of", "pairs")], means)] : []));
  const known = distinct(grid().differences.map((row) => row.reference));
  byId("comparison-more").textContent = !means.length || known.includes(state.base) ? "" :
    `This page has them only of ${known.join(", ")}; of others: w2s compare --grid ${state.grid} --methods ${state.base}`;
  const ones = rows.filter((row) => row.kind === "one");
  byId("comparison-pairs").replaceChildren(...(ones.length ? [folded("comparison", `Pair by pair: ${plural(ones.length, "row")}`, () =>
    table([as("dataset"), as("pair"), as("method", `less ${state.base}`), ranged("accuracy", "accuracy", 3), ranged("pgr", "PGR", 2)], ones))] : []));
}

function showPublished() {
  const rows = publishedRows().map((row) => ({
    ...row, digits: row.metric.startsWith("pgr") ? 2 : 3, models: row.method && row.strong ? pairOf(row) : row.weak,
  }));
  const [made, real] = [rows.filter(isMadeUp), rows.filter((row) => !isMadeUp(row))];
  const digits = (row) => row.digits;
  const columns = [as("dataset"), as("metric"), as("method"), as("supervisor"), as("models", "their models"), as("published", "published", digits),
    ranged("ours", "here", digits), as("n", "pairs, seeds"), as("certainty", "how it was had"), as("source", "published by", null, () => "words"),
    as("note", "note", null, () => "words")];
  byId("published-said").textContent = real.length ?
    `${plural(real.length, "published number")} of what is in this grid, too.` :
    made.length ? `Nothing matches: the rows of this grid are generated; ${plural(made.length, "published number")} of the real datasets of the same names ` +
        "tell nothing of it." :
      "Nothing matches: no published number that is known here is of a dataset and method that are chosen, or of their models.";
  document.querySelector("figure[data-chart=published]").hidden = !real.length;
  byId("published-table").replaceChildren(
    ...(real.length ? [folded("published", "As a table, with sources and how the numbers were had", () => table(saying(columns, real), real), true)] : []),
    ...(made.length ? [folded("made", "Show them all the same", () => table(saying(columns, made), made))] : []));
}

function showSmallTables(pairs) {
  showComparisons(pairs);
  showPublished();
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

// Made when it is opened; it stays as it is when the page is shown anew.
function folded(name, title, make, isOpen = false) {
  const made = details(title, "");
  const fill = () => made.open && made.children.length < 2 && made.append(make());
  made.open = unfolded.has(name) || (isOpen && !unfolded.has(`not ${name}`));
  fill();
  made.addEventListener("toggle", () => {
    fill();
    unfolded[made.open ? "add" : "delete"](name);
    unfolded[made.open ? "delete" : "add"](`not ${name}`);
  });
  return made;
}

function details(title, content) {
  const made = element("details");
  made.append(element("summary", title), content);
  return made;
}

function showTranscripts() {
  const rows = grid().transcripts.filter((row) => isOn("dataset", row.dataset));
  byId("transcripts").hidden = !rows.length;
  byId("transcripts-list").replaceChildren(...rows.map((row) => {
    const box = element("div");
    box.append(element("pre", row.text));
    for (const turn of row.turns) {
      const line = element("p");
      const side = turn.is_true ? "right" : "wrong";
      line.append(element("strong", `${turn.role}, who argues that ${turn.claim} (${side}): `),
        document.createTextNode(turn.text + (turn.is_cut ? " […]" : "")));
      box.append(line);
    }
    return details(`${row.dataset}: ${row.supervisor} is ${row.right ? "right" : "wrong"}; ${row.truth} (seed ${row.seed}, id ${row.id.slice(0, 8)})`, box);
  }));
}

function showProvenance() {
  const { run } = grid();
  const box = byId("provenance");
  const link = element("a", "Runs in Prefect");
  link.href = "../runs";
  box.replaceChildren(element("p", `Run ${run.run}, ${run.state}, started ${run.started} UTC.`),
    ...(isServed ? [link] : []));
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
  showTranscripts();
  showProvenance();
}

addEventListener("hashchange", () => { readAddress(); show(); });
readAddress();
show();
