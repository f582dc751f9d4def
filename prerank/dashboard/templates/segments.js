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
const places = placesOf(content.systems);
const seriesPlace = system => places.get(system);
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

const hasValue = figure => known(figure) && figure.value !== null;
const few = figure => figure.n < content.minimum_n;
// What may be claimed of a difference was decided where it was measured (prerank/evaluation/claims.py).
const claimOf = difference => at(difference, "claim") ?? "";
const inPoints = () => at(described(), "unit") === "points";
const gapNumber = value => inPoints() ? points(value) : signed(value);
const sized = value => `${number(inPoints() ? 100 * value : value, inPoints() ? 2 : 4)} ${at(described(), "unit")}`;
const gapWords = value => `${gapNumber(value)} ${at(described(), "unit")}`;

const segmentChance = segment => chanceIn(system => at(content.figures, system, chosen.split, segment, chosen.metric + "_chance"));
const chanceOf = key => chanceIn(system => figure(system, key, chosen.metric + "_chance"));
function chanceIn(levelOf) {
  if (chosen.metric.includes("auc")) return 0.5;
  return content.systems.map(levelOf).find(hasValue)?.value ?? null;
}

// Attributes are measured on fewer metrics than segments are; the others cannot be chosen while their rows are shown.
function offerMetrics() {
  const measured = new Set(content.systems.flatMap(metricsOf));
  const offered = content.metrics.map(metric => metric.name).filter(name => !isAttribute() || measured.has(name));
  if (!offered.includes(chosen.metric)) chosen.metric = offered.includes("gauc_click") ? "gauc_click" : offered[0] ?? chosen.metric;
  // What is defined nowhere on this split stands last and says so.
  const defined = new Set(offered.filter(name => content.systems.some(system => Object.values(at(content.figures, system, chosen.split) ?? {}).some(cells => hasValue(cells[name])))));
  const options = [...offered.filter(name => defined.has(name)), ...offered.filter(name => !defined.has(name)).map(name => [name, `${name} (undefined)`])];
  fill(byId("metric"), options.length ? options : [chosen.metric], chosen.metric);
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
  drawLanes("plot", systemsShown(), {
    cell: figure, level: chanceOf, style: "chance", say: roundly,
    label: `${chosen.metric} on ${chosen.split}; the table below has the same figures`,
    title: (system, row, each) => `${system}, ${row.name}: ${words(each)}`,
  });
}

// A forest plot: the differences themselves with their own intervals, for those of two figures say little about them.
function showGaps() {
  const others = systemsShown().filter(system => system !== chosen.baseline), scaled = value => inPoints() ? 100 * value : value;
  byId("gaps-title").textContent = `Differences to ${chosen.baseline}, in ${at(described(), "unit")}`;
  byId("gaps-side").textContent = `${described()?.lower_is_better ? "Left" : "Right"} of the line is better than ${chosen.baseline}. Strokes: intervals of the difference, each by itself; what is told apart after correction is in the sentences above.`;
  drawLanes("gaps", others, {
    cell: (system, key) => {
      const each = gap(system, key);
      return each && {...each, ...Object.fromEntries(["value", "low", "high"].map(part => [part, known(each[part]) ? scaled(each[part]) : null]))};
    },
    level: () => 0, style: "zero", say: value => number(value, inPoints() ? 1 : 3),
    label: `Differences to ${chosen.baseline} of ${chosen.metric} on ${chosen.split}; the table below has the same figures`,
    title: (system, row) => {
      const each = gap(system, row.key);
      return `${system} less ${chosen.baseline}, ${row.name}: ${gapWords(each.value)} (${span(each.low, each.high, gapNumber)}), n ${count(each.n)}, ${testWords(each)}`;
    },
  });
}

