// Small multiples by segment: gain curves and reliability curves, each with a table of the same figures.
const WIDE = 250, HIGH = 200, LEFT = 36, RIGHT = 10, TOP = 10, BOTTOM = 24;
const MOST_BANDS = 3;
const TABLED = [0.1, 0.2, 0.5];

function panel(title, note, picture) {
  const box = make("figure", {class: "panel"}, make("figcaption", {}, make("b", {}, title), make("span", {}, note)));
  box.append(picture);
  return box;
}

// A square of [0, 1] x [0, 1] with ticks where the caller wants them.
function axes(label, ticks) {
  const x = value => LEFT + value * (WIDE - LEFT - RIGHT), y = value => HIGH - BOTTOM - value * (HIGH - TOP - BOTTOM);
  const picture = draw("svg", {viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label});
  for (const [place, words] of ticks) {
    picture.append(draw("line", {x1: x(place), x2: x(place), y1: y(0), y2: y(1), class: "grid"}));
    picture.append(draw("line", {x1: x(0), x2: x(1), y1: y(place), y2: y(place), class: "grid"}));
    picture.append(draw("text", {x: x(place), y: HIGH - 7, "text-anchor": "middle", class: "tick"}, words));
    picture.append(draw("text", {x: LEFT - 5, y: y(place) + 4, "text-anchor": "end", class: "tick"}, words));
  }
  picture.append(draw("line", {x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "chance"}));
  return {picture, x, y};
}

function smallMark(system, x, y, title) {
  const group = draw("g", {transform: `translate(${x} ${y}) scale(.62)`});
  group.append(mark(system, 0, 0));
  if (title) group.append(draw("title", {}, title));
  return group;
}

const segmentsOf = (kind, systems) => content.segments.filter(
  segment => systems.some(system => at(details[kind], system, chosen.split, segment)));
const interval = (cell, say) => cell[1] === null ? "no interval" : `${say(cell[1])} – ${say(cell[2])}`;
const percent = value => (100 * value).toFixed(value < 0.1 ? 1 : 0) + " %";
const percents = value => (100 * value).toFixed(1) + " %";
const task = () => document.getElementById("gain-task").value;
const taskWords = () => task() === "order" ? "orders" : "clicks";

function fillCurveControls() {
  const select = document.getElementById("gain-task");
  const known = new Set(Object.values(details.gains).flatMap(Object.values).flatMap(Object.values).flatMap(Object.keys));
  const options = [["click", "clicks"], ["order", "orders"]].filter(([key]) => known.has(key));
  fill(select, options.length ? options : [["click", "clicks"]], options.length ? options[0][0] : "click");
  select.addEventListener("change", show);
}

function gainPanel(segment, systems, bands) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(tick => [tick, String(Math.round(tick * 100))]);
  const {picture, x, y} = axes(`Share of ${taskWords()} left in ${segment} by share of candidates kept; the table below has figures`, ticks);
  let n = 0;
  systems.forEach((system, index) => {
    const cells = at(details.gains, system, chosen.split, segment, task());
    if (!cells) return;
    n = cells[0][3];
    const group = draw("g", n < content.minimum_n ? {class: "few"} : {});
    const points = [[0, 0, 0], ...cells, [1, 1, 1]].map((cell, place) => {
      const kept = place === 0 ? 0 : place > cells.length ? 1 : details.gain_shares[place - 1];
      return {x: x(kept), y: y(cell[0]), low: y(cell[1] ?? cell[0]), high: y(cell[2] ?? cell[0])};
    });
    if (bands) {
      const edge = [...points.map(p => `${p.x} ${p.high}`), ...[...points].reverse().map(p => `${p.x} ${p.low}`)];
      group.append(draw("path", {d: `M${edge.join("L")}Z`, fill: colour(system), class: "band"}));
    }
    group.append(draw("path", {d: `M${points.map(p => `${p.x} ${p.y}`).join("L")}`, stroke: colour(system), class: "curve"}));
    // Marks at other places for each system, so that curves that lie on each other are still told apart.
    points.slice(1, -1).forEach((p, place) => {
      if (place % 4 !== index % 4) return;
      const cell = cells[place];
      group.append(smallMark(system, p.x, p.y, `${system}: ${percent(cell[0])} of ${taskWords()} left where ${percent(details.gain_shares[place])} of candidates are kept (${interval(cell, percent)})`));
    });
    picture.append(group);
  });
  return panel(segment, `${count(n)} ${taskWords()}${n < content.minimum_n ? ", too few: grey" : ""}`, picture);
}

function showGains(systems) {
  const place = document.getElementById("gains"), segments = segmentsOf("gains", systems).filter(
    segment => systems.some(system => at(details.gains, system, chosen.split, segment, task())));
  const bands = systems.length <= MOST_BANDS;
  document.getElementById("gains-note").textContent = segments.length
    ? `If every request kept only its best x % of candidates by a system's score: the share of the segment's ${taskWords()} that is left, in percent. ` +
      `Dashed: a random order. Candidates are all logged rows but random negatives; rows that were never shown could not be clicked, so agreeing with what was shown helps. ` +
      (bands ? "Shaded: interval." : `Choose at most ${MOST_BANDS} systems to see intervals shaded.`) + ` Grey: fewer than ${content.minimum_n} ${taskWords()}.`
    : `No gain curves: there are no predictions of the systems chosen, or no ${taskWords()} on this split.`;
  place.replaceChildren(...segments.map(segment => gainPanel(segment, systems, bands)));
  const rows = segments.flatMap(segment => systems.map(system => {
    const cells = at(details.gains, system, chosen.split, segment, task());
    return [segment, system, TABLED.map(kept => {
      const cell = cells && cells[details.gain_shares.indexOf(kept)];
      return [`${percent(kept)} kept`, cell ? [percents(cell[0]), interval(cell, percents), `n ${count(cell[3])}`] : null, Boolean(cell) && cell[3] < content.minimum_n];
    })];
  }));
  curveTable("gains-figures", rows);
}

