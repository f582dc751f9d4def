// The items' descriptions, and two maps of the same items, one by ψ and one by φ: pointing at one marks it in both.
const present = value => known(value) && value !== "";
const column = name => content.columns.indexOf(name);
const coded = new Set(content.coded || []);   // columns whose values are places in content.texts
const inside = (place, name) => column(name) < 0 ? null : content.items[place][column(name)];
const textOf = (name, cell) => coded.has(name) && known(cell) ? content.texts[cell] : cell;
const value = (place, name) => textOf(name, inside(place, name));
const LONGEST = 50;
const nameOf = place => present(value(place, "title")) ? shortened(String(value(place, "title")), 90) : `item ${value(place, "item_id")}`;
const factsOf = place => [
  ...["brand", "category"].map(name => value(place, name)).filter(present).map(text => shortened(String(text), LONGEST)),
  present(value(place, "price")) ? `price ${count(value(place, "price"))}` : null,
  present(value(place, "impressions")) ? `${count(value(place, "impressions"))} impressions` : null,
  present(value(place, "title")) ? `id ${value(place, "item_id")}` : null,
].filter(present);
const described = place => [make("b", {class: "name"}, nameOf(place)), make("span", {class: "facts"}, ...isolated(factsOf(place)))];
const entryOf = new Map((content.shown || []).map((entry, number) => [entry.item, number]));

const SIDE = 420;
const NEAR = 16;   // how close to a point a pointer has to be, in the map's units
const KINDS = 7;   // with a shape of their own; the others share a small dot
const symbol = (kind, attributes) => draw("path", {...attributes, class: `marker fill ${kind < KINDS ? seriesOf(kind) : "rest"}`, d: SHAPES[kind < KINDS ? kind : 0]});

function makeMap() {
  const views = ["psi", "phi"].map(name => ({svg: byId(`map-${name}`), points: content.map[name].map(([x, y]) => [10 + x * .4, SIDE - 10 - y * .4])}));
  const told = byId("told"), kinds = kindsOf(content.map.items);
  let active = -1, pinned = null, alone = null;   // pinned: the view that holds its item

  for (const view of views) {
    view.svg.append(draw("rect", {class: "area", x: 1, y: 1, width: SIDE - 2, height: SIDE - 2, rx: 6}));
    view.markers = [];
    for (const point of content.map.items.map((_, point) => point).sort((a, b) => kinds.of[b] - kinds.of[a])) {
      const [x, y] = view.points[point], size = kinds.of[point] < KINDS ? 1 : .55;
      view.markers[point] = symbol(kinds.of[point], {transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size})`});
      view.svg.append(view.markers[point]);
    }
    view.ring = draw("circle", {class: "ring", r: 9, visibility: "hidden"});
    view.chosen = draw("circle", {class: "ring chosen", r: 12, visibility: "hidden"});
    view.svg.append(view.chosen, view.ring);
    listen(view);
  }
  showKeys();
  document.addEventListener("keydown", event => { if (event.key === "Escape" && pinned) { const view = pinned; release(); view.svg.focus(); } });
  document.addEventListener("pointerdown", event => { if (pinned && !byId("maps").contains(event.target)) release(); });

  // Kinds are told apart by what an item holds, not by what of it is shown.
  function kindsOf(items) {
    const name = ["category", "brand"].find(name => column(name) >= 0 && items.some(place => present(value(place, name))));
    const whole = place => name && present(value(place, name)) ? inside(place, name) : null;
    const words = kind => String(textOf(name, kind));
    const counted = (kinds, say) => {
      const counts = new Map();
      for (const kind of kinds) if (kind !== null) counts.set(kind, (counts.get(kind) || 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1] || (say(a[0]) < say(b[0]) ? -1 : 1)).slice(0, KINDS);
    };
    const covered = counted(items.map(whole), words).reduce((sum, [, size]) => sum + size, 0);
    // Of a path such as shoes/boots the first part is taken, where whole values would leave most items grey.
    const paths = covered < items.length / 2 && items.every(place => whole(place) === null || words(whole(place)).includes("/"));
    const read = place => paths && whole(place) !== null ? words(whole(place)).split("/")[0] : whole(place);
    const say = paths ? String : words, kinds = counted(items.map(read), say), rank = new Map(kinds.map(([kind], place) => [kind, place]));
    return {name, paths, names: kinds.map(([kind, size]) => [shortened(say(kind), LONGEST), size]), of: items.map(place => rank.get(read(place)) ?? KINDS)};
  }

  function showKeys() {
    const rest = kinds.of.filter(kind => kind === KINDS).length, entries = kinds.names.map(([text, size], kind) => [text, size, kind]);
    if (rest) entries.push([kinds.name ? "all others" : "items", rest, KINDS]);
    for (const [text, size, kind] of entries) {
      const button = make("button", {type: "button", "aria-pressed": "false"});
      button.append(draw("svg", {viewBox: "-7 -7 14 14", "aria-hidden": "true"}, symbol(kind, {transform: `scale(${kind < KINDS ? 1 : .55})`})), make("span", {class: "name"}, `${text} (${count(size)})`));
      button.addEventListener("click", () => showAlone(kind, button));
      byId("keys").append(make("li", {}, button));
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

  const among = point => alone === null || kinds.of[point] === alone;
  function listen(view) {
    const nearest = event => {
      const box = view.svg.getBoundingClientRect(), x = (event.clientX - box.left) * SIDE / box.width, y = (event.clientY - box.top) * SIDE / box.height;
      let best = -1, least = NEAR * NEAR;
      view.points.forEach(([a, b], point) => {
        const far = (a - x) ** 2 + (b - y) ** 2;
        if (far < least && among(point)) { least = far; best = point; }
      });
      return best;
    };
    view.svg.addEventListener("pointermove", event => { if (!pinned && event.pointerType !== "touch") tell(nearest(event), view); });
    view.svg.addEventListener("pointerleave", () => { if (!pinned) tell(-1, view); });
    view.svg.addEventListener("click", event => { pinned = null; tell(nearest(event), view); if (active >= 0) pin(view); });
    view.svg.addEventListener("focus", () => { if (active < 0 && view.svg.matches(":focus-visible")) tell(0, view); });
    view.svg.addEventListener("blur", () => { if (!pinned) tell(-1, view); });
    view.svg.addEventListener("keydown", event => {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
      if (step) { event.preventDefault(); pinned = null; tell(towards(view, step), view); }
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
      if (point !== active && ahead > 0 && ahead + 2 * aside < least && among(point)) { least = ahead + 2 * aside; best = point; }
    });
    return best;
  }

  function move(ring, view, point) {
    ring.setAttribute("visibility", point < 0 ? "hidden" : "visible");
    if (point >= 0) { ring.setAttribute("cx", view.points[point][0]); ring.setAttribute("cy", view.points[point][1]); }
  }

  function tell(point, view) {
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

  function release() {
    pinned = null;
    tell(-1);
  }

  return {choose: place => { const point = content.map.items.indexOf(place); for (const view of views) move(view.chosen, view, point); }};
}
