const SHAPES = ["circle", "square", "diamond", "triangle", "cross", "down", "bar", "ring"];

const number = value => value.toFixed(3).replace("-", "−");
const signed = value => (value > 0 ? "+" : "") + value.toFixed(4).replace("-", "−");
const share = value => (100 * value).toFixed(1) + " %";
const colour = system => `var(--system-${content.systems.indexOf(system) % 8})`;
const details = content.details;
const isAttribute = () => chosen.rows !== "";
const attribute = () => details.attributes[Number(chosen.rows)];

// The rows of the table: segments by name, or the values of an attribute by place.
function rowsShown() {
  if (!isAttribute()) return content.segments.map(name => ({key: name, name}));
  return attribute().values.map((name, key) => ({key, name}));
}

const metricsOf = system => at(details.metrics, system, chosen.split) || [];

function figure(system, key, metric = chosen.metric) {
  if (!isAttribute()) return at(content.figures, system, chosen.split, key, metric);
  const cell = at(details.figures, system, chosen.split, chosen.rows, key, metricsOf(system).indexOf(metric));
  if (cell === undefined) return undefined;
  if (cell.length === 2) return {value: null, low: null, high: null, n: cell[1], reason: details.reasons[cell[0]]};
  return {value: cell[0], low: cell[1], high: cell[2], n: cell[3]};
}

function gap(system, key) {
  if (!isAttribute()) return at(content.differences, chosen.baseline, system, chosen.split, key, chosen.metric);
  const cell = at(details.differences, chosen.baseline, system, chosen.split, chosen.rows, key, metricsOf(system).indexOf(chosen.metric));
  if (cell === undefined || cell === null) return undefined;
  return {value: cell[0], low: cell[1], high: cell[2], p_holm: cell[3] === null ? undefined : cell[3]};
}

const wholeGap = system => at(content.differences, chosen.baseline, system, chosen.split, "all", chosen.metric);
const described = () => content.metrics.find(metric => metric.name === chosen.metric);
const hasValue = cell => cell !== undefined && cell.value !== null;
const few = cell => cell.n < content.minimum_n;
const isClear = difference => difference !== undefined && difference.p_holm !== undefined && difference.p_holm < 0.05;

function chanceOf(key) {
  if (chosen.metric.includes("auc")) return 0.5;
  for (const system of content.systems) {
    const cell = figure(system, key, chosen.metric + "_chance");
    if (hasValue(cell)) return cell.value;
  }
  return null;
}

const preferred = ["gauc_click", "auc_click"].find(name => content.metrics.some(metric => metric.name === name));
const chosen = {
  rows: "",
  metric: preferred || at(content.metrics, 0, "name"),
  split: content.splits[0],
  baseline: content.baselines.includes("ple") ? "ple" : content.baselines[0],
  systems: new Set(content.systems.slice(0, 8)),
};

// Attributes are measured on fewer metrics than segments are; the others cannot be chosen while their rows are shown.
function offerMetrics() {
  const select = document.getElementById("metric");
  const known = new Set(content.systems.flatMap(metricsOf));
  const offered = content.metrics.map(metric => metric.name).filter(name => !isAttribute() || known.has(name));
  if (!offered.includes(chosen.metric)) chosen.metric = offered.includes("gauc_click") ? "gauc_click" : offered[0] ?? chosen.metric;
  fill(select, (offered.length ? offered : [chosen.metric]).map(name => [name, name]), chosen.metric);
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, text]) => make("option", {value: key}, text)));
  select.value = value;
}

function fillControls() {
  const rows = [["", "segments"], ...details.attributes.map((each, place) => [String(place), each.name])];
  const lists = {rows, metric: [], split: content.splits.map(name => [name, name]), baseline: content.baselines.map(name => [name, name])};
  for (const [name, options] of Object.entries(lists)) {
    const select = document.getElementById(name);
    fill(select, options, chosen[name]);
    select.addEventListener("change", () => { chosen[name] = select.value; show(); });
  }
  const box = document.getElementById("systems");
  for (const system of content.systems) {
    const input = make("input", {type: "checkbox"});
    input.checked = chosen.systems.has(system);
    input.addEventListener("change", () => {
      if (input.checked) chosen.systems.add(system); else chosen.systems.delete(system);
      show();
    });
    box.append(make("label", {}, input, make("span", {}, ...breakable(system))));
  }
  for (const form of document.querySelectorAll("form")) form.addEventListener("submit", event => event.preventDefault());
}

