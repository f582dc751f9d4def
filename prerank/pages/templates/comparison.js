const minus = text => text.replace("-", "−");
const number = value => minus(value.toFixed(4));
const points = value => (value > 0 ? "+" : "") + minus((100 * value).toFixed(2));
const pWords = p => p === null ? "p –" : p < 0.001 ? "p < 0.001" : `p ${p.toFixed(3)}`;
const known = value => value !== undefined && value !== null;
const systems = () => content.systems.filter(system => at(data(), "figures", system) !== undefined);
const data = () => content.data[chosen.data];
// A cell is [value, low, high, n, [seed, value, ...]]; a gap [value, low, high, p, p_holm, visible, seeds, claim] or [null, reason].
const figure = (system, segment = chosen.segment, metric = chosen.metric) => at(data(), "figures", system, segment, metric);
const gap = (system, segment = chosen.segment, metric = chosen.metric) => at(data(), "differences", system, segment, metric);
const chance = (metric = chosen.metric) => at(data(), "chance", chosen.segment, metric);
const described = () => content.metrics.find(metric => metric.name === chosen.metric);
const seedValues = cell => cell[4].filter((_, place) => place % 2);
const colour = system => `var(--system-${content.systems.indexOf(system) % 8})`;
const label = () => data().title + (data().simulated ? " (simulated)" : "");
const spread = cell => `${number(Math.min(...seedValues(cell)))} … ${number(Math.max(...seedValues(cell)))}`;

const chosen = {data: 0, segment: "all", metric: "gauc_click"};

function segmentsOf() {
  const named = Object.keys(data().segments || {});
  return named.length ? named : ["all"];
}

function metricsOf() {
  const there = content.metrics.map(metric => metric.name)
    .filter(name => systems().some(system => figure(system, chosen.segment, name) !== undefined));
  const first = data().family.metrics.filter(name => there.includes(name));
  return [...first, ...there.filter(name => !first.includes(name))];
}

function fill(id, values, texts, current) {
  const select = document.getElementById(id);
  select.replaceChildren(...values.map((value, place) => make("option", {value}, texts[place])));
  select.value = current;
}

function fillControls() {
  if (!segmentsOf().includes(chosen.segment)) chosen.segment = "all";
  const metrics = metricsOf();
  if (!metrics.includes(chosen.metric)) chosen.metric = metrics[0];
  const titles = content.data.map(each => each.title + (each.simulated ? " (simulated)" : ""));
  fill("data", content.data.map((_, place) => String(place)), titles, String(chosen.data));
  fill("segment", segmentsOf(), segmentsOf(), chosen.segment);
  fill("metric", metrics, metrics, chosen.metric);
}

function extent(cells) {
  const ends = cells.flatMap(cell => [cell[0], cell[1] ?? cell[0], cell[2] ?? cell[0], ...seedValues(cell)]);
  let low = Math.min(...ends), high = Math.max(...ends);
  const level = chance();
  // A chance level far from every system would squeeze them together; the table has it then.
  if (known(level) && level > low - 2 * (high - low) && level < high + 2 * (high - low)) {
    low = Math.min(low, level); high = Math.max(high, level);
  }
  const margin = (high - low || Math.abs(high) || 0.1) * 0.05;
  if (described() && described().lower_is_better) return [Math.max(low - margin, 0), high + margin];
  return [Math.max(low - margin, -0.02), Math.min(high + margin, 1.02)];  // a t interval of few seeds knows no bounds
}

function wrapped(text, most) {
  return text.length <= most ? text : text.slice(0, most - 1) + "…";
}

