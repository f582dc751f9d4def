// Systems over seeds on one data set, segment and metric, chosen above.
// A figure is [value, low, high, n, [seed, value, ...]]; a gap [value, low, high, p, p_holm, visible, seeds, claim, n] or [null, reason].
const PAPER = "paper (another, private data set)";
const places = placesOf(content.systems);
const chosen = {data: 0, segment: "all", metric: "gauc_click"};
const data = () => content.data[chosen.data];
const systems = () => content.systems.filter(system => at(data(), "figures", system) !== undefined);
const figure = (system, segment = chosen.segment, metric = chosen.metric) => at(data(), "figures", system, segment, metric);
const gap = (system, segment = chosen.segment, metric = chosen.metric) => at(data(), "differences", system, segment, metric);
const chance = (metric = chosen.metric) => at(data(), "chance", chosen.segment, metric);
const described = () => content.metrics.find(metric => metric.name === chosen.metric);
const lowerIsBetter = () => Boolean(at(described(), "lower_is_better"));
const seedValues = figure => figure[4].filter((_, place) => place % 2);
const seedCount = figure => figure[4].length / 2;
const few = figure => figure[3] < content.minimum_n ? "few" : "";
const titleOf = data => data.title + (data.simulated ? " (simulated)" : "");
const spread = figure => `${number(Math.min(...seedValues(figure)))} … ${number(Math.max(...seedValues(figure)))}`;

function segmentsOf() {
  const named = Object.keys(data().segments || {});
  return named.length ? named : ["all"];
}

function metricsOf() {
  const measured = content.metrics.map(metric => metric.name)
    .filter(name => systems().some(system => figure(system, chosen.segment, name) !== undefined));
  const first = data().family.metrics.filter(name => measured.includes(name));
  return [...first, ...measured.filter(name => !first.includes(name))];
}

function fillControls() {
  if (!segmentsOf().includes(chosen.segment)) chosen.segment = "all";
  if (!metricsOf().includes(chosen.metric)) chosen.metric = metricsOf()[0];
  fill(byId("data"), content.data.map((each, place) => [String(place), titleOf(each)]), String(chosen.data));
  fill(byId("segment"), segmentsOf(), chosen.segment);
  fill(byId("metric"), metricsOf(), chosen.metric);
}

// Less than two points are not spread over the whole width, as if they were much. A t interval of few seeds knows no
// bounds: what of it lies outside what the metric can be is an arrow.
const SMALLEST_SPAN = 0.02;
function ends(figures) {
  const values = figures.flatMap(each => [each[0], each[1] ?? each[0], each[2] ?? each[0], ...seedValues(each)]), level = chance();
  const low = Math.min(...values), high = Math.max(...values), reach = Math.max(high - low, SMALLEST_SPAN);
  // A chance level far from every system would squeeze them together; the table has it then.
  if (known(level) && level > low - 2 * reach && level < high + 2 * reach) values.push(level);
  const [least, most] = extent(values, 0.05), room = Math.max(0, SMALLEST_SPAN - (most - least)) / 2;
  return [Math.max(least - room, lowerIsBetter() ? 0 : -0.02), lowerIsBetter() ? most + room : Math.min(most + room, 1.02)];
}

function noIntervalWords(shown) {
  const without = shown.filter(system => figure(system)[1] === null);
  if (!without.length) return "";
  const seeds = Math.max(...without.map(system => seedCount(figure(system))));
  return ` No interval: ${without.length < shown.length ? `${without.join(", ")}: ` : ""}${seeds < 2 ? "one seed" : seeds < content.seeds_for_an_interval ? `${seeds} seeds` : "undefined"}.`;
}

