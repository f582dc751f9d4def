"use strict";
// What all pages share. Texts come from logs, plans and folders: they only ever become text nodes or attributes.
// A page that asks its server holds no content of its own.
const byId = id => document.getElementById(id);
const content = JSON.parse(byId("content")?.textContent ?? "null");
const at = (object, ...keys) => keys.reduce(
  (part, key) => (part !== undefined && part !== null && Object.hasOwn(part, key) ? part[key] : undefined), object);
const known = value => value !== undefined && value !== null;

// ---- elements ------------------------------------------------------------------------------------------------------
function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const make = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// Names such as grace_no_hash_id may be broken after an underscore, and nowhere else while there is room.
const breakable = name => name.split(/(?<=_)/).flatMap((part, place) => (place ? [make("wbr"), part] : [part]));
// Without its middle: beginnings alone would make one of names that end differently.
function shortened(text, most) {
  const end = Math.floor((most - 1) / 2);
  return text.length <= most ? text : `${text.slice(0, Math.max(1, most - 1 - end))}…${end > 0 ? text.slice(-end) : ""}`;
}
// Facts of others' making side by side, each by itself: a right-to-left mark in a title must not turn the price beside it.
const isolated = facts => facts.filter(fact => known(fact) && fact !== "").flatMap((fact, place) => [place ? " · " : "", make("bdi", {}, String(fact))]);
const ISOLATE = "\u2068", ISOLATE_ENDS = "\u2069";
const isolatedText = facts => facts.filter(fact => known(fact) && fact !== "").map(fact => ISOLATE + fact + ISOLATE_ENDS).join(" · ");

// ---- figures in words: as prerank/pages/numbers.py writes them ---------------------------------------------------------
const minus = text => text.replaceAll("-", "−");
const number = (value, decimals = 4) => minus(value.toFixed(decimals));
const signed = (value, decimals = 4) => (value > 0 ? "+" : "") + number(value, decimals);
const points = value => signed(100 * value, 2);
const percent = (value, decimals = 1) => `${number(100 * value, decimals)} %`;
const count = value => value.toLocaleString("en-US");
const pWords = p => !known(p) ? "p undefined" : p < 0.001 ? "p < 0.001" : `p ${p.toFixed(3)}`;
const span = (low, high, say = number) => known(low) ? `${say(low)} to ${say(high)}` : "no interval";

// ---- forms ---------------------------------------------------------------------------------------------------------
function fill(select, options, value) {
  select.replaceChildren(...options.map(option => Array.isArray(option) ? option : [option, option])
    .map(([key, text]) => make("option", {value: key}, text)));
  select.value = value;
}
for (const form of document.querySelectorAll("form")) form.addEventListener("submit", event => event.preventDefault());

// ---- tables and lists ------------------------------------------------------------------------------------------------
// A cell: its value, and beneath it lines of text, each with a class of its own where it is a [class, text].
function cell(value, lines = [], style = "") {
  const under = lines.filter(Boolean).map(line => Array.isArray(line) ? line : ["", line]);
  return make("td", style ? {class: style} : {}, make("span", {class: "value"}, value),
    ...under.map(([kind, text]) => make("span", {class: `under ${kind}`.trim()}, text)));
}
const plain = value => make("td", {}, value);
const missing = reason => cell("–", reason ? [["reason", reason]] : [], "none");

// Rows are [head, cell, ...]: text or nodes for the head, a td for each further name.
function fillTable(table, names, rows) {
  const head = names.map(name => make("th", {scope: "col"}, ...breakable(name)));
  table.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows.map(([first, ...cells]) => {
    cells.forEach((each, place) => each.setAttribute("data-label", names[place + 1]));
    return make("tr", {}, make("th", {scope: "row"}, ...(Array.isArray(first) ? first : breakable(first))), ...cells);
  })));
}
const fillDefinitions = (list, entries) => list.replaceChildren(
  ...entries.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, String(text))]));

// ---- plots ---------------------------------------------------------------------------------------------------------
// Values from low to high as pixels. What lies beyond an end is put at it, where an arrow has to say so (beyond).
const scale = (low, high, from, to) => Object.assign(
  value => from + (Math.min(Math.max(value, low), high) - low) / (high - low) * (to - from),
  {beyond: value => value < low ? -1 : value > high ? 1 : 0});

function extent(values, margin) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 0.1) * margin;
  return [low - room, high + room];
}

// About `most` round numbers from low to high with as many decimals as tell them apart.
function ticksBetween(low, high, most) {
  const step = [1, 2, 2.5, 5, 10].map(part => part * 10 ** Math.floor(Math.log10((high - low) / most)))
    .find(part => (high - low) / part <= most);
  const whole = decimals => Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) < 1e-6;
  const decimals = [0, 1, 2, 3, 4].find(whole) ?? 5, ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push([tick, number(tick, decimals)]);
  return ticks;
}