function showPlot() {
  const plot = document.getElementById("plot"), there = systems().filter(system => figure(system) !== undefined);
  if (!there.length) { plot.replaceChildren(make("p", {class: "note"}, "Nothing to draw here.")); return; }
  const [low, high] = extent(there.map(system => figure(system)));
  const width = drawingWidth(plot), narrow = width < 600, left = narrow ? 112 : 190, right = 18, row = 38, top = 6;
  const height = top + row * there.length + 28;
  const x = value => left + (Math.min(Math.max(value, low), high) - low) / (high - low) * (width - left - right);
  const picture = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${chosen.metric}, ${chosen.segment}, ${label()}: a dot for each seed; the table below has the figures`});
  const {ticks, decimals} = ticksBetween(low, high, narrow ? 3 : 8);
  for (const tick of ticks) {
    picture.append(draw("line", {x1: x(tick), x2: x(tick), y1: top, y2: height - 24, class: "grid"}));
    picture.append(draw("text", {x: x(tick), y: height - 8, "text-anchor": "middle", class: "tick"}, tick.toFixed(decimals)));
  }
  const level = chance(), base = figure(content.baseline);
  if (known(level) && level >= low && level <= high) picture.append(draw("line", {x1: x(level), x2: x(level), y1: top, y2: height - 24, class: "chance"}));
  if (base) picture.append(draw("line", {x1: x(base[0]), x2: x(base[0]), y1: top, y2: height - 24, class: "baseline"}));
  there.forEach((system, place) => {
    const cell = figure(system), middle = top + place * row + row / 2;
    const group = draw("g", cell[3] < content.minimum_n ? {class: "few"} : {});
    group.append(draw("title", {}, `${system}: ${number(cell[0])}, ${cell[4].length / 2} seeds from ${spread(cell)}`));
    picture.append(draw("text", {x: 0, y: middle + 4}, wrapped(system, narrow ? 15 : 26)));
    if (cell[1] !== null) {
      group.append(draw("line", {x1: x(cell[1]), x2: x(cell[2]), y1: middle + 5, y2: middle + 5, stroke: colour(system), "stroke-width": 3}));
      for (const end of [cell[1], cell[2]]) group.append(draw("line", {x1: x(end), x2: x(end), y1: middle, y2: middle + 10, stroke: colour(system), "stroke-width": 2}));
    }
    for (const value of seedValues(cell)) group.append(draw("circle", {cx: x(value), cy: middle - 8, r: 4, fill: colour(system), "fill-opacity": 0.55, stroke: "var(--ground)"}));
    group.append(draw("path", {d: `M${x(cell[0])} ${middle - 2}l6 7l-6 7l-6 -7Z`, fill: colour(system), stroke: "var(--ground)"}));
    picture.append(group);
  });
  plot.replaceChildren(picture);
  const lines = [known(level) && level >= low && level <= high ? "Dashed: chance" : "", base ? `Dotted: ${content.baseline}` : ""].filter(Boolean);
  document.getElementById("plot-note").textContent =
    `Dots: one for each seed. Diamond: their mean. Line: ${data().interval}. ${lines.length ? lines.join(". ") + "." : ""}`;
}

function cellText({plain, ...attributes}, value, ...under) {
  const made = make("td", attributes, make("span", plain ? {} : {class: "value"}, value));
  for (const text of under.filter(Boolean)) made.append(make("span", {class: "under"}, text));
  return made;
}

function headOf(...names) {
  const row = make("tr");
  for (const name of names) row.append(make("th", name === PAPER ? {scope: "col", class: "paper"} : {scope: "col"}, ...breakable(name)));
  return make("thead", {}, row);
}

const PAPER = "paper (another, private data set)";

function gapCell(difference, system) {
  const attributes = {"data-label": `difference to ${content.baseline}`};
  if (system === content.baseline) return cellText(attributes, "–", "baseline");
  if (difference === undefined) return cellText(attributes, "–");
  if (difference[0] === null) return cellText(attributes, "–", difference[1]);
  const [value, low, high, p, pHolm, visible, seeds, claim] = difference;
  const logLoss = described() && described().lower_is_better;
  const shown = logLoss ? minus((value > 0 ? "+" : "") + value.toFixed(4)) : points(value);
  const bound = each => logLoss ? minus(each.toFixed(4)) : points(each);
  const made = cellText(attributes, shown, low === null ? "no interval" : `${bound(low)} … ${bound(high)}`,
    claim === null ? `${pWords(p)}, uncorrected` : `${pWords(pHolm)}, corrected`);
  if (claim !== null) made.append(make("span", {class: claim === "shown" ? "claim shown" : "claim"}, claim));
  else if (seeds < content.least_seeds) made.append(make("span", {class: "claim"}, `no claim: fewer than ${content.least_seeds} seeds`));
  return made;
}

function showTable() {
  const paper = chosen.segment === "all" ? at(content.paper.figures, chosen.metric) : undefined;
  const level = chance();
  const names = ["system", "mean over seeds", "seeds", "n", `difference to ${content.baseline}`, ...(paper ? [PAPER] : [])];
  const body = make("tbody");
  for (const system of systems()) {
    const cell = figure(system), row = make("tr", {}, make("th", {scope: "row"}, system));
    if (cell === undefined) {
      const why = at(data(), "undefined", system, chosen.metric) || "undefined";
      row.append(cellText({"data-label": names[1], class: "none"}, "–", why));
      for (const name of names.slice(2, 5)) row.append(cellText({"data-label": name, class: "none"}, "–"));
    } else {
      const few = cell[3] < content.minimum_n ? {class: "few"} : {};
      row.append(cellText({"data-label": names[1], ...few}, number(cell[0]), cell[1] === null ? "no interval" : `${number(cell[1])} – ${number(cell[2])}`));
      row.append(cellText({"data-label": names[2], plain: true}, String(cell[4].length / 2), spread(cell)));
      row.append(make("td", {"data-label": names[3]}, count(cell[3])));
      row.append(gapCell(gap(system), system));
    }
    if (paper) row.append(make("td", {class: "paper", "data-label": PAPER}, known(paper[system]) ? number(paper[system]) : "–"));
    body.append(row);
  }
  if (known(level)) {
    const row = make("tr", {}, make("th", {scope: "row"}, "chance"), cellText({"data-label": names[1]}, number(level)));
    for (const name of names.slice(2)) row.append(make("td", {"data-label": name, ...(name === PAPER ? {class: "paper"} : {})}, "–"));
    body.append(row);
  }
  document.getElementById("table").replaceChildren(headOf(...names), body);
  const unit = described() && described().lower_is_better ? "in the metric's unit, negative is better" : "in points (hundredths)";
  const inFamily = data().family.metrics.includes(chosen.metric) && chosen.segment === data().family.segment;
  document.getElementById("table-note").textContent =
    `${label()}, ${chosen.segment}, ${chosen.metric}. Differences are paired, ${unit}; ` +
    (inFamily ? "p is corrected (Holm) over the family below. " : "this cell is outside the family of tests: p is not corrected, so take it as a hint. ") +
    `Grey: n below ${content.minimum_n}.` +
    (paper ? ` The last column is ${content.paper.source}${chosen.metric === "auc_click" ? "; " + content.paper.auc_note : ""}.` : "");
}

function showFamily() {
  const family = data().family, table = document.getElementById("family"), note = document.getElementById("family-note");
  const metrics = family.metrics;
  if (!family.tests) { table.replaceChildren(); note.textContent = "Nothing to compare yet."; return; }
  const body = make("tbody");
  for (const system of family.systems) {
    const row = make("tr", {}, make("th", {scope: "row"}, system));
    for (const metric of metrics) {
      const difference = gap(system, family.segment, metric), attributes = {"data-label": metric};
      if (difference === undefined || difference[0] === null) { row.append(cellText(attributes, "–", difference ? difference[1] : "")); continue; }
      const [value, low, high, , pHolm, visible, seeds, claim] = difference;
      const made = cellText(attributes, points(value), low === null ? "no interval" : `${points(low)} … ${points(high)}`,
        `${pWords(pHolm ?? null)}, ${seeds} seeds`, visible === null ? "" : `visible ${(100 * visible).toFixed(2)}`);
      made.append(make("span", {class: claim === "shown" ? "claim shown" : "claim"}, claim ?? ""));
      row.append(made);
    }
    body.append(row);
  }
  table.replaceChildren(headOf("system", ...metrics), body);
  note.textContent = `${label()}. The family: ${family.tests} differences over the whole test split, in points, paired, p corrected for all of them ` +
    `together (Holm). “Shown”: p below 0.05 with at least ${content.least_seeds} seeds. Visible: the smallest true difference that such data show four times in five.`;
}

function showEvery() {
  const names = systems(), body = make("tbody");
  for (const metric of metricsOf()) {
    const row = make("tr", {}, make("th", {scope: "row"}, metric));
    for (const system of names) {
      const cell = figure(system, chosen.segment, metric);
      row.append(cell === undefined ? cellText({"data-label": system}, "–") : cellText({"data-label": system, ...(cell[3] < content.minimum_n ? {class: "few"} : {})}, number(cell[0]), spread(cell)));
    }
    const level = chance(metric);
    row.append(make("td", {"data-label": "chance"}, known(level) ? number(level) : "–"));
    body.append(row);
  }
  document.getElementById("every").replaceChildren(headOf(`metric (${chosen.segment})`, ...names, "chance"), body);
}

function showCost() {
  const body = make("tbody"), cpus = new Set();
  const text = (value, digits = 0) => known(value) ? value.toLocaleString("en-US", {maximumFractionDigits: digits, minimumFractionDigits: digits}) : "–";
  const names = ["parameters", "seconds to fit", "ms to score 1,000", "ms, network alone", "FLOPs a candidate", "tuning", "seeds finished"];
  for (const system of content.systems) {
    const cost = at(data(), "cost", system) || {}, latency = cost.latency || {};
    if (latency.cpu) cpus.add(latency.cpu);
    const values = [text(cost.parameters), text(cost.fit_seconds, 1), text(latency.scoring_ms, 2), text(latency.network_ms, 2), text(latency.flops),
      content.tuning[system].words, `${(at(data(), "seeds", system) || []).length} of ${data().seeds_asked}`];
    const row = make("tr", {}, make("th", {scope: "row"}, system));
    values.forEach((value, place) => row.append(make("td", {"data-label": names[place]}, value)));
    body.append(row);
  }
  document.getElementById("cost").replaceChildren(headOf("system", ...names), body);
  document.getElementById("cost-note").textContent =
    `${label()}. Fitting: one thread beside other fits, median over seeds. Scoring: median for 1,000 candidates on one thread, the first seed's system read ` +
    `from disk, one system at a time, from encoded features in memory to logits, with what a system makes of them itself (lightgbm's counts and rates); other work on the machine only ever adds. Processor: ${cpus.size ? [...cpus].join(", ") : "not measured yet"}.`;
}

