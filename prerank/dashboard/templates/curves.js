// Small multiples by segment: gain curves and reliability curves, each with a table of the same figures.
const WIDE = 250, HIGH = 200, LEFT = 36, RIGHT = 10, TOP = 10, BOTTOM = 24;
const MOST_BANDS = 3;
const TABLED = [0.1, 0.2, 0.5];

function panel(title, n, unit, svg) {
  const small = n < content.minimum_n ? ", too few: dashed" : "";
  return make("figure", {class: "panel"}, make("figcaption", {}, make("b", {}, title), make("span", {}, `${count(n)} ${unit}${small}`)), svg);
}

// A square of [0, 1] x [0, 1] with ticks where the caller wants them.
function axes(label, ticks) {
  const x = scale(0, 1, LEFT, WIDE - RIGHT), y = scale(0, 1, HIGH - BOTTOM, TOP), svg = picture(WIDE, HIGH, label);
  gridAcross(svg, x, ticks, y(1), y(0));
  gridUp(svg, y, ticks, x(0), x(1));
  svg.append(line(x(0), y(0), x(1), y(1), "chance"));
  return {svg, x, y};
}

const group = (system, small, ...children) => draw("g", {class: `${seriesOf(seriesPlace(system))} ${small ? "few" : ""}`}, ...children);
const smallMark = (system, x, y, title) => mark(seriesPlace(system), x, y, 0.75, title);
const curve = (points, style) => draw("path", {class: style, d: `M${points.map(([x, y]) => `${x} ${y}`).join("L")}`});
const segmentsWith = (kind, systems) => content.segments.filter(
  segment => systems.some(system => at(details[kind], system, chosen.split, segment)));
const roughly = value => percent(value, value < 0.1 ? 1 : 0);
const task = () => byId("gain-task").value;
const taskWords = () => task() === "order" ? "orders" : "clicks";
const gainsOf = (system, segment) => at(details.gains, system, chosen.split, segment, task());

function fillCurveControls() {
  const tasks = new Set(Object.values(details.gains).flatMap(Object.values).flatMap(Object.values).flatMap(Object.keys));
  const options = [["click", "clicks"], ["order", "orders"]].filter(([key]) => tasks.has(key));
  fill(byId("gain-task"), options.length ? options : [["click", "clicks"]], options.length ? options[0][0] : "click");
  byId("gain-task").addEventListener("change", show);
}

function gainPanel(segment, systems) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(tick => [tick, String(Math.round(tick * 100))]);
  const {svg, x, y} = axes(`Share of ${taskWords()} left in ${segment} by share of candidates kept; the table below has figures`, ticks);
  let n = 0;
  systems.forEach((system, index) => {
    const cells = gainsOf(system, segment);
    if (!cells) return;
    n = cells[0][3];
    const drawn = group(system, n < content.minimum_n), shares = [0, ...details.gain_shares, 1];
    const along = [[0, 0, 0], ...cells, [1, 1, 1]].map(([value, low, high], place) => [x(shares[place]), y(value), y(low ?? value), y(high ?? value)]);
    if (systems.length <= MOST_BANDS) {
      drawn.append(curve([...along.map(([at, , , high]) => [at, high]), ...[...along].reverse().map(([at, , low]) => [at, low])], "band"));
    }
    drawn.append(curve(along, "line"));
    // Marks at other places for each system, so that curves that lie on each other are still told apart.
    cells.forEach(([value, low, high], place) => {
      if (place % 4 !== index % 4) return;
      drawn.append(smallMark(system, along[place + 1][0], along[place + 1][1],
        `${system}: ${roughly(value)} of ${taskWords()} left where ${roughly(details.gain_shares[place])} of candidates are kept (${span(low, high, roughly)})`));
    });
    svg.append(drawn);
  });
  return panel(segment, n, taskWords(), svg);
}

function showGains() {
  const systems = systemsShown(), segments = segmentsWith("gains", systems).filter(segment => systems.some(system => gainsOf(system, segment)));
  byId("gains-note").textContent = segments.length
    ? `If every request kept only its best x % of candidates by a system's score: the share of the segment's ${taskWords()} that is left, in percent. ` +
      `Dashed: a random order. Candidates are all logged rows but random negatives; rows that were never shown could not be clicked, so agreeing with what was shown helps. ` +
      (systems.length <= MOST_BANDS ? "Shaded: interval." : `Choose at most ${MOST_BANDS} systems to see intervals shaded.`) + ` Dashed and hollow: fewer than ${content.minimum_n} ${taskWords()}.`
    : `No gain curves: there are no predictions of the systems chosen, or no ${taskWords()} on this split.`;
  byId("gains").replaceChildren(...segments.map(segment => gainPanel(segment, systems)));
  showCurveTable("gains-figures", TABLED.map(share => `${roughly(share)} kept`), segments, systems, (segment, system) => TABLED.map(share => {
    const short = at(gainsOf(system, segment), details.gain_shares.indexOf(share));
    return short ? figureCell(short, percent, short[3] < content.minimum_n) : missing();
  }));
}