function mark(system, x, y) {
  const shape = SHAPES[content.systems.indexOf(system) % SHAPES.length];
  const fill = {fill: colour(system), stroke: "var(--ground)", "stroke-width": 1};
  const paths = {
    diamond: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z`,
    triangle: `M${x} ${y - 6}L${x + 6} ${y + 5}L${x - 6} ${y + 5}Z`,
    down: `M${x} ${y + 6}L${x + 6} ${y - 5}L${x - 6} ${y - 5}Z`,
    cross: `M${x - 5} ${y - 5}L${x + 5} ${y + 5}M${x + 5} ${y - 5}L${x - 5} ${y + 5}`,
    bar: `M${x - 3} ${y - 7}H${x + 3}V${y + 7}H${x - 3}Z`,
  };
  if (shape === "circle") return draw("circle", {cx: x, cy: y, r: 5.5, ...fill});
  if (shape === "ring") return draw("circle", {cx: x, cy: y, r: 5, fill: "var(--ground)", stroke: colour(system), "stroke-width": 2.5});
  if (shape === "square") return draw("rect", {x: x - 5, y: y - 5, width: 10, height: 10, ...fill});
  if (shape === "cross") return draw("path", {d: paths.cross, fill: "none", stroke: colour(system), "stroke-width": 3});
  return draw("path", {d: paths[shape], ...fill});
}

function showLegends(systems) {
  for (const legend of document.querySelectorAll(".legend")) {
    legend.replaceChildren(...systems.map(system => {
      const icon = draw("svg", {width: 16, height: 16});
      icon.append(mark(system, 8, 8));
      return make("span", {}, icon, make("span", {}, ...breakable(system)));
    }));
  }
  const icon = draw("svg", {width: 16, height: 16});
  icon.append(draw("line", {x1: 8, x2: 8, y1: 0, y2: 16, class: "chance"}));
  if (rowsShown().some(row => chanceOf(row.key) !== null)) document.getElementById("legend").append(make("span", {}, icon, "chance"));
}

const cutText = (text, most) => text.length <= most ? text : text.slice(0, Math.max(1, most - 1)) + "…";

function showPlot(systems) {
  const plot = document.getElementById("plot"), rows = rowsShown();
  const cells = systems.flatMap(system => rows.map(row => figure(system, row.key))).filter(hasValue);
  if (!cells.length) { plot.replaceChildren(make("p", {class: "note"}, "Nothing to draw: the metric is undefined here.")); return; }
  const solid = cells.filter(cell => !few(cell));
  const ends = (solid.length ? solid : cells).flatMap(cell => [cell.value, cell.low ?? cell.value, cell.high ?? cell.value]);
  const chances = rows.map(row => chanceOf(row.key)).filter(value => value !== null);
  let low = Math.min(...ends, ...chances), high = Math.max(...ends, ...chances);
  const margin = (high - low || 0.1) * 0.04;
  low -= margin; high += margin;

  // On a phone names stand above their lanes, elsewhere beside them.
  const width = drawingWidth(plot), narrow = width < 600, right = 16, top = 8, lane = forPaper.printing ? 11 : 16;
  const longest = Math.max(...rows.map(row => row.name.length)), left = narrow ? 12 : Math.min(260, Math.max(130, longest * 7.6 + 12));
  const head = narrow ? 20 : 0, height1 = head + systems.length * lane + 14, height = top + height1 * rows.length + 28;
  const x = value => left + (Math.min(Math.max(value, low), high) - low) / (high - low) * (width - left - right);
  const picture = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${chosen.metric} on ${chosen.split}; the table below has the same figures`});
  const {ticks, decimals} = ticksBetween(low, high, narrow ? 4 : 8);
  for (const tick of ticks) {
    picture.append(draw("line", {x1: x(tick), x2: x(tick), y1: top, y2: height - 24, class: "grid"}));
    picture.append(draw("text", {x: x(tick), y: height - 8, "text-anchor": "middle", class: "tick"}, tick.toFixed(decimals)));
  }
  rows.forEach((row, place) => {
    const y = top + place * height1, middleOfRow = narrow ? y + 17 : y + height1 / 2 + 4;
    picture.append(draw("line", {x1: 0, x2: width, y1: y + height1, y2: y + height1, class: "grid"}));
    picture.append(draw("text", {x: 0, y: middleOfRow, class: "name"}, cutText(row.name, Math.floor((narrow ? width : left - 10) / 7.4))));
    const chance = chanceOf(row.key);
    if (chance !== null) picture.append(draw("line", {x1: x(chance), x2: x(chance), y1: y + head + 3, y2: y + height1 - 3, class: "chance"}));
    systems.forEach((system, index) => {
      const cell = figure(system, row.key);
      if (!hasValue(cell)) return;
      const group = draw("g", few(cell) ? {class: "few"} : {}), middle = y + head + 7 + index * lane + lane / 2;
      group.append(draw("title", {}, `${system}, ${row.name}: ${words(cell)}`));
      if (cell.low !== null) group.append(draw("line", {x1: x(cell.low), x2: x(cell.high), y1: middle, y2: middle, stroke: colour(system), "stroke-width": 2.5}));
      group.append(mark(system, x(cell.value), middle));
      picture.append(group);
    });
  });
  plot.replaceChildren(picture);
}