function showPlot() {
  const plot = byId("plot"), shown = systems().filter(system => figure(system) !== undefined);
  if (!shown.length) { plot.replaceChildren(make("p", {class: "note"}, "Nothing to draw here.")); return; }
  const figures = shown.map(system => figure(system)), [low, high] = ends(figures), [before, after] = roomBeside(low, high, figures.flatMap(each => each.slice(0, 3)).filter(known));
  const width = drawingWidth(plot), narrow = width < 600, row = 38, top = 6, bottom = top + row * shown.length + 4;
  const x = scale(low, high, (narrow ? 112 : 190) + before, width - 18 - after);
  const svg = picture(width, bottom + 24, `${chosen.metric}, ${chosen.segment}, ${titleOf(data())}: a dot for each seed; the table below has the figures`);
  gridAcross(svg, x, ticksBetween(low, high, narrow ? 3 : 8), top, bottom);
  const level = chance(), base = figure(content.baseline), hasLevel = known(level) && level >= low && level <= high;
  if (hasLevel) svg.append(line(x(level), top, x(level), bottom, "chance"));
  if (base) svg.append(line(x(base[0]), top, x(base[0]), bottom, "baseline"));
  shown.forEach((system, lane) => {
    const each = figure(system), place = places.get(system), y = top + lane * row + row / 2;
    const group = draw("g", {class: `${seriesOf(place)} ${few(each)}`}, draw("title", {}, `${system}: ${number(each[0])}, ${seedCount(each)} seed${seedCount(each) === 1 ? "" : "s"} from ${spread(each)}`));
    if (each[1] !== null) {
      group.append(line(x(each[1]), y + 5, x(each[2]), y + 5, "interval"));
      for (const end of each.slice(1, 3)) if (!x.beyond(end)) group.append(line(x(end), y, x(end), y + 10, "interval"));
      group.append(...arrowsBeyond(x, y + 5, each[0], each[1], each[2], value => number(value, 2)));
    }
    for (const value of seedValues(each)) group.append(draw("circle", {cx: x(value), cy: y - 8, r: 4, class: "seed"}));
    group.append(draw("path", {d: `M${x(each[0])} ${y - 2}l6 7l-6 7l-6 -7Z`, class: "fill"}));
    svg.append(label(0, y + 4, shortened(system, narrow ? 15 : 26)), group);
  });
  plot.replaceChildren(svg);
  const lines = [hasLevel ? " Dashed: chance." : "", base ? ` Dotted: ${content.baseline}.` : ""].join("");
  const intervals = figures.some(each => each[1] !== null) ? ` Line: ${data().interval}.` : "";
  byId("plot-note").textContent = `Dots: one for each seed. Diamond: their mean.${intervals}${noIntervalWords(shown)}${lines}`;
}

const claimLine = claim => [claim === "shown" ? "strong" : "", claim];
const inPoints = () => at(described(), "unit") === "points";
// Below the least number of cases no p is said.
const testLine = ([, , , p, pHolm, , , claim, n]) => n < content.minimum_n ? `n ${count(n)}, too few to compare on`
  : !known(p) ? "not tested" : claim === null ? `${pWords(p)}, uncorrected` : `${pWords(pHolm)}, corrected (alone ${pWords(p)})`;

function gapCell(system) {
  const difference = gap(system);
  if (system === content.baseline) return cell("–", ["baseline"]);
  if (difference === undefined) return cell("–");
  if (difference[0] === null) return cell("–", [difference[1]]);
  const [value, low, high, , , , seeds, claim] = difference, say = inPoints() ? points : signed;
  return cell(say(value), [span(low, high, say), testLine(difference),
    known(claim) ? claimLine(claim) : seeds < content.least_seeds && `no claim: fewer than ${content.least_seeds} seeds`]);
}

function showTable() {
  const paper = chosen.segment === "all" ? at(content.paper.figures, chosen.metric) : undefined, level = chance();
  const names = ["system", "mean over seeds", "seeds", "n", `difference to ${content.baseline}`, ...(paper ? [PAPER] : [])];
  const ofPaper = system => paper ? [make("td", {class: "paper"}, known(paper[system]) ? number(paper[system]) : "–")] : [];
  const rows = systems().map(system => {
    const each = figure(system);
    if (each === undefined) return [system, missing(at(data(), "undefined", system, chosen.metric) || "undefined"), missing(), missing(), missing(), ...ofPaper(system)];
    return [system, cell(number(each[0]), [span(each[1], each[2])], few(each)), make("td", {}, String(seedCount(each)), make("span", {class: "under"}, spread(each))),
      plain(count(each[3])), gapCell(system), ...ofPaper(system)];
  });
  if (known(level)) rows.push(["chance", cell(number(level)), plain("–"), plain("–"), plain("–"), ...ofPaper("chance")]);
  fillTable(byId("table"), names, rows);
  if (paper) byId("table").querySelector("thead th:last-child").className = "paper";
  const inFamily = data().family.metrics.includes(chosen.metric) && chosen.segment === data().family.segment;
  byId("table-note").textContent =
    `${titleOf(data())}, ${chosen.segment}, ${chosen.metric}. Differences are paired, in ${inPoints() ? "points (hundredths)" : at(described(), "unit")}${lowerIsBetter() ? ", negative is better" : ""}; ` +
    (inFamily ? "p is corrected (Holm) over the family below. " : "this cell is outside the family of tests: p is not corrected, so take it as a hint. ") +
    `Italic, hollow and dashed: n below ${content.minimum_n}.` +
    (paper ? ` The last column is ${content.paper.source}${chosen.metric === "auc_click" ? "; " + content.paper.auc_note : ""}.` : "");
}

