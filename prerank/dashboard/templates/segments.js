// The long-tail page: segments or the values of an attribute, chosen above, as words, as a plot and as a table.
const DECIMALS = 3;
const details = content.details;
const preferred = ["gauc_click", "auc_click"].find(name => content.metrics.some(metric => metric.name === name));
const chosen = {
  rows: "",
  metric: preferred || at(content.metrics, 0, "name"),
  split: content.splits[0],
  baseline: content.baselines.includes("ple") ? "ple" : content.baselines[0],
  systems: new Set(content.systems.slice(0, 8)),
};
const systemsShown = () => content.systems.filter(system => chosen.systems.has(system));
const seriesPlace = system => content.systems.indexOf(system);
const isAttribute = () => chosen.rows !== "";
const attribute = () => details.attributes[Number(chosen.rows)];
const metricsOf = system => at(details.metrics, system, chosen.split) || [];
const described = () => content.metrics.find(metric => metric.name === chosen.metric);

// The rows of the table: segments by name, or the values of an attribute by place.
const rowsShown = () => isAttribute() ? attribute().values.map((name, key) => ({key, name})) : content.segments.map(name => ({key: name, name}));

function figure(system, key, metric = chosen.metric) {
  if (!isAttribute()) return at(content.figures, system, chosen.split, key, metric);
  const short = at(details.figures, system, chosen.split, chosen.rows, key, metricsOf(system).indexOf(metric));
  if (short === undefined) return undefined;
  if (short.length === 2) return {value: null, low: null, high: null, n: short[1], reason: details.reasons[short[0]]};
  return {value: short[0], low: short[1], high: short[2], n: short[3]};
}

function gap(system, key) {
  if (!isAttribute()) return at(content.differences, chosen.baseline, system, chosen.split, key, chosen.metric);
  const short = at(details.differences, chosen.baseline, system, chosen.split, chosen.rows, key, metricsOf(system).indexOf(chosen.metric));
  if (!known(short)) return undefined;
  const [value, low, high, p_holm, p, n, tests, claim] = short;
  return {value, low, high, p_holm, p, n, tests, claim: {1: "better", "-1": "worse"}[claim]};
}

const hasValue = figure => figure !== undefined && figure.value !== null;
const few = figure => figure.n < content.minimum_n;
// What may be claimed of a difference was decided where it was measured (prerank/evaluation/claims.py).
const claimOf = difference => at(difference, "claim") ?? "";
const inPoints = () => at(described(), "unit") === "points";
const gapNumber = value => inPoints() ? points(value) : signed(value);
const sized = value => `${number(inPoints() ? 100 * value : value, inPoints() ? 2 : 4)} ${at(described(), "unit")}`;
const gapWords = value => `${gapNumber(value)} ${at(described(), "unit")}`;

function chanceOf(key) {
  if (chosen.metric.includes("auc")) return 0.5;
  for (const system of content.systems) {
    const level = figure(system, key, chosen.metric + "_chance");
    if (hasValue(level)) return level.value;
  }
  return null;
}

// Attributes are measured on fewer metrics than segments are; the others cannot be chosen while their rows are shown.
function offerMetrics() {
  const measured = new Set(content.systems.flatMap(metricsOf));
  const offered = content.metrics.map(metric => metric.name).filter(name => !isAttribute() || measured.has(name));
  if (!offered.includes(chosen.metric)) chosen.metric = offered.includes("gauc_click") ? "gauc_click" : offered[0] ?? chosen.metric;
  fill(byId("metric"), offered.length ? offered : [chosen.metric], chosen.metric);
}

