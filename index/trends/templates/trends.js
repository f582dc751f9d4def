// A figure is {g: place in groups, section, name, lower, unit, points, steps, overall}; a point is
// [value, low, high, n], a reason, or null; a change is [since, until, value, low, high, p, p_holm, how, state, noise];
// noise is [standard deviation of one training, degrees of freedom], or null.
const SINCE = 0, UNTIL = 1, VALUE = 2, LOW = 3, HIGH = 4, P = 5, P_HOLM = 6, HOW = 7, STATE = 8, NOISE = 9;
const EVERY = "every segment or part";
const runs = content.runs;
const isPoint = point => Array.isArray(point);

const sized = value => number(value, Math.abs(value) >= 100 ? 1 : 4);
const sizedDifference = (figure, value) => figure.unit === "points" ? points(value) : (value > 0 ? "+" : "") + sized(value);
const SIGNS = {moved: ["▲", "▼"], seeds: ["▲?", "▼?"], hint: ["△", "▽"]};
const sign = change => at(SIGNS, change[STATE], change[VALUE] > 0 ? 0 : 1) ?? "";
const judged = (figure, change) => change[STATE] === "seeds" ? "seeds differ" : figure.lower === null || change[STATE] !== "moved" ? ""
  : (change[VALUE] > 0) !== figure.lower ? "better" : "worse";
const noiseWords = change => change[NOISE] === null ? "" : `, with training noise (SD ${sized(change[NOISE][0])}, ${change[NOISE][1]} degrees of freedom)`;
const changesOf = figure => figure.overall ? [...figure.steps, figure.overall] : figure.steps;
const hasMoved = figure => changesOf(figure).some(change => change[STATE] === "moved" || change[STATE] === "seeds");
const dateOf = run => run.day ? run.day : run.written.slice(0, 10);

const preferred = content.figures.findIndex(figure => figure.section === "all" && figure.name === "gauc_click");
const start = content.start ?? Math.max(preferred, 0);
const chosen = {group: content.figures[start].g, section: content.figures[start].section, moved: false, figure: start};

function shown() {
  return content.figures.map((figure, place) => [figure, place]).filter(([figure]) => figure.g === chosen.group
    && (chosen.section === EVERY || figure.section === chosen.section) && (!chosen.moved || hasMoved(figure)));
}

function fillControls() {
  const sections = [...new Set(content.figures.filter(figure => figure.g === chosen.group).map(figure => figure.section))];
  if (!sections.includes(chosen.section)) chosen.section = EVERY;
  fill(byId("group"), content.groups.map((name, place) => [String(place), name]), String(chosen.group));
  fill(byId("section"), [EVERY, ...sections], chosen.section);
}

// Points, the line between neighbours that both exist, intervals, gaps as crosses, and marks where a step moved.
function trace(svg, figure, x, y, bottom, radius) {
  const {points} = figure, group = draw("g", {class: seriesOf(0)});
  svg.append(group);
  points.forEach((point, place) => {
    if (!isPoint(point)) {
      const [cx, cy, r] = [x(place), bottom - radius - 1, radius];
      group.append(draw("path", {class: "gap", d: `M${cx - r} ${cy - r}l${2 * r} ${2 * r}M${cx + r} ${cy - r}l${-2 * r} ${2 * r}`}));
      return;
    }
    const next = points[place + 1];
    if (!isPoint(next)) return;
    if (point[1] !== null && next[1] !== null) {
      group.append(draw("path", {class: "band", d: `M${x(place)} ${y(point[1])}L${x(place + 1)} ${y(next[1])}L${x(place + 1)} ${y(next[2])}L${x(place)} ${y(point[2])}Z`}));
    }
    group.append(line(x(place), y(point[0]), x(place + 1), y(next[0]), "line"));
  });
  points.forEach((point, place) => {
    if (!isPoint(point)) return;
    if (point[1] !== null) group.append(line(x(place), y(point[1]), x(place), y(point[2]), "interval"));
    const step = figure.steps.find(change => change[UNTIL] === place);
    if (step && sign(step)) {
      const up = step[VALUE] > 0 ? -1 : 1, r = radius * 1.9;
      group.append(draw("path", {class: `mark ${step[STATE]}`, d: `M${x(place) - r} ${y(point[0]) - up * r * .6}h${2 * r}l${-r} ${up * r * 1.7}Z`}));
    } else {
      group.append(draw("circle", {class: "fill", cx: x(place), cy: y(point[0]), r: radius}));
    }
  });
}

const ends = figure => extent(figure.points.filter(isPoint).flatMap(point => [point[0], point[1] ?? point[0], point[2] ?? point[0]]), 0.08);

function sparkline(figure) {
  const width = 132, height = 36, [low, high] = ends(figure);
  const values = figure.points.map((point, place) => `${runs[place].name} ${isPoint(point) ? sized(point[0]) : "missing"}`).join(", ");
  const svg = picture(width, height, values);
  for (const [name, size] of Object.entries({width, height})) svg.setAttribute(name, size);
  trace(svg, figure, scale(0, Math.max(runs.length - 1, 1), 8, width - 8), scale(low, high, height - 4, 4), height, 2.6);
  return svg;
}