const words = cell => `${number(cell.value)}${cell.low === null ? "" : ` (${number(cell.low)} to ${number(cell.high)})`}, n ${count(cell.n)}`;
const pWords = difference => difference.p_holm === undefined ? "p undefined" : difference.p_holm < 0.001 ? "p < 0.001" : `p ${difference.p_holm.toFixed(3)}`;

function cellOf(system, key) {
  const cell = figure(system, key), made = make("td", {"data-label": system});
  if (cell === undefined) { made.className = "none"; made.append(make("span", {class: "reason"}, "not measured")); return made; }
  if (cell.value === null) {
    made.className = "none";
    made.append(make("span", {class: "value"}, "–"), make("span", {class: "reason"}, cell.reason || "undefined"));
    return made;
  }
  if (few(cell)) made.className = "few";
  made.append(make("span", {class: "value"}, number(cell.value)));
  const details = make("div", {class: "details"},
    make("span", {class: "interval"}, cell.low === null ? "no interval" : `${number(cell.low)} – ${number(cell.high)}`),
    make("span", {class: "n"}, `n ${count(cell.n)}`));
  const difference = gap(system, key);
  if (difference !== undefined) details.append(make("span", {class: isClear(difference) ? "gap clear" : "gap"}, `${signed(difference.value)}, ${pWords(difference)}`));
  made.append(details);
  return made;
}

function showTable(systems) {
  const rows = rowsShown(), chance = rows.some(row => chanceOf(row.key) !== null);
  const head = make("tr", {}, make("th", {scope: "col"}, isAttribute() ? attribute().name : "segment"));
  for (const system of systems) head.append(make("th", {scope: "col"}, ...breakable(system)));
  if (chance) head.append(make("th", {scope: "col"}, "chance"));
  const body = make("tbody");
  for (const {key, name} of rows) {
    const row = make("tr", {}, make("th", {scope: "row"}, name));
    for (const system of systems) row.append(cellOf(system, key));
    const level = chanceOf(key);
    if (chance) row.append(make("td", {"data-label": "chance"}, make("span", {class: "n"}, level === null ? "–" : number(level))));
    body.append(row);
  }
  document.getElementById("table").replaceChildren(make("thead", {}, head), body);
  const family = isAttribute() ? `all systems and values of ${attribute().name}` : "all systems and segments";
  const drawn = isAttribute() ? ` Intervals from ${details.draws} draws.${sampledWords()}` : "";
  document.getElementById("table-note").textContent =
    `Value, interval, n, and the difference to ${chosen.baseline} with its p-value (paired, Holm-corrected over ${family} ` +
    `on this metric and split; bold below 0.05).${drawn} Grey: n below ${content.minimum_n}, too few to compare on.`;
}

function sampledWords() {
  const [kept, all] = at(details.sampled, chosen.split) || [0, 0];
  return kept < all ? ` Measured on ${count(kept)} of ${count(all)} requests, drawn at random.` : "";
}