function familyCell(difference) {
  if (difference === undefined || difference[0] === null) return cell("–", [difference && difference[1]]);
  const [value, low, high, , , visible, seeds, claim, n] = difference;
  return cell(points(value), [span(low, high, points), testLine(difference), `${seeds} seed${seeds === 1 ? "" : "s"}, n ${count(n)}`,
    visible !== null && `visible ${number(100 * visible, 2)}`, claim && claimLine(claim)]);
}

function showFamily() {
  const family = data().family;
  if (!family.tests) { byId("family").replaceChildren(); byId("family-note").textContent = "Nothing to compare yet."; return; }
  fillTable(byId("family"), ["system", ...family.metrics], family.systems.map(system =>
    [system, ...family.metrics.map(metric => familyCell(gap(system, family.segment, metric)))]));
  byId("family-note").textContent = `${titleOf(data())}. The family: ${family.tests} differences over the whole test split, in points, paired, p corrected for all of them ` +
    `together (Holm). “Shown”: p below 0.05 with at least ${content.least_seeds} seeds and n ${content.minimum_n}. Alone: p before the correction. Visible: the smallest true difference that is told apart among all of them four times in five.`;
}

function showEvery() {
  fillTable(byId("every"), [`metric (${chosen.segment})`, ...systems(), "chance"], metricsOf().map(metric => [metric,
    ...systems().map(system => figure(system, chosen.segment, metric)).map(each => each === undefined ? cell("–") : cell(number(each[0]), [spread(each)], few(each))),
    plain(known(chance(metric)) ? number(chance(metric)) : "–")]));
}

function showCost() {
  const names = ["system", "parameters", "seconds to fit", "ms to score 1,000", "ms, network alone", "FLOPs a candidate", "tuning", "seeds finished"];
  const text = (value, digits = 0) => known(value) ? value.toLocaleString("en-US", {maximumFractionDigits: digits, minimumFractionDigits: digits}) : "–";
  const costs = content.systems.map(system => [system, at(data(), "cost", system) || {}]);
  fillTable(byId("cost"), names, costs.map(([system, cost]) => {
    const latency = cost.latency || {}, seeds = (at(data(), "seeds", system) || []).length;
    return [system, ...[text(cost.parameters), text(cost.fit_seconds, 1), text(latency.scoring_ms, 2), text(latency.network_ms, 2), text(latency.flops),
      content.tuning[system].words, `${seeds} of ${data().seeds_asked}`].map(plain)];
  }));
  const cpus = new Set(costs.map(([, cost]) => at(cost, "latency", "cpu")).filter(Boolean));
  byId("cost-note").textContent =
    `${titleOf(data())}. Fitting: one thread beside other fits, median over seeds. Scoring: median for 1,000 candidates on one thread, the first seed's system read ` +
    `from disk, one system at a time, from encoded features in memory to logits, with what a system makes of them itself (lightgbm's counts and rates); other work on the machine only ever adds. Processor: ${cpus.size ? [...cpus].join(", ") : "not measured yet"}.`;
}

function showProtocol() {
  const about = data().about, markets = data().kind === "markets", first = markets ? " (of the first market)" : "";
  const reasons = (entries, joint) => Object.entries(entries).map(([name, reason]) => `${name}${joint}${reason}`).join("; ");
  fillDefinitions(byId("protocol"), [
    ["Data", `${titleOf(data())}: ${["rows", "requests", "clicks", "orders"].filter(name => known(about[name])).map(name => `${count(about[name])} ${name}`).join(", ")}${first}`],
    ["Seeds", markets ? "each is another simulated market, with its own log, graph, ψ and training" : "each changes ψ and training; the log and its test rows are the same"],
    ["Interval", data().interval],
    ["Recall@k", data().recall + (about.whole_recalled_sets ? ` (${count(about.whole_recalled_sets)} of them${first})` : "")],
    ["Tasks", reasons(data().tasks_off, " is off: ") || "click, order and rank are all on"],
    ["Segments left out", reasons(data().segments_left_out, ": ") || "none"],
    ["The paper's figures", `${content.paper.source}; ${content.paper.auc_note}`],
  ]);
  fillDefinitions(byId("segment-list"), Object.entries(data().segments));
}

function show() {
  fillControls();
  byId("definition").textContent = at(described(), "definition") ?? "";
  showPlot();
  showTable();
  showFamily();
  showEvery();
  showCost();
  showProtocol();
}

for (const id of ["data", "segment", "metric"]) {
  byId(id).addEventListener("change", event => {
    chosen[id] = id === "data" ? Number(event.target.value) : event.target.value;
    show();
  });
}
show();
redrawn(showPlot);