function showPlot() {
  const figure = content.figures[chosen.figure], plot = byId("plot"), width = drawingWidth(plot), height = 260, left = 64, right = 24, bottom = height - 44;
  const [low, high] = ends(figure), x = scale(0, Math.max(runs.length - 1, 1), left + 16, width - right - 16), y = scale(low, high, bottom, 12);
  const svg = picture(width, height, `${figure.name} in each run; the table below has the figures`);
  gridUp(svg, y, ticksBetween(low, high, 5), left, width - right);
  const room = (width - left - right) / runs.length, every = Math.ceil(84 / room), letters = Math.max(8, Math.floor(room * every / 7.5));
  runs.forEach((run, place) => {
    if ((runs.length - 1 - place) % every) return;  // the last run is always named
    svg.append(label(x(place), height - 22, shortened(run.name, letters), "middle"), label(x(place), height - 6, dateOf(run), "tick middle"));
  });
  trace(svg, figure, x, y, bottom, 4.5);
  plot.replaceChildren(svg);
}

function changeCell(figure, change) {
  if (!change) return plain("–");
  const say = value => sizedDifference(figure, value);
  const test = change[STATE] === "few" ? `n below ${content.minimum_n}, too few` : change[P] === null ? "not tested" : pWords(change[P_HOLM]);
  const marked = cell([say(change[VALUE]), figure.unit, sign(change), judged(figure, change)].filter(Boolean).join(" "),
    [`${span(change[LOW], change[HIGH], say)}, ${test}`]);
  marked.firstChild.classList.add(change[STATE]);
  return marked;
}

const valueCell = (point, note) => isPoint(point) ? cell(sized(point[0]), [span(point[1], point[2], sized), note])
  : cell("–", [typeof point === "string" ? point : "not in this run"]);

function showOne() {
  const figure = content.figures[chosen.figure];
  byId("one-title").textContent = `${content.groups[figure.g]}, ${figure.section}: ${figure.name}`;
  const about = [at(content.definitions, figure.name), figure.lower === true ? "Lower is better." : ""].filter(Boolean).join(" ");
  byId("definition").textContent = about || (figure.lower === null ? "A measure of the audit; docs/reference/audit.md says what it is." : "");
  showPlot();
  byId("legend").textContent = "Line and band: value and interval. Filled triangle: moved against the run before; dashed: moved, but the seeds differ; hollow: only before the correction. Cross: the run lacks the figure.";
  fillTable(byId("points"), ["run", "value", "n", "change to the run before", "test"], figure.points.map((point, place) => {
    const step = figure.steps.find(change => change[UNTIL] === place);
    const from = step && step[SINCE] !== place - 1 ? `, against ${runs[step[SINCE]].name}` : "";
    return [[runs[place].name, make("span", {class: "part"}, dateOf(runs[place]))], valueCell(point), plain(isPoint(point) ? count(point[3]) : "–"),
      changeCell(figure, step), plain(step ? step[HOW] + noiseWords(step) + from : "–")];
  }));
}

function choose(place, button) {
  chosen.figure = place;
  for (const other of document.querySelectorAll("#table button")) other.setAttribute("aria-pressed", String(other === button));
  showOne();
  byId("one-title").scrollIntoView({block: "nearest"});
}

function showTable() {
  const figures = shown(), moved = figures.filter(([figure]) => hasMoved(figure)).length;
  const whose = content.figures.filter(figure => figure.g === chosen.group), hidden = whose.filter(hasMoved).length - moved;
  byId("table-note").textContent = `${count(figures.length)} of ${count(whose.length)} figures of ${content.groups[chosen.group]}, ${count(moved)} of them moved` +
    `${hidden ? ` (and ${count(hidden)} of other segments or parts)` : ""}. Choose a name to see it above. Marks are corrected for every change of the report.`;
  // Of two runs the last step is the last against the first.
  const names = ["figure", "trend", "first", "last", "last step", ...(runs.length > 2 ? ["last against first"] : [])];
  fillTable(byId("table"), names, figures.map(([figure, place]) => {
    const button = make("button", {type: "button", "aria-pressed": String(place === chosen.figure)}, figure.name);
    button.addEventListener("click", () => choose(place, button));
    const first = figure.points.findIndex(isPoint), last = figure.points.findLastIndex(isPoint), step = figure.steps.at(-1);
    return [[button, make("span", {class: "part"}, figure.section)], make("td", {class: "spark"}, sparkline(figure)),
      valueCell(figure.points[first], first > 0 && `of ${runs[first].name}`), valueCell(figure.points[last], last < runs.length - 1 && `of ${runs[last].name}`),
      changeCell(figure, step), ...(runs.length > 2 ? [changeCell(figure, figure.overall || step)] : [])];
  }));
}

function show() {
  fillControls();
  const figures = shown();
  if (figures.length && !figures.some(([, place]) => place === chosen.figure)) chosen.figure = figures[0][1];
  showOne();
  showTable();
}

byId("group").addEventListener("change", event => { chosen.group = Number(event.target.value); show(); });
byId("section").addEventListener("change", event => { chosen.section = event.target.value; show(); });
byId("moved").addEventListener("change", event => { chosen.moved = event.target.checked; show(); });
show();
redrawn(showPlot);