function showVerdict(systems) {
  const lines = [], lower = described().lower_is_better;
  for (const system of systems.filter(name => name !== chosen.baseline)) {
    const whole = wholeGap(system);
    if (whole === undefined) { lines.push(`${system}: no paired difference to ${chosen.baseline} (undefined, or evaluated on other rows).`); continue; }
    const better = lower ? whole.value < 0 : whole.value > 0;
    const interval = whole.low === null ? "" : ` (${signed(whole.low)} to ${signed(whole.high)}, ${pWords(whole)})`;
    const visible = whole.visible ? `; a true difference of ${whole.visible.toFixed(4)} would be seen four times in five` : "";
    const clear = rowsShown().filter(row => row.key !== "all" && isClear(gap(system, row.key))).map(row => row.name);
    const start = isClear(whole) ? `${system} is ${better ? "better" : "worse"} than ${chosen.baseline} by ${Math.abs(whole.value).toFixed(4)}`
      : `${system} cannot be told from ${chosen.baseline}: ${signed(whole.value)}`;
    lines.push(`${start}${interval}${visible}. Clear in: ${clear.length ? clear.join(", ") : isAttribute() ? `no single ${attribute().name}` : "no single segment"}.`);
  }
  if (!lines.length) lines.push("Choose a second system to compare.");
  document.getElementById("verdict").replaceChildren(...lines.map(line => make("li", {}, line)));
}

function showProtocol() {
  const protocol = content.protocols[content.systems.find(system => at(content.protocols, system, "splits", chosen.split)) || content.systems[0]];
  const facts = at(protocol, "splits", chosen.split) || {};
  const off = Object.entries(protocol.tasks_off || {}).map(([task, reason]) => `${task} is off: ${reason}`);
  const left = Object.entries(protocol.segments_left_out || {}).map(([segment, reason]) => `${segment}: ${reason}`);
  const entries = [
    ["Tasks", off.length ? off.join("; ") : "click, order and rank are all on"],
    ["Data", `${chosen.split}: ${count(facts.rows ?? 0)} rows, ${count(facts.requests ?? 0)} requests, ${count(facts.clicks ?? 0)} clicks, ${count(facts.orders ?? 0)} orders`],
    ["Interval", `${share(protocol.confidence).replace(".0", "")} ${protocol.interval}; ${count(protocol.draws)} draws of ${count(facts.clusters ?? 0)} ${facts.unit}s, seed ${protocol.seed}`],
    ["Recall@k", `on the ranked lists` + (facts.whole_recalled_sets ? `, recall_full_at_k on ${facts.whole_recalled_sets} whole recalled sets` : "") + ((facts.recall_left_out || []).length ? `; left out, because no list is longer: k = ${facts.recall_left_out.join(", ")}` : "")],
    ["Ties", protocol.ties],
    ["Left out", left.length ? left.join("; ") : "no segment"],
  ];
  const away = [...Object.entries(details.left_out), ...Object.entries(details.columns_left_out)].map(([name, reason]) => `${name}: ${reason}`);
  if (details.attributes.length) entries.push(["Attributes, curves", `${count(details.draws)} draws of the same units, from the predictions; segments in the table have the draws above.${sampledWords()}`]);
  if (away.length) entries.push(["No attribute or curve", away.join("; ")]);
  if (content.cut.length) entries.push(["Too large for the page", content.cut.join("; ")]);
  document.getElementById("protocol").replaceChildren(...entries.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, String(text))]));
  const list = document.getElementById("segment-list");
  if (isAttribute()) {
    list.replaceChildren(make("dt", {}, attribute().name), make("dd", {}, attribute().definition));
    return;
  }
  const described = content.segments.flatMap(segment => {
    const holder = content.systems.find(system => at(content.protocols, system, "splits", chosen.split, "segments", segment));
    const about = holder ? content.protocols[holder].splits[chosen.split].segments[segment] : {definition: "not in this split"};
    const size = about.items === undefined ? "" : ` · ${count(about.items)} items, ${about.share_of_training_impressions === null ? "–" : share(about.share_of_training_impressions)} of training impressions`;
    return [make("dt", {}, segment), make("dd", {}, about.definition + size + (about.rows === undefined ? "" : ` · ${count(about.rows)} rows here`))];
  });
  list.replaceChildren(...described);
}