// Of each row a lane for each system: value and interval along one scale, and a level that they are read against.
function drawLanes(id, systems, {cell, level, style, say, label: about, title}) {
  const plot = byId(id), note = byId(`${id}-note`), rows = rowsShown();
  const cells = systems.flatMap(system => rows.map(row => cell(system, row.key))).filter(hasValue);
  note.textContent = "";
  if (!cells.length) { plot.replaceChildren(make("p", {class: "note"}, "Nothing to draw: the metric is undefined here, or there is no second system on the same rows.")); return; }
  const solid = cells.filter(each => !few(each)), levels = rows.map(row => level(row.key)).filter(known);
  // A few cases tell little and may lie far off: they set the scale where most cells are such, else arrows stand for them.
  const reach = each => [each.value, each.low ?? each.value, each.high ?? each.value];
  const [low, high] = extent([...(2 * solid.length >= cells.length ? solid : cells).flatMap(reach), ...levels], 0.04);
  const [before, after] = roomBeside(low, high, cells.flatMap(reach));

  // On a phone names stand above their lanes, elsewhere beside them.
  const width = drawingWidth(plot), narrow = width < 600, top = 8, lane = paper.printing ? 11 : 16, head = narrow ? 20 : 0;
  const longest = Math.max(...rows.map(row => row.name.length)), names = narrow ? 12 : Math.min(260, Math.max(130, longest * 7.6 + 12)), left = names + before;
  const step = head + systems.length * lane + 14, bottom = top + step * rows.length + 4, x = scale(low, high, left, width - 16 - after);
  const svg = picture(width, bottom + 24, about);
  gridAcross(svg, x, ticksBetween(low, high, narrow ? 4 : 8), top, bottom);
  rows.forEach((row, place) => {
    const y = top + place * step, at = level(row.key);
    svg.append(line(0, y + step, width, y + step, "grid"));
    svg.append(label(0, narrow ? y + 17 : y + step / 2 + 4, shortened(row.name, Math.floor((narrow ? width : names - 10) / 7.4))));
    if (known(at)) svg.append(line(x(at), y + head + 3, x(at), y + step - 3, style));
    systems.forEach((system, index) => {
      const each = cell(system, row.key), middle = y + head + 7 + index * lane + lane / 2;
      if (!hasValue(each)) return;
      const group = draw("g", {class: `${seriesOf(seriesPlace(system))} ${few(each) ? "few" : ""}`}, draw("title", {}, title(system, row, each)));
      group.append(...estimate(x, middle, each.value, each.low, each.high, seriesPlace(system), 1.25, say));
      svg.append(group);
    });
  });
  plot.replaceChildren(svg);
  if (before || after) note.textContent = "◂ and ▸ with a number: a value or the end of an interval that lies beyond the scale.";
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

// The page's first words: the tail and the head, whatever rows are shown below.
function openingWords() {
  const others = systemsShown().filter(system => system !== chosen.baseline);
  if (content.systems.length < 2) return [`Only ${content.systems[0]} was fitted here, so there is nothing to compare it with: python -m prerank.fit run=${content.run} model=popularity adds a system.`];
  return ["tail", "head"].map(segment => segmentWords(segment, others)).filter(Boolean);
}

function segmentWords(segment, others) {
  const gaps = others.map(system => [system, at(content.differences, chosen.baseline, system, chosen.split, segment, chosen.metric)]).filter(([, each]) => known(each));
  if (!gaps.length) return "";
  const enough = gaps.filter(([, each]) => !few(each)), start = `${capital(segment)}, n ${count(Math.min(...gaps.map(([, each]) => each.n)))}: `;
  if (!enough.length) return `${start}fewer than ${content.minimum_n}, too few to compare on.`;
  const sides = ["better", "worse"].map(side => [side, enough.filter(([, each]) => claimOf(each) === side)]).filter(([, those]) => those.length);
  const said = sides.map(([side, those]) => `${side} than ${chosen.baseline}: ${those.map(([system, each]) => `${system} (${gapWords(each.value)})`).join(", ")}`);
  return `${start}${said.length ? said.join("; ") : `no system is told apart from ${chosen.baseline}`}.`;
}

// What a random order would do better: an interval that lies wholly below the chance level.
function belowChance() {
  const parts = content.segments.map(segment => {
    const chance = segmentChance(segment), cells = systemsShown().map(system => [system, at(content.figures, system, chosen.split, segment, chosen.metric)]);
    const below = cells.filter(([, each]) => hasValue(each) && !few(each) && known(each.high) && known(chance) && each.high < chance);
    return below.length ? `${segment} (${roundly(chance)}): ${below.map(([system, each]) => `${system} ${roundly(each.value)}, n ${count(each.n)}`).join("; ")}` : "";
  }).filter(Boolean);
  return parts.length ? `Below what a random order would reach: ${parts.join(". ")}.` : "";
}

function showVerdict() {
  byId("opening").replaceChildren(...openingWords().map(each => make("span", {}, `${each} `)));
  byId("below").textContent = belowChance();
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
  showGaps();
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
redrawn(() => { showGaps(); showPlot(); });
