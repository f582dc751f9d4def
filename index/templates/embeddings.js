// Titles, brands and queries come from logs: they only ever become text nodes, never markup.
(() => {
const byId = id => document.getElementById(id);
const NEAR = 16;        // how close to a point a pointer has to be, in the map's units
const MOST_OPTIONS = 50;
// Circle, square, triangle, diamond, triangle on its tip, cross, star: they tell what the colours tell.
const SHAPES = ["M0-4.4A4.4 4.4 0 1 0 .01-4.4Z", "M-4-4H4V4H-4Z", "M0-5L4.8 4H-4.8Z", "M0-5.4L5 0L0 5.4L-5 0Z", "M0 5L4.8-4H-4.8Z",
  "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z", "M0-6L1.5-1.6L6 0L1.5 1.6L0 6L-1.5 1.6L-6 0L-1.5-1.6Z"];
const REST = "M0-2.4A2.4 2.4 0 1 0 .01-2.4Z";

const present = value => value !== null && value !== undefined && value !== "";
const column = name => content.columns.indexOf(name);
const value = (place, name) => column(name) < 0 ? null : content.items[place][column(name)];
const nameOf = place => present(value(place, "title")) ? String(value(place, "title")) : `item ${value(place, "item_id")}`;
const factsOf = place => [
  value(place, "brand"), value(place, "category"),
  present(value(place, "price")) ? `price ${count(value(place, "price"))}` : null,
  present(value(place, "impressions")) ? `${count(value(place, "impressions"))} impressions` : null, present(value(place, "title")) ? `id ${value(place, "item_id")}` : null,
].filter(present).join(" · ");
const described = place => [make("b", {class: "name"}, nameOf(place)), make("span", {class: "facts"}, factsOf(place))];
const entryOf = new Map((content.shown || []).map((entry, number) => [entry.item, number]));

const map = content.map ? makeMap() : null;
const browser = content.shown && content.shown.length ? makeBrowser() : null;
if (browser) browser.choose(0);

// ---- the map -------------------------------------------------------------------------------------------------------
function makeMap() {
  const views = ["psi", "phi"].map(name => ({svg: byId(`map-${name}`), points: content.map[name].map(([x, y]) => [10 + x * .4, 410 - y * .4])}));
  const told = byId("told"), kinds = kindsOf(content.map.items);
  let active = -1, pinned = null, alone = null;   // pinned: the view that holds its item

  for (const view of views) {
    view.svg.append(draw("rect", {class: "area", x: 1, y: 1, width: 418, height: 418, rx: 6}));
    const order = content.map.items.map((_, point) => point).sort((a, b) => kinds.of[b] - kinds.of[a]);
    view.markers = [];
    for (const point of order) {
      const kind = kinds.of[point], [x, y] = view.points[point];
      const marker = draw("path", {class: `marker mark-${kind < 7 ? kind : "rest"}`, d: kind < 7 ? SHAPES[kind] : REST, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`});
      view.markers[point] = marker;
      view.svg.append(marker);
    }
    view.ring = draw("circle", {class: "ring", r: 9, visibility: "hidden"});
    view.chosen = draw("circle", {class: "ring chosen", r: 12, visibility: "hidden"});
    view.svg.append(view.chosen, view.ring);
    listen(view);
  }
  legend();
  document.addEventListener("keydown", event => { if (event.key === "Escape" && pinned) { const view = pinned; release(); view.svg.focus(); } });
  document.addEventListener("pointerdown", event => { if (pinned && !byId("maps").contains(event.target)) release(); });

  function kindsOf(items) {
    const name = ["category", "brand"].find(name => column(name) >= 0 && items.some(place => present(value(place, name))));
    const whole = place => name && present(value(place, name)) ? String(value(place, name)) : null;
    const sizes = new Map();
    for (const place of items) sizes.set(whole(place), (sizes.get(whole(place)) || 0) + 1);
    const covered = [...sizes.values()].sort((a, b) => b - a).slice(0, SHAPES.length).reduce((sum, size) => sum + size, 0);
    // Of a path such as shoes/boots the first part is taken, where whole values would leave most items grey.
    const paths = covered < items.length / 2 && items.every(place => whole(place) === null || whole(place).includes("/"));
    const read = place => paths && whole(place) !== null ? whole(place).split("/")[0] : whole(place);
    const counts = new Map();
    for (const place of items) if (read(place) !== null) counts.set(read(place), (counts.get(read(place)) || 0) + 1);
    const names = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, SHAPES.length);
    const rank = new Map(names.map(([text], place) => [text, place]));
    return {name, paths, names, of: items.map(place => rank.has(read(place)) ? rank.get(read(place)) : SHAPES.length)};
  }

  function legend() {
    const rest = kinds.of.filter(kind => kind === SHAPES.length).length;
    const entries = kinds.names.map(([text, count], kind) => [text, count, kind]);
    if (rest) entries.push([kinds.name ? "all others" : "items", rest, SHAPES.length]);
    for (const [text, size, kind] of entries) {
      const row = make("li"), button = make("button", {type: "button", "aria-pressed": "false"}), shape = draw("svg", {viewBox: "-7 -7 14 14", "aria-hidden": "true"});
      shape.append(draw("path", {class: `marker mark-${kind < 7 ? kind : "rest"}`, d: kind < 7 ? SHAPES[kind] : REST}));
      button.append(shape, make("span", {class: "name"}, `${text} (${count(size)})`));
      button.addEventListener("click", () => showAlone(kind, button));
      row.append(button);
      byId("keys").append(row);
    }
    if (kinds.name) byId("keys-note").replaceChildren(`Shape and colour: ${kinds.paths ? `the first part of the ${kinds.name}` : kinds.name}, the most frequent ones.`,
      make("span", {class: "on-screen"}, " Press one to see it alone."));
  }

  function showAlone(kind, button) {
    alone = alone === kind ? null : kind;
    for (const other of byId("keys").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button && alone !== null));
    for (const view of views) {
      view.svg.classList.toggle("faded", alone !== null);
      view.markers.forEach((marker, point) => marker.classList.toggle("kept", kinds.of[point] === alone));
    }
  }

  function listen(view) {
    const at = event => {
      const box = view.svg.getBoundingClientRect(), x = (event.clientX - box.left) * 420 / box.width, y = (event.clientY - box.top) * 420 / box.height;
      let best = -1, least = NEAR * NEAR;
      view.points.forEach(([a, b], point) => {
        const far = (a - x) ** 2 + (b - y) ** 2;
        if (far < least && (alone === null || kinds.of[point] === alone)) { least = far; best = point; }
      });
      return best;
    };
    view.svg.addEventListener("pointermove", event => { if (!pinned && event.pointerType !== "touch") mark(at(event), view); });
    view.svg.addEventListener("pointerleave", () => { if (!pinned) mark(-1, view); });
    view.svg.addEventListener("click", event => { pinned = null; mark(at(event), view); if (active >= 0) pin(view); });
    view.svg.addEventListener("focus", () => { if (active < 0 && view.svg.matches(":focus-visible")) mark(0, view); });
    view.svg.addEventListener("blur", () => { if (!pinned) mark(-1, view); });
    view.svg.addEventListener("keydown", event => {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
      if (step) { event.preventDefault(); pinned = null; mark(towards(view, step), view); }
      if (event.key === "Enter" && active >= 0) { event.preventDefault(); pin(view); const button = told.querySelector("button"); if (button) button.focus(); }
    });
  }

  // The nearest point in a direction: what lies aside counts twice as far.
  function towards(view, [right, down]) {
    if (active < 0) return 0;
    const [x, y] = view.points[active];
    let best = active, least = Infinity;
    view.points.forEach(([a, b], point) => {
      const ahead = (a - x) * right + (b - y) * down, aside = Math.abs((a - x) * down) + Math.abs((b - y) * right);
      if (point !== active && ahead > 0 && ahead + 2 * aside < least && (alone === null || kinds.of[point] === alone)) { least = ahead + 2 * aside; best = point; }
    });
    return best;
  }

  function move(ring, view, point) {
    ring.setAttribute("visibility", point < 0 ? "hidden" : "visible");
    if (point >= 0) { ring.setAttribute("cx", view.points[point][0]); ring.setAttribute("cy", view.points[point][1]); }
  }

  function mark(point, view) {
    if (point === active && !told.hidden) return;
    active = point;
    for (const each of views) move(each.ring, each, point);
    told.hidden = point < 0;
    told.classList.remove("pinned");
    if (point < 0) return;
    told.replaceChildren(...described(content.map.items[point]));
    const box = byId("maps").getBoundingClientRect(), spot = view.markers[point].getBoundingClientRect();
    const x = spot.left - box.left + 16, y = spot.top - box.top + 16;
    told.style.left = `${Math.max(0, x + told.offsetWidth > box.width ? x - told.offsetWidth - 24 : x)}px`;
    told.style.top = `${y}px`;
  }

  function pin(view) {
    pinned = view;
    told.classList.add("pinned");
    const number = entryOf.get(content.map.items[active]);
    const button = make("button", {type: "button"}, "Show its neighbours");
    button.addEventListener("click", () => { release(); browser.choose(number); byId("wanted").focus(); });
    told.append(number === undefined ? make("span", {class: "facts"}, "Its neighbours are not in this page.") : button);
  }
  function release() { pinned = null; active = -1; told.hidden = true; for (const view of views) move(view.ring, view, -1); }

  return {choose: place => { const point = content.map.items.indexOf(place); for (const view of views) move(view.chosen, view, point); }};
}

// ---- the neighbour browser -----------------------------------------------------------------------------------------
function makeBrowser() {
  const wanted = byId("wanted"), found = byId("found"), group = byId("group");
  const texts = content.shown.map(entry => `${nameOf(entry.item)} ${["brand", "category", "item_id"].map(name => value(entry.item, name)).filter(present).join(" ")}`.toLowerCase());
  let options = [], at = -1, current = 0;

  wanted.addEventListener("input", () => open(matching()));
  wanted.addEventListener("click", () => { if (found.hidden) open(matching()); });
  wanted.addEventListener("blur", close);
  wanted.addEventListener("keydown", key);
  group.addEventListener("change", () => { const first = inGroup()[0]; if (first !== undefined) choose(first); });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  found.addEventListener("pointerdown", event => event.preventDefault());   // the text field keeps the focus
  let drawn = 0;   // the width it was drawn for: only another one is worth drawing again
  new ResizeObserver(() => { if (byId("picture").clientWidth !== drawn) picture(content.shown[current]); }).observe(byId("picture"));

  function inGroup() { return content.shown.map((_, number) => number).filter(number => !group.value || content.shown[number].group === group.value); }

  function matching() {
    const typed = wanted.value.trim().toLowerCase(), words = typed.split(/\s+/).filter(Boolean);
    const rank = number => {
      const place = content.shown[number].item;
      return String(value(place, "item_id")).toLowerCase() === typed ? 0 : nameOf(place).toLowerCase().startsWith(typed) ? 1 : 2;
    };
    const kept = inGroup().filter(number => words.every(word => texts[number].includes(word)));
    return typed ? kept.map(number => [rank(number), number]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(pair => pair[1]) : kept;
  }

  function open(numbers) {
    options = numbers.slice(0, MOST_OPTIONS);
    const rows = options.map((number, place) => {
      const {item, group} = content.shown[number];
      const row = make("li", {id: `option-${place}`, role: "option"}, make("span", {class: "name"}, nameOf(item)),
        make("span", {class: "facts"}, `${group} · ${factsOf(item)}`));
      row.addEventListener("click", () => { choose(number); close(); });
      return row;
    });
    const more = numbers.length - options.length;
    const note = make("li", {class: "note", role: "presentation"}, options.length ? `and ${count(more)} more: type more of the name` : "no item of this page matches");
    found.replaceChildren(...rows, ...(more || !options.length ? [note] : []));
    found.hidden = false;
    wanted.setAttribute("aria-expanded", "true");
    point(options.length ? 0 : -1);
  }
  function close() {
    found.hidden = true;
    wanted.setAttribute("aria-expanded", "false");
    wanted.removeAttribute("aria-activedescendant");
  }
  function point(place) {
    at = place;
    [...found.querySelectorAll("[role=option]")].forEach((row, number) => row.setAttribute("aria-selected", String(number === place)));
    if (place < 0) { wanted.removeAttribute("aria-activedescendant"); return; }
    wanted.setAttribute("aria-activedescendant", `option-${place}`);
    const row = byId(`option-${place}`);   // scrollIntoView would move the page, too
    if (row.offsetTop < found.scrollTop) found.scrollTop = row.offsetTop;
    else if (row.offsetTop + row.offsetHeight > found.scrollTop + found.clientHeight) found.scrollTop = row.offsetTop + row.offsetHeight - found.clientHeight;
  }
  function key(event) {
    if (event.key === "Escape") { if (found.hidden) wanted.value = ""; close(); return; }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (found.hidden) open(matching());
      else if (options.length) point((at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length);
    }
    if (event.key === "Enter" && !found.hidden && at >= 0) { event.preventDefault(); choose(options[at]); close(); }
  }
  function step(by) {
    const numbers = inGroup(), place = numbers.indexOf(current);
    choose(numbers[place < 0 ? 0 : (place + by + numbers.length) % numbers.length]);
  }

  function choose(number) {
    current = number;
    const entry = content.shown[number];
    const agreed = entry.psi.filter(([place]) => entry.phi.some(([other]) => other === place)).length;
    const verdict = entry.psi.length ? `${agreed} of its ${entry.phi.length} nearest items are the same under ψ and φ.` : "It has no ψ: only φ can find its neighbours.";
    byId("item").replaceChildren(...described(entry.item), make("span", {class: "told"}, `${entry.group} · ${verdict}`));
    list("psi", entry.psi, entry.phi, "φ");
    list("phi", entry.phi, entry.psi, "ψ");
    picture(entry);
    if (map) map.choose(entry.item);
  }

  function list(side, near, others, other) {
    const rows = near.map(([place, cosine], rank) => {
      const there = others.findIndex(([one]) => one === place), row = make("li", there >= 0 ? {class: "shared"} : {}), top = make("div", {class: "row"});
      const shown = entryOf.get(place), named = make(shown === undefined ? "b" : "button", {class: "name"}, nameOf(place));
      if (shown !== undefined) {
        named.type = "button";
        named.title = "Show its neighbours";
        named.addEventListener("click", () => { choose(shown); byId("wanted").focus({preventScroll: true}); });
      }
      top.append(make("span", {}, `${rank + 1}.`), named, make("span", {class: "cosine"}, `cos ${cosine.toFixed(2).replace("-", "−")}`));
      const agreement = there >= 0 ? `● agreed: no. ${there + 1} under ${other}` : others.length ? `○ not among the ${others.length} under ${other}` : "○ ψ says nothing";
      row.append(top, make("span", {class: "facts"}, factsOf(place)), make("span", {class: "agreement"}, agreement));
      return row;
    });
    byId(side).replaceChildren(...(rows.length ? rows : [make("li", {}, "None: this item has no ψ.")]));
  }

  function picture(entry) {
    const box = byId("picture"), note = byId("picture-note"), words = byId("picture-list");
    words.replaceChildren();
    if (!entry.graph) { box.replaceChildren(); note.textContent = "This audit has no graph to draw from."; return; }
    const {nodes, edges, own, of} = entry.graph;
    const named = node => node[0] === "item" ? nameOf(node[1]) : content.texts[node[1]];
    const full = node => node[0] === "item" ? `${nameOf(node[1])} · ${factsOf(node[1])}` : `${node[0]}: ${content.texts[node[1]]}`;
    drawn = box.clientWidth;
    const wide = Math.max(280, Math.min(box.clientWidth || 900, 900)), letters = Math.floor(wide / 3 / 7.2) - 1;
    const short = text => text.length > letters ? text.slice(0, letters - 1) + "…" : text;
    const rows = Math.max(...[0, 50, 100].map(x => nodes.filter(node => node[2] === x).length)), high = 40 * Math.max(rows - 1, 1) + 44;
    const x = node => wide * (1 / 6 + node[2] / 150), y = node => 14 + node[3] * (high - 44) / 100;
    const svg = draw("svg", {viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `Graph around ${nameOf(entry.item)}: ${nodes.length - 1} nodes, listed below`});
    const heaviest = Math.max(...edges.map(edge => edge[2]), 1e-9);
    for (const [first, second, weight] of [...edges].sort((a, b) => (a[0] === own || a[1] === own) - (b[0] === own || b[1] === own))) {
      const a = nodes[first], b = nodes[second], bend = a[2] === b[2] ? 26 * Math.sign(a[2] - 49) : 0;
      const path = draw("path", {class: first === own || second === own ? "edge own" : "edge", "stroke-width": (.7 + 2.3 * weight / heaviest).toFixed(2),
        d: `M${x(a)} ${y(a)}Q${(x(a) + x(b)) / 2 + bend} ${(y(a) + y(b)) / 2} ${x(b)} ${y(b)}`});
      path.append(draw("title", {}, `${named(a)} – ${named(b)}, weight ${weight}`));
      svg.append(path);
    }
    nodes.forEach((node, place) => {
      const kind = node[0] === "query" ? "query" : node[0] === "item" ? "item" : "attribute", shape = {query: 1, item: 0, attribute: 3}[kind];
      const mark = draw("path", {class: `node ${place === own ? "own" : kind}`, d: SHAPES[shape], transform: `translate(${x(node)} ${y(node)}) scale(${place === own ? 1.9 : 1.35})`});
      mark.append(draw("title", {}, full(node)));
      svg.append(mark, draw("text", {x: x(node), y: y(node) + (place === own ? 23 : 19), class: place === own ? "own-name" : ""}, short(named(node))));
    });
    svg.setAttribute("width", wide);
    svg.setAttribute("height", high);
    box.replaceChildren(svg);
    const kinds = Object.entries(of), shown = kind => nodes.filter((node, place) => node[0] === kind && place !== own).length;
    const counted = kinds.filter(([, all]) => all > 0).map(([kind, all]) => `${shown(kind)} of ${count(all)} ${kind === "item" ? "co-engaged items" : kind === "query" ? "queries" : `${kind} values`}`);
    note.textContent = counted.length ? `The strongest: ${counted.join(", ")}; thicker lines weigh more, dark ones are the item's own. From training days only.` : "The training graph has no edge of this item.";
    for (const [kind] of kinds) {
      const members = nodes.filter((node, place) => node[0] === kind && place !== own);
      if (members.length) words.append(make("dt", {}, kind === "item" ? "co-engaged items" : kind === "query" ? "queries" : kind), ...members.map(node => make("dd", {class: "name"}, named(node))));
    }
  }
  return {choose};
}
})();