function fillControls() {
  const rows = [["", "segments"], ...details.attributes.map((each, place) => [String(place), each.name])];
  for (const [name, options] of Object.entries({rows, metric: [], split: content.splits, baseline: content.baselines})) {
    fill(byId(name), options, chosen[name]);
    byId(name).addEventListener("change", event => { chosen[name] = event.target.value; show(); });
  }
  for (const system of content.systems) {
    const input = make("input", {type: "checkbox"});
    input.checked = chosen.systems.has(system);
    input.addEventListener("change", () => {
      if (input.checked) chosen.systems.add(system); else chosen.systems.delete(system);
      show();
    });
    byId("systems").append(make("label", {class: "check"}, input, make("span", {}, ...breakable(system))));
  }
}

function showLegends() {
  for (const legend of document.querySelectorAll(".legend")) {
    legend.replaceChildren(...systemsShown().map(system => legendOf(seriesPlace(system), system)));
  }
  if (!rowsShown().some(row => chanceOf(row.key) !== null)) return;
  byId("legend").append(make("span", {class: "key"}, draw("svg", {viewBox: "-8 -8 16 16"}, line(0, -8, 0, 8, "chance")), "chance"));
}

const words = figure => `${number(figure.value, DECIMALS)}${figure.low === null ? "" : ` (${span(figure.low, figure.high, roundly)})`}, n ${count(figure.n)}`;
const roundly = value => number(value, DECIMALS);

function showPlot() {
  const plot = byId("plot"), rows = rowsShown(), systems = systemsShown();
  const cells = systems.flatMap(system => rows.map(row => figure(system, row.key))).filter(hasValue);
  if (!cells.length) { plot.replaceChildren(make("p", {class: "note"}, "Nothing to draw: the metric is undefined here.")); return; }
  const solid = cells.filter(each => !few(each)), chances = rows.map(row => chanceOf(row.key)).filter(known);
  // A few cases tell little and may lie far off: they set the scale where most cells are such, else arrows stand for them.
  const reach = each => [each.value, each.low ?? each.value, each.high ?? each.value];
  const [low, high] = extent([...(2 * solid.length >= cells.length ? solid : cells).flatMap(reach), ...chances], 0.04);
  const [before, after] = roomBeside(low, high, cells.flatMap(reach));

  // On a phone names stand above their lanes, elsewhere beside them.
  const width = drawingWidth(plot), narrow = width < 600, top = 8, lane = paper.printing ? 11 : 16, head = narrow ? 20 : 0;
  const longest = Math.max(...rows.map(row => row.name.length)), names = narrow ? 12 : Math.min(260, Math.max(130, longest * 7.6 + 12)), left = names + before;
  const step = head + systems.length * lane + 14, bottom = top + step * rows.length + 4, x = scale(low, high, left, width - 16 - after);
  const svg = picture(width, bottom + 24, `${chosen.metric} on ${chosen.split}; the table below has the same figures`);
  gridAcross(svg, x, ticksBetween(low, high, narrow ? 4 : 8), top, bottom);
  rows.forEach((row, place) => {
    const y = top + place * step, chance = chanceOf(row.key);
    svg.append(line(0, y + step, width, y + step, "grid"));
    svg.append(label(0, narrow ? y + 17 : y + step / 2 + 4, shortened(row.name, Math.floor((narrow ? width : names - 10) / 7.4))));
    if (chance !== null) svg.append(line(x(chance), y + head + 3, x(chance), y + step - 3, "chance"));
    systems.forEach((system, index) => {
      const each = figure(system, row.key), middle = y + head + 7 + index * lane + lane / 2;
      if (!hasValue(each)) return;
      const group = draw("g", {class: `${seriesOf(seriesPlace(system))} ${few(each) ? "few" : ""}`}, draw("title", {}, `${system}, ${row.name}: ${words(each)}`));
      group.append(...estimate(x, middle, each.value, each.low, each.high, seriesPlace(system), 1.25, roundly));
      svg.append(group);
    });
  });
  plot.replaceChildren(svg);
  byId("plot-note").textContent = before || after ? "◂ and ▸ with a number: a value or the end of an interval that lies beyond the scale." : "";
}