function showProtocol() {
  const about = data().about, first = data().kind === "markets" ? " (of the first market)" : "";
  const off = Object.entries(data().tasks_off).map(([task, reason]) => `${task} is off: ${reason}`);
  const left = Object.entries(data().segments_left_out).map(([segment, reason]) => `${segment}: ${reason}`);
  const entries = [
    ["Data", `${label()}: ${["rows", "requests", "clicks", "orders"].filter(name => known(about[name])).map(name => `${count(about[name])} ${name}`).join(", ")}${first}`],
    ["Seeds", data().kind === "markets" ? "each is another simulated market, with its own log, graph, ψ and training" : "each changes ψ and training; the log and its test rows are the same"],
    ["Interval", data().interval],
    ["Recall@k", data().recall + (about.whole_recalled_sets ? ` (${count(about.whole_recalled_sets)} of them${first})` : "")],
    ["Tasks", off.length ? off.join("; ") : "click, order and rank are all on"],
    ["Segments left out", left.length ? left.join("; ") : "none"],
    ["The paper's figures", `${content.paper.source}; ${content.paper.auc_note}`],
  ];
  document.getElementById("protocol").replaceChildren(...entries.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const segments = Object.entries(data().segments).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  document.getElementById("segment-list").replaceChildren(...segments);
}

function show() {
  fillControls();
  document.getElementById("definition").textContent = described() ? described().definition : "";
  showPlot();
  showTable();
  showFamily();
  showEvery();
  showCost();
  showProtocol();
}

for (const id of ["data", "segment", "metric"]) {
  document.getElementById(id).addEventListener("change", event => {
    chosen[id] = id === "data" ? Number(event.target.value) : event.target.value;
    show();
  });
}
document.getElementById("controls").addEventListener("submit", event => event.preventDefault());
show();
for (const event of ["resize", "beforeprint", "afterprint"]) window.addEventListener(event, showPlot);
