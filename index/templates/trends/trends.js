const runs = content.runs;
// A figure is {g: place in groups, section, name, lower, points, steps, overall}; a point is
// [value, low, high, n], a reason, or null; a change is [since, until, value, low, high, p, p_holm, how, state, noise];
// noise is [standard deviation of one training, degrees of freedom], or null.
const SINCE = 0, UNTIL = 1, VALUE = 2, LOW = 3, HIGH = 4, P = 5, P_HOLM = 6, HOW = 7, STATE = 8, NOISE = 9;
const EVERY = "every segment or part";
const known = point => Array.isArray(point);

const minus = text => text.replaceAll("-", "−");
const number = value => minus(Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(4));
const signed = value => (value > 0 ? "+" : "") + number(value);
const pWords = p => p === null ? "not tested" : p < 0.001 ? "p < 0.001" : `p ${p.toFixed(3)}`;
const SIGNS = {moved: ["▲", "▼"], seeds: ["▲?", "▼?"], hint: ["△", "▽"]};
const sign = change => at(SIGNS, change[STATE], change[VALUE] > 0 ? 0 : 1) ?? "";
const judged = (figure, change) => change[STATE] === "seeds" ? "seeds differ" : figure.lower === null || change[STATE] !== "moved" ? ""
  : (change[VALUE] > 0) !== figure.lower ? "better" : "worse";
const noiseWords = change => change[NOISE] === null ? "" : `, with training noise (SD ${number(change[NOISE][0])}, ${change[NOISE][1]} degrees of freedom)`;
const changesOf = figure => figure.overall ? [...figure.steps, figure.overall] : figure.steps;
const hasMoved = figure => changesOf(figure).some(change => change[STATE] === "moved" || change[STATE] === "seeds");
const label = run => run.day ? run.day : run.written.slice(0, 10);

const preferred = content.figures.findIndex(figure => figure.section === "all" && figure.name === "gauc_click");
const start = content.start ?? Math.max(preferred, 0);
const chosen = {group: content.figures[start].g, section: content.figures[start].section, moved: false, figure: start};

function shown() {
  return content.figures.map((figure, place) => [figure, place]).filter(([figure]) => figure.g === chosen.group
    && (chosen.section === EVERY || figure.section === chosen.section) && (!chosen.moved || hasMoved(figure)));
}

function fill(id, values, texts, current) {
  const select = document.getElementById(id);
  select.replaceChildren(...values.map((value, place) => make("option", {value}, texts[place])));
  select.value = current;
}

function fillControls() {
  const sections = [...new Set(content.figures.filter(figure => figure.g === chosen.group).map(figure => figure.section))];
  if (!sections.includes(chosen.section)) chosen.section = EVERY;
  fill("group", content.groups.map((_, place) => String(place)), content.groups, String(chosen.group));
  fill("section", [EVERY, ...sections], [EVERY, ...sections], chosen.section);
}

// Points, the line between neighbours that both exist, intervals, gaps as crosses, and marks where a step moved.
function trace(picture, figure, x, y, bottom, radius) {
  const {points} = figure;
  points.forEach((point, place) => {
    if (!known(point)) {
      const [cx, cy, r] = [x(place), bottom - radius - 1, radius];
      picture.append(draw("path", {class: "gap", d: `M${cx - r} ${cy - r}l${2 * r} ${2 * r}M${cx + r} ${cy - r}l${-2 * r} ${2 * r}`}));
      return;
    }
    const next = points[place + 1];
    if (known(next)) {
      if (point[1] !== null && next[1] !== null) {
        picture.append(draw("path", {class: "band", d: `M${x(place)} ${y(point[1])}L${x(place + 1)} ${y(next[1])}L${x(place + 1)} ${y(next[2])}L${x(place)} ${y(point[2])}Z`}));
      }
      picture.append(draw("path", {class: "trend", d: `M${x(place)} ${y(point[0])}L${x(place + 1)} ${y(next[0])}`}));
    }
  });
  points.forEach((point, place) => {
    if (!known(point)) return;
    if (point[1] !== null) picture.append(draw("line", {class: "span", x1: x(place), x2: x(place), y1: y(point[1]), y2: y(point[2])}));
    const step = figure.steps.find(change => change[UNTIL] === place);
    if (step && sign(step)) {
      const up = step[VALUE] > 0 ? -1 : 1, r = radius * 1.9;
      picture.append(draw("path", {class: `mark ${step[STATE]}`, d: `M${x(place) - r} ${y(point[0]) - up * r * .6}h${2 * r}l${-r} ${up * r * 1.7}Z`}));
    } else {
      picture.append(draw("circle", {class: "dot", cx: x(place), cy: y(point[0]), r: radius}));
    }
  });
}