// The corrected p; beside it the p of the test alone where only that one is small, as the interval then shows.
function testWords(difference) {
  if (few(difference)) return "too few";
  const alone = !claimOf(difference) && known(difference.p) && difference.p < 0.05 ? ` (alone ${pWords(difference.p)})` : "";
  return [pWords(difference.p_holm) + alone, claimOf(difference)].filter(Boolean).join(", ");
}

function cellOf(system, key) {
  const each = figure(system, key), difference = gap(system, key);
  if (!hasValue(each)) return missing(each === undefined ? "not measured" : each.reason || "undefined");
  return cell(roundly(each.value), [
    span(each.low, each.high, roundly),
    `n ${count(each.n)}`,
    difference && [claimOf(difference) ? "strong" : "", `${gapNumber(difference.value)}, ${testWords(difference)}`],
  ], few(each) ? "few" : "");
}

function showTable() {
  const rows = rowsShown(), hasChance = rows.some(row => chanceOf(row.key) !== null), systems = systemsShown();
  fillTable(byId("table"), [isAttribute() ? attribute().name : "segment", ...systems, ...(hasChance ? ["chance"] : [])], rows.map(({key, name}) => [
    name, ...systems.map(system => cellOf(system, key)), ...(hasChance ? [plain(known(chanceOf(key)) ? roundly(chanceOf(key)) : "–")] : [])]));
  const family = isAttribute() ? `all systems and values of ${attribute().name}` : "all systems and segments";
  const drawn = isAttribute() ? ` Intervals from ${details.draws} draws.${sampledWords()}` : "";
  byId("table-note").textContent =
    `Value, interval, n, and the difference to ${chosen.baseline} in ${at(described(), "unit")} with its p-value (paired, Holm-corrected over ${family} ` +
    `on this metric and split; bold below 0.05; alone: before the correction).${drawn} Italic here, hollow and dashed above: n below ${content.minimum_n}, too few to compare on; no p stands there.`;
}

function sampledWords() {
  const [part, all] = at(details.sampled, chosen.split) || [0, 0];
  return part < all ? ` Measured on ${count(part)} of ${count(all)} requests, drawn at random.` : "";
}

// All rows first, then where the system is better, where it is worse, and where nothing can be said.
function verdictOf(system) {
  const whole = at(content.differences, chosen.baseline, system, chosen.split, "all", chosen.metric);
  if (whole === undefined) return [`${system}: no paired difference to ${chosen.baseline} (undefined, or evaluated on other rows).`];
  const rows = rowsShown().filter(row => row.key !== "all").map(row => ({name: row.name, gap: gap(system, row.key)})).filter(row => row.gap !== undefined);
  const parts = ["better", "worse"].map(side => [`${side} in `, rows.filter(row => claimOf(row.gap) === side)]).filter(([, those]) => those.length);
  const small = rows.filter(row => few(row.gap));
  const lists = parts.flatMap(([start, those], place) => [place ? "; " : " ", place ? start : capital(start), ...listed(those, each => `${gapWords(each.value)}, n ${count(each.n)}`)]);
  if (!parts.length) lists.push(` Told apart in no single ${isAttribute() ? attribute().name : "segment"}`);
  if (small.length) lists.push(`. Not compared, n below ${content.minimum_n}: `, ...listed(small, each => `n ${count(each.n)}`));
  return [`${system} against ${chosen.baseline}, all rows, n ${count(whole.n)}: ${wholeWords(whole)}.`, ...lists, "."];
}

function wholeWords(whole) {
  if (few(whole)) return `fewer than ${content.minimum_n}, too few to compare on`;
  const between = `(${known(whole.low) ? `${gapNumber(whole.low)} to ${gapNumber(whole.high)}` : "no interval"})`;
  if (!known(whole.p_holm)) return `not tested: ${gapWords(whole.value)} ${between}`;
  const tests = `${count(whole.tests)} test${whole.tests === 1 ? "" : "s"}`;
  if (claimOf(whole)) return `${claimOf(whole)} by ${sized(Math.abs(whole.value))} ${between}, ${pWords(whole.p_holm)} corrected over ${tests}`;
  const power = whole.visible_among ? `. Among ${tests} a true difference of ${sized(whole.visible_among)} would be told apart four times in five` : "";
  return `not told apart: ${gapWords(whole.value)} ${between}; one of ${tests}: ${pWords(whole.p_holm)} corrected, ${pWords(whole.p)} alone${power}`;
}