const picture = (width, height, label) => draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
const line = (x1, y1, x2, y2, style) => draw("line", {x1, y1, x2, y2, class: style});
const label = (x, y, text, style = "") => draw("text", {x, y, class: style}, text);

// Grid lines at ticks [value, text], across the picture or up it.
function gridAcross(svg, x, ticks, top, bottom) {
  for (const [tick, text] of ticks) svg.append(line(x(tick), top, x(tick), bottom, "grid"), label(x(tick), bottom + 16, text, "tick middle"));
}
function gridUp(svg, y, ticks, left, right) {
  for (const [tick, text] of ticks) svg.append(line(left, y(tick), right, y(tick), "grid"), label(left - 6, y(tick) + 4, text, "tick end"));
}

// A system has the same shape and colour on every page: those fitted most have places of their own, others one by their
// name, the next free one where that is taken.
const PLACES = ["popularity", "lightgbm", "ple", "grace", "cold", "copr", "dssm", "esmm"];
function placesOf(systems) {
  const places = new Map(systems.filter(name => PLACES.includes(name)).map(name => [name, PLACES.indexOf(name)]));
  for (const name of systems.filter(name => !places.has(name)).sort()) {
    const first = [...name].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 9973, 0), taken = new Set(places.values());
    const turn = SHAPES.map((_, step) => (first + step) % SHAPES.length);
    places.set(name, turn.find(place => !taken.has(place)) ?? turn[0]);
  }
  return places;
}
// A shape and a colour for each series: the shape tells what the colour tells.
const seriesOf = place => `series-${place % SHAPES.length}`;
function mark(place, x, y, size = 1, title = "") {
  const shape = draw("path", {class: `fill ${seriesOf(place)}`, d: SHAPES[place % SHAPES.length], transform: `translate(${x} ${y}) scale(${size})`});
  if (title) shape.append(draw("title", {}, title));
  return shape;
}
// Room beside a plot for the numbers of what lies beyond its ends.
const BESIDE = 46;
function roomBeside(low, high, values) {
  return [values.some(value => value < low) ? BESIDE : 0, values.some(value => value > high) ? BESIDE : 0];
}
// What goes on beyond an end of the scale is an arrow there with the number that it stands for: the value, else an end
// of its interval.
function arrowsBeyond(x, y, value, low, high, say) {
  return [-1, 1].flatMap(side => {
    const end = [value, side < 0 ? low : high].find(each => known(each) && x.beyond(each) === side);
    if (end === undefined) return [];
    return [draw("path", {class: "fill beyond", d: `M${x(end) + side * 7} ${y}l${-side * 8} -5v10Z`}),
      label(x(end) + side * 10, y + 4, say(end), side < 0 ? "beyond end" : "beyond")];
  });
}
// A value with its interval along x.
function estimate(x, y, value, low, high, place, size, say) {
  return [...(known(low) ? [line(x(low), y, x(high), y, "interval")] : []), ...arrowsBeyond(x, y, value, low, high, say),
    ...(x.beyond(value) ? [] : [mark(place, x(value), y, size)])];
}
function legendOf(place, name) {
  const icon = draw("svg", {viewBox: "-8 -8 16 16", "aria-hidden": "true"});
  icon.append(mark(place, 0, 0));
  return make("span", {class: "key"}, icon, ...breakable(name));
}

// A plot is as wide as its place, and is drawn again when that changes.
const PAPER_WIDTH = 700;
const paper = {printing: false, lines: [], opened: []};
const drawingWidth = place => paper.printing ? PAPER_WIDTH : Math.max(320, place.clientWidth || 900);
const redrawn = show => { for (const event of ["resize", "beforeprint", "afterprint"]) window.addEventListener(event, show); };

// ---- paper: what a form is set to has to stand there, and so has what is folded away ------------------------------------
function setting(label) {
  const select = label.querySelector("select"), input = label.querySelector("input");
  if (select) return `${label.firstChild.textContent.trim()}: ${select.selectedOptions[0]?.textContent ?? "nothing"}`;
  return input.type !== "checkbox" ? `${label.firstChild.textContent.trim()}: ${input.value}` : input.checked ? label.textContent.trim() : "";
}
window.addEventListener("beforeprint", () => {
  paper.printing = true;
  for (const form of document.querySelectorAll("form:not([hidden])")) {
    const words = [...form.querySelectorAll("label")].map(setting).filter(Boolean).join(" · ");
    paper.lines.push(make("p", {class: "note"}, `Shown: ${words}`));
    form.after(paper.lines.at(-1));
  }
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    paper.opened.push(folded);
  }
});
window.addEventListener("afterprint", () => {
  paper.printing = false;
  for (const note of paper.lines.splice(0)) note.remove();
  for (const folded of paper.opened.splice(0)) folded.open = false;
});
