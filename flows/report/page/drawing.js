// Draws the charts, what is nearest to the eye first.

const WIDE = 1240; // pixels
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
  // Charts are made for a wide window; in a narrow one their panels stand in more rows, before they shrink.
  if (spec.columns) spec.columns = Math.min(spec.columns, Math.ceil((spec.columns * figure.clientWidth) / WIDE));
  spec.title.subtitle = counted(name, rows, pairs);
  if (name === "comparison") spec.title.text = `Each method less ${state.base}, on the same pairs`;
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