const capital = text => text[0].toUpperCase() + text.slice(1);
const listed = (rows, say) => rows.flatMap(({name, gap}, place) => [place ? ", " : "", make("bdi", {}, name), ` (${say(gap)})`]);

function showVerdict() {
  const sentences = systemsShown().filter(system => system !== chosen.baseline).map(verdictOf);
  byId("verdict").replaceChildren(...(sentences.length ? sentences : [["Choose a second system to compare."]]).map(each => make("li", {}, ...each)));
}

const reasons = entries => Object.entries(entries).map(([name, reason]) => `${name}: ${reason}`);

function showProtocol() {
  const protocol = content.protocols[content.systems.find(system => at(content.protocols, system, "splits", chosen.split)) || content.systems[0]];
  const facts = at(protocol, "splits", chosen.split) || {}, off = reasons(protocol.tasks_off || {}), left = reasons(protocol.segments_left_out || {});
  const missing = [...reasons(details.left_out), ...reasons(details.columns_left_out)];
  fillDefinitions(byId("protocol"), [
    ["Tasks", off.length ? off.map(each => each.replace(": ", " is off: ")).join("; ") : "click, order and rank are all on"],
    ["Data", `${chosen.split}: ${["rows", "requests", "clicks", "orders"].map(name => `${count(facts[name] ?? 0)} ${name}`).join(", ")}`],
    ["Interval", `${percent(protocol.confidence, 0)} ${protocol.interval}; ${count(protocol.draws)} draws of ${count(facts.clusters ?? 0)} ${facts.unit}s, seed ${protocol.seed}`],
    ["Recall@k", `on the ranked lists` + (facts.whole_recalled_sets ? `, recall_full_at_k on ${facts.whole_recalled_sets} whole recalled sets` : "") + ((facts.recall_left_out || []).length ? `; left out, because no list is longer: k = ${facts.recall_left_out.join(", ")}` : "")],
    ["Ties", protocol.ties],
    ["Left out", left.length ? left.join("; ") : "no segment"],
    ...(details.attributes.length ? [["Attributes, curves", `${count(details.draws)} draws of the same units, from the predictions; segments in the table have the draws above.${sampledWords()}`]] : []),
    ...(missing.length ? [["No attribute or curve", missing.join("; ")]] : []),
    ...(content.cut.length ? [["Too large for the page", content.cut.join("; ")]] : []),
  ]);
  fillDefinitions(byId("segment-list"), isAttribute() ? [[attribute().name, attribute().definition]] : content.segments.map(segment => {
    const holder = content.systems.find(system => at(content.protocols, system, "splits", chosen.split, "segments", segment));
    const about = holder ? content.protocols[holder].splits[chosen.split].segments[segment] : {definition: "not in this split"};
    const size = about.items === undefined ? "" : ` · ${count(about.items)} items, ${about.share_of_training_impressions === null ? "–" : percent(about.share_of_training_impressions)} of training impressions`;
    return [segment, about.definition + size + (about.rows === undefined ? "" : ` · ${count(about.rows)} rows here`)];
  }));
}

// Everything is drawn again at each choice, the plot at each width.
function show() {
  offerMetrics();
  byId("definition").textContent = at(described(), "definition") ?? "";
  showVerdict();
  showLegends();
  showPlot();
  showTable();
  showGains();
  showCalibration();
  showRequests();
  showProtocol();
}

fillControls();
fillCurveControls();
fillRequestControls();
show();
redrawn(showPlot);