const figureCell = ([value, low, high, n], say, small, ...lines) =>
  cell(say(value), [span(low, high, say), ...lines, `n ${count(n)}`], small ? "few" : "");

function showCurveTable(id, names, segments, systems, cellsOf) {
  byId(id).hidden = !segments.length;
  fillTable(byId(id).querySelector("table"), ["segment, system", ...names], segments.flatMap(segment => systems.map(system =>
    [[segment, make("span", {class: "part"}, system)], ...cellsOf(segment, system)])));
}

// Click rates lie close to 0, and some bins have none: square roots spread them, logarithms could not show 0.
function calibrationPanel(segment, systems, most) {
  const root = value => Math.sqrt(value / most), ticks = [[0, "0"]];
  for (const tick of [1, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001].filter(tick => tick <= most)) {
    if (ticks.every(([place]) => Math.abs(place - root(tick)) > 0.16)) ticks.push([root(tick), roughly(tick).replace(".0", "")]);
  }
  const {svg, x, y} = axes(`Observed click rate by predicted probability in ${segment}; the table below sums it up`, ticks);
  let n = 0;
  for (const system of systems) {
    const calibration = at(details.calibration, system, chosen.split, segment);
    if (!calibration) continue;
    n = calibration.ece[3];
    svg.append(group(system, n < content.minimum_n, curve(calibration.bins.filter(bin => !y.beyond(root(bin[1]))).map(bin => [x(root(bin[0])), y(root(bin[1]))]), "line thin")));
    for (const [predicted, observed, low, high, rows] of calibration.bins) {
      const bin = group(system, rows < content.minimum_n), across = x(root(predicted)), top = known(high) ? high : observed;
      if (low !== null) bin.append(line(across, y(root(low)), across, y(root(high)), "interval"));
      if (y.beyond(root(top))) bin.append(draw("path", {class: "fill beyond", d: `M${across} ${y(1) - 7}l4 7h-8Z`}), label(across + 5, y(1) + 2, roughly(y.beyond(root(observed)) ? observed : top), "beyond"));
      const title = `${system}: said ${percent(predicted)}, seen ${percent(observed)} (${span(low, high, percent)}), n ${count(rows)}`;
      if (y.beyond(root(observed))) bin.append(draw("title", {}, title));
      else bin.append(smallMark(system, across, y(root(observed)), title));
      svg.append(bin);
    }
  }
  return panel(segment, n, "rows", svg);
}

function showCalibration() {
  const systems = systemsShown(), segments = segmentsWith("calibration", systems);
  const bins = systems.flatMap(system => segments.flatMap(segment => (at(details.calibration, system, chosen.split, segment) || {bins: []}).bins));
  const most = Math.min(1, Math.max(0.01, ...bins.flatMap(bin => bin[4] < content.minimum_n ? [bin[0]] : [bin[0], bin[1], bin[3] ?? bin[1]])) * 1.05);
  byId("calibration-note").textContent = segments.length
    ? `Exposed rows in ten bins with equally many rows each by predicted click probability: predicted (across) against observed click rate (up), with intervals. ` +
      `Square-root axes, the same in every panel. Dashed: perfectly calibrated. Hollow: bins of fewer than ${content.minimum_n} rows. ▴ with a number: seen, or an interval's end, above the frame.`
    : "No calibration: there are no predictions of the systems chosen, they have no click probability, or clicks are off.";
  byId("calibration").replaceChildren(...segments.map(segment => calibrationPanel(segment, systems, most)));
  showCurveTable("calibration-figures", ["log loss", "expected calibration error"], segments, systems, (segment, system) => {
    const calibration = at(details.calibration, system, chosen.split, segment), loss = at(content.figures, system, chosen.split, segment, "log_loss_click");
    const small = Boolean(calibration) && calibration.ece[3] < content.minimum_n;
    return [
      hasValue(loss) ? figureCell([loss.value, loss.low, loss.high, loss.n], number, small) : missing(),
      calibration ? figureCell(calibration.ece, number, small, known(calibration.by_chance) && `${number(calibration.by_chance)} if perfect`) : missing(),
    ];
  });
}