function extent(figure) {
  const ends = figure.points.filter(known).flatMap(point => [point[0], point[1] ?? point[0], point[2] ?? point[0]]);
  const low = Math.min(...ends), high = Math.max(...ends), margin = (high - low || Math.abs(high) || 0.1) * 0.08;
  return [low - margin, high + margin];
}

function sparkline(figure) {
  const width = 132, height = 36, [low, high] = extent(figure), last = Math.max(runs.length - 1, 1);
  const values = figure.points.map((point, place) => `${runs[place].name} ${known(point) ? number(point[0]) : "missing"}`).join(", ");
  const picture = draw("svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": values});
  trace(picture, figure, place => 8 + place / last * (width - 16), value => 4 + (high - value) / (high - low) * (height - 8), height, 2.6);
  return picture;
}

function showPlot(figure) {
  const plot = document.getElementById("plot");
  const width = drawingWidth(plot), height = 260, left = 64, right = 24, top = 12, bottom = 44;
  const [low, high] = extent(figure), last = Math.max(runs.length - 1, 1);
  const x = place => left + 16 + place / last * (width - left - right - 32);
  const y = value => top + (high - value) / (high - low) * (height - top - bottom);
  const picture = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${figure.name} in each run; the table below has the figures`});
  const {ticks, decimals} = ticksBetween(low, high, 5);
  for (const tick of ticks) {
    picture.append(draw("line", {x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid"}));
    picture.append(draw("text", {x: left - 8, y: y(tick) + 4, "text-anchor": "end", class: "tick"}, minus(tick.toFixed(decimals))));
  }
  const room = (width - left - right) / runs.length, every = Math.ceil(84 / room), letters = Math.max(8, Math.floor(room * every / 7.5));
  runs.forEach((run, place) => {
    if ((runs.length - 1 - place) % every) return;  // the last run is always named
    const name = run.name.length > letters ? run.name.slice(0, letters - 1) + "…" : run.name;
    picture.append(draw("text", {x: x(place), y: height - 22, "text-anchor": "middle"}, name));
    picture.append(draw("text", {x: x(place), y: height - 6, "text-anchor": "middle", class: "tick"}, label(run)));
  });
  trace(picture, figure, x, y, height - bottom, 4.5);
  plot.replaceChildren(picture);
}

function changeCell(figure, change, title) {
  const made = make("td", {"data-label": title});
  if (!change) { made.append("–"); return made; }
  const mark = [sign(change), judged(figure, change)].filter(Boolean).join(" ");
  made.append(make("span", {class: change[STATE]}, `${signed(change[VALUE])}${mark ? " " + mark : ""}`));
  const span = change[LOW] === null ? "no interval" : `${signed(change[LOW])} … ${signed(change[HIGH])}`;
  made.append(make("span", {class: "under"}, `${span}, ${change[P] === null ? "not tested" : pWords(change[P_HOLM])}`));
  return made;
}

function valueCell(point, title, extra) {
  const made = make("td", {"data-label": title});
  if (!known(point)) {
    made.append(make("span", {}, "–"), make("span", {class: "under"}, typeof point === "string" ? point : "not in this run"));
    return made;
  }
  made.append(make("span", {}, number(point[0])));
  made.append(make("span", {class: "under"}, point[1] === null ? "no interval" : `${number(point[1])} … ${number(point[2])}`));
  if (extra) made.append(make("span", {class: "under"}, extra));
  return made;
}

function headOf(names) {
  return make("thead", {}, make("tr", {}, ...names.map(name => make("th", {scope: "col"}, name))));
}

function showOne() {
  const figure = content.figures[chosen.figure];
  document.getElementById("one-title").textContent = `${content.groups[figure.g]}, ${figure.section}: ${figure.name}`;
  const definition = Object.hasOwn(content.definitions, figure.name) ? content.definitions[figure.name] : "";
  const about = [definition, figure.lower === true ? "Lower is better." : ""].filter(Boolean).join(" ");
  document.getElementById("definition").textContent = about || (figure.lower === null ? "A measure of the audit; docs/reference/audit.md says what it is." : "");
  showPlot(figure);
  document.getElementById("legend").textContent = "Line and band: value and interval. Filled triangle: moved against the run before; dashed: moved, but the seeds differ; hollow: only before the correction. Cross: the run lacks the figure.";
  const names = ["run", "value", "n", "change to the run before", "test"];
  const rows = figure.points.map((point, place) => {
    const step = figure.steps.find(change => change[UNTIL] === place);
    const from = step && step[SINCE] !== place - 1 ? `, against ${runs[step[SINCE]].name}` : "";
    return make("tr", {}, make("th", {scope: "row"}, runs[place].name, make("span", {class: "part"}, label(runs[place]))),
      valueCell(point, names[1]), make("td", {"data-label": names[2]}, known(point) ? count(point[3]) : "–"),
      changeCell(figure, step, names[3]), make("td", {"data-label": names[4]}, step ? step[HOW] + noiseWords(step) + from : "–"));
  });
  document.getElementById("points").replaceChildren(headOf(names), make("tbody", {}, ...rows));
}

function showTable() {
  const there = shown(), moved = there.filter(([figure]) => hasMoved(figure)).length;
  const whose = content.figures.filter(figure => figure.g === chosen.group), hidden = whose.filter(hasMoved).length - moved;
  document.getElementById("table-note").textContent = `${count(there.length)} of ${count(whose.length)} figures of ${content.groups[chosen.group]}, ${count(moved)} of them moved` +
    `${hidden ? ` (and ${count(hidden)} of other segments or parts)` : ""}. Choose a name to see it above. Marks are corrected for every change of the report.`;
  // Of two runs the last step is the last against the first.
  const names = ["figure", "trend", "first", "last", "last step", ...(runs.length > 2 ? ["last against first"] : [])];
  const rows = there.map(([figure, place]) => {
    const button = make("button", {type: "button", "aria-pressed": String(place === chosen.figure)}, figure.name);
    button.addEventListener("click", () => {
      chosen.figure = place;
      for (const other of document.querySelectorAll("#table button")) other.setAttribute("aria-pressed", String(other === button));
      showOne();
      document.getElementById("one-title").scrollIntoView({block: "nearest"});
    });
    const places = figure.points.map((_, at) => at).filter(at => known(figure.points[at])), start = places[0], end = places[places.length - 1];
    const step = figure.steps[figure.steps.length - 1], late = end < runs.length - 1 ? `of ${runs[end].name}` : "";
    return make("tr", {}, make("th", {scope: "row"}, button, make("span", {class: "part"}, figure.section)),
      make("td", {"data-label": names[1], class: "spark"}, sparkline(figure)),
      valueCell(figure.points[start], names[2], start > 0 ? `of ${runs[start].name}` : ""), valueCell(figure.points[end], names[3], late),
      changeCell(figure, step, names[4]), ...(runs.length > 2 ? [changeCell(figure, figure.overall || step, names[5])] : []));
  });
  document.getElementById("table").replaceChildren(headOf(names), make("tbody", {}, ...rows));
}

function show() {
  fillControls();
  const there = shown();
  if (there.length && !there.some(([, place]) => place === chosen.figure)) chosen.figure = there[0][1];
  showOne();
  showTable();
}

document.getElementById("group").addEventListener("change", event => { chosen.group = Number(event.target.value); show(); });
document.getElementById("section").addEventListener("change", event => { chosen.section = event.target.value; show(); });
document.getElementById("moved").addEventListener("change", event => { chosen.moved = event.target.checked; show(); });
document.getElementById("controls").addEventListener("submit", event => event.preventDefault());
for (const event of ["resize", "beforeprint", "afterprint"]) window.addEventListener(event, () => showPlot(content.figures[chosen.figure]));
show();
