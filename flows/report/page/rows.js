// Which rows are chosen, by the filters in the address, and what the charts make of them.

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
const PACKED = ["calibration", "history", "labels", "audits", "pairs", "seeds", "curves", "trainings", "transcripts",
  "published", "medians", "differences", "tests"];

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
    raw.differencesByName = new Map(raw.differences.map((row) => [JSON.stringify([cellOf(row), row.reference, row.measure]), row]));
    raw.testsByName = new Map(raw.tests.map((row) => [JSON.stringify([row.method, row.reference, row.measure]), row]));
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
      for (const name of ["pgr", "agreement", "agreement_right", "agreement_wrong"])
        found[`${name}_low`] = found[`${name}_high`] = null;
      found.interval_of = "a choice of seeds: none";
      return [found];
    });
  }
  return withMedians(rows.filter(hasFlag));
}

const chosenSeedRows = () =>
  grid().seeds.filter((row) => isChosen(row) && isOn("seed", row.seed) && hasFlag(row));

// ---- rows of the charts

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

const publishedRows = () =>
  grid().published.filter((row) => isOn("dataset", row.dataset) && (row.method == null || isOn("method", row.method)));

// Generated rows have no more than the name of a dataset.
const isMadeUp = (row) => row.our_source === "offline";

const CHARTS = {
  heatmap: (pairs) => pairs,
  pair_curves: () => (state.cell ? curveRows(state.cell) : []),
  accuracy: (pairs) => pairs,
  pgr_by_pair: (pairs) => pairs,
  pgr_by_dataset: (pairs) => pairs,
  comparison: comparisons,
  published: () => publishedRows().filter((row) => !isMadeUp(row) && row.metric.startsWith("pgr")),
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
  published: "No published PGR is of a dataset and method that are chosen here.",
  within: "Students were not looked at on their way: runtime.eval_at names the points.",
  calibration: "These answers have no probabilities.",
  history: "Every number of this grid has been computed once: no other version of code or data made it before.",
};

function counted(name, rows, pairs) {
  if (name === "history") return `${plural(distinct(rows.map((row) => row.node)).length, "number")} with more than one version`;
  if (name === "published") return `${plural(rows.length, "published number")}; ours are of all pairs and seeds of the grid`;
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
