// What is said over several pairs: medians and means of PGR, and methods compared. Intervals are by the rules of the
// results, see intervals.sql: of few datasets the middle of the pairs' intervals, of more Student's, or a bootstrap over
// datasets, which only the results have, of all that they have.

const areMany = (nDatasets) => nDatasets >= grid().rules.least_datasets;

function median(values) {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
  const half = sorted.length / 2;
  if (!sorted.length) return null;
  return sorted.length % 2 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2;
}

const meanOf = (rows, name) => {
  const values = rows.map((row) => row[name]).filter((value) => value != null);
  return values.length ? mean(values) : null;
};
const hasAllSeeds = () => chosenSeeds().length === grid().values.seed.length;
const datasetsOf = (rows) => distinct(rows.map((row) => row.dataset)).length;
const groupOf = (row) => JSON.stringify([row.weak, row.strong, row.method]);

// Of the mean, from so many datasets on that it makes sense; what is of one dataset stands and falls together.
function studentOver(rows, name) {
  const middle = meanOf(rows, name);
  const sums = [...Map.groupBy(rows, (row) => row.dataset).values()].map((own) =>
    own.reduce((sum, row) => sum + row[name] - middle, 0));
  const n = sums.length;
  const reach = (grid().rules.quantiles[n - 2] * Math.sqrt((n / (n - 1)) * sums.reduce((sum, each) => sum + each ** 2, 0))) / rows.length;
  return [middle - reach, middle + reach];
}

// PGR over pairs. `whole` is what the results say of the median of all pairs that these may be a part of.
function overPairs(rows, whole) {
  const sound = rows.filter((row) => !row.flag);
  const found = {
    n_pairs: rows.length, n_sound: sound.length, n_datasets: datasetsOf(sound), n_seeds: Math.min(...rows.map((row) => row.n_seeds)),
    median: median(sound.map((row) => row.pgr)), mean: meanOf(sound, "pgr"), interval_of: null,
    median_low: null, median_high: null, mean_low: null, mean_high: null,
  };
  for (const name of ["weak_acc", "transfer_acc", "ceiling_acc"]) found[name] = meanOf(rows, name);
  if (areMany(found.n_datasets)) {
    found.interval_of = "datasets";
    [found.mean_low, found.mean_high] = studentOver(sound, "pgr");
    if (hasAllSeeds() && whole?.n_sound === sound.length)
      [found.median_low, found.median_high] = [whole.median_low, whole.median_high];
  } else if (sound.some((row) => row.pgr_low != null)) {
    found.interval_of = found.n_seeds > 1 ? "items and seeds" : "items only";
    for (const end of ["low", "high"]) {
      found[`median_${end}`] = median(sound.map((row) => row[`pgr_${end}`]));
      found[`mean_${end}`] = meanOf(sound, `pgr_${end}`);
    }
  }
  return found;
}

// Pairs with the intervals of medians over datasets, of PGR and of agreement where the supervisor is right and wrong.
function withMedians(rows) {
  const wholes = Map.groupBy(grid().pairs, groupOf);
  return [...Map.groupBy(rows, groupOf)].flatMap(([group, own]) => {
    const all = wholes.get(group);
    const { median_low, median_high } = overPairs(own, { ...all[0], n_sound: all.filter((row) => !row.flag).length });
    const found = { median_low, median_high };
    for (const part of ["right", "wrong"])
      for (const end of ["low", "high"])
        found[`${part}_${end}`] = hasAllSeeds() && own.length === all.length ? all[0][`${part}_${end}`] :
          areMany(datasetsOf(own)) ? null : median(own.map((row) => row[`agreement_${part}_${end}`]));
    return own.map((row) => ({ ...row, ...found }));
  });
}

// ---- methods compared

const MEASURES = [["accuracy", "accuracy", 3], ["pgr", "PGR", 2]];

// Differences from the base: of each pair on one dataset (kind: one), and of each method over all (kind: mean).
function comparisons(pairs) {
  const byCell = new Map(pairs.map((row) => [cellOf(row), row]));
  const rows = [];
  for (const row of pairs) {
    if (row.method === state.base) continue;
    const other = byCell.get(cellOf({ ...row, method: state.base }));
    if (!other) continue;
    const found = {
      kind: "one", method: row.method, dataset: row.dataset, pair: row.pair,
      accuracy: row.transfer_acc - other.transfer_acc,
      pgr: row.flag || other.flag ? null : row.pgr - other.pgr,
    };
    for (const [name, measure] of MEASURES) {
      const told = hasAllSeeds() ? grid().differencesByName.get(JSON.stringify([cellOf(row), state.base, measure])) : null;
      if (told) found[name] = told.difference;
      for (const end of ["low", "high"]) found[`${name}_${end}`] = told?.[`difference_${end}`] ?? null;
    }
    rows.push(found);
  }
  for (const [method, own] of Map.groupBy(rows, (row) => row.method)) {
    for (const row of own) row.opacity = Math.max(0.015, Math.min(0.3, 2 / own.length)); // many lie on each other
    const found = { kind: "mean", method, tests: {} };
    for (const [name, measure] of MEASURES) {
      const held = own.filter((row) => row[name] != null);
      if (!held.length) continue;
      found[name] = meanOf(held, name);
      found[`${name}_of`] = `${held.length} on ${plural(datasetsOf(held), "dataset")}`;
      [found[`${name}_low`], found[`${name}_high`]] = areMany(datasetsOf(held)) ? studentOver(held, name) :
        [meanOf(held, `${name}_low`), meanOf(held, `${name}_high`)];
      const tests = hasAllSeeds() ? grid().testsByName.get(JSON.stringify([method, state.base, measure])) : null;
      if (tests?.n_pairs === held.length) found.tests[name] = tests;
    }
    rows.push(found);
  }
  return rows;
}