// rows: [segment, system, [[column, [value, detail, ...] or null, whether n is small], ...]]
function curveTable(id, rows) {
  const holder = document.getElementById(id);
  holder.hidden = !rows.length;
  if (holder.hidden) return;
  const head = make("tr", {}, make("th", {scope: "col"}, "segment, system"), ...rows[0][2].map(([name]) => make("th", {scope: "col"}, name)));
  const body = make("tbody", {}, ...rows.map(([segment, system, cells]) => make("tr", {}, make("th", {scope: "row"}, segment, make("span", {class: "part"}, system)),
    ...cells.map(([name, lines, small]) => {
      if (!lines) return make("td", {"data-label": name, class: "none"}, "–");
      return make("td", {"data-label": name, ...(small ? {class: "few"} : {})}, make("span", {class: "value"}, lines[0]),
        make("div", {class: "details"}, ...lines.slice(1).map(line => make("span", {class: "interval"}, line))));
    }))));
  holder.querySelector("table").replaceChildren(make("thead", {}, head), body);
}

// Click rates lie close to 0, and some bins have none: square roots spread them, logarithms could not show 0.
function calibrationPanel(segment, systems, most) {
  const scale = value => Math.sqrt(Math.min(value, most) / most);
  const nice = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1].filter(tick => tick <= most);
  const ticks = [[0, "0"]];
  for (const tick of nice.reverse()) {
    if (ticks.every(([place]) => Math.abs(place - scale(tick)) > 0.16)) ticks.push([scale(tick), percent(tick).replace(".0", "")]);
  }
  const {picture, x, y} = axes(`Observed click rate by predicted probability in ${segment}; the table below sums it up`, ticks);
  let n = 0;
  for (const system of systems) {
    const found = at(details.calibration, system, chosen.split, segment);
    if (!found) continue;
    n = found.ece[3];
    const points = found.bins.map(bin => `${x(scale(bin[0]))} ${y(scale(bin[1]))}`);
    picture.append(draw("path", {d: `M${points.join("L")}`, stroke: colour(system), class: n < content.minimum_n ? "curve thin few" : "curve thin"}));
    for (const bin of found.bins) {
      const group = draw("g", bin[4] < content.minimum_n ? {class: "few"} : {}), [px, py] = [x(scale(bin[0])), y(scale(bin[1]))];
      if (bin[2] !== null) group.append(draw("line", {x1: px, x2: px, y1: y(scale(bin[2])), y2: y(scale(bin[3])), stroke: colour(system), "stroke-width": 1.2}));
      group.append(smallMark(system, px, py, `${system}: said ${percents(bin[0])}, seen ${percents(bin[1])} (${interval(bin.slice(1), percents)}), n ${count(bin[4])}`));
      picture.append(group);
    }
  }
  return panel(segment, `${count(n)} rows${n < content.minimum_n ? ", too few: grey" : ""}`, picture);
}

function showCalibration(systems) {
  const segments = segmentsOf("calibration", systems);
  const bins = systems.flatMap(system => segments.flatMap(segment => (at(details.calibration, system, chosen.split, segment) || {bins: []}).bins));
  const most = Math.min(1, Math.max(0.01, ...bins.flatMap(bin => bin[4] < content.minimum_n ? [bin[0]] : [bin[0], bin[1]])) * 1.05);
  document.getElementById("calibration-note").textContent = segments.length
    ? `Exposed rows in ten bins with equally many rows each by predicted click probability: predicted (across) against observed click rate (up), with intervals. ` +
      `Square-root axes, the same in every panel. Dashed: perfectly calibrated. Grey: bins of fewer than ${content.minimum_n} rows.`
    : "No calibration: there are no predictions of the systems chosen, they have no click probability, or clicks are off.";
  document.getElementById("calibration").replaceChildren(...segments.map(segment => calibrationPanel(segment, systems, most)));
  const say = value => value.toFixed(4);
  const rows = segments.flatMap(segment => systems.map(system => {
    const found = at(details.calibration, system, chosen.split, segment), loss = at(content.figures, system, chosen.split, segment, "log_loss_click");
    const small = Boolean(found) && found.ece[3] < content.minimum_n;
    return [segment, system, [
      ["log loss", hasValue(loss) ? [say(loss.value), interval([loss.value, loss.low, loss.high], say), `n ${count(loss.n)}`] : null, small],
      ["expected calibration error", found ? [say(found.ece[0]), interval(found.ece, say), found.by_chance === null ? "" : `${say(found.by_chance)} if perfect`, `n ${count(found.ece[3])}`] : null, small],
    ]];
  }));
  curveTable("calibration-figures", rows);
}
