// An item's surroundings in the graph: queries on the left, its attributes around it, co-engaged items on the right.
const pluralOf = kind => kind === "item" ? "co-engaged items" : kind === "query" ? "queries" : kind;
const SYMBOL = {query: 1, item: 0, own: 0, attribute: 2};   // its shape

function drawSurroundings(entry) {
  const box = byId("picture"), note = byId("picture-note"), list = byId("picture-list");
  list.replaceChildren();
  if (!entry.graph) { box.replaceChildren(); note.textContent = "This audit has no graph to draw from."; return; }
  const {nodes, edges, own, of} = entry.graph;
  const named = node => node[0] === "item" ? nameOf(node[1]) : content.texts[node[1]];
  const full = node => node[0] === "item" ? isolatedText([nameOf(node[1]), ...factsOf(node[1])]) : `${node[0]}: ${content.texts[node[1]]}`;
  const wide = Math.max(280, Math.min(box.clientWidth || 900, 900)), letters = Math.floor(wide / 3 / 7.2) - 1;
  const rows = Math.max(...[0, 50, 100].map(x => nodes.filter(node => node[2] === x).length)), high = 40 * Math.max(rows - 1, 1) + 44;
  const x = node => wide * (1 / 6 + node[2] / 150), y = node => 14 + node[3] * (high - 44) / 100;
  const svg = picture(wide, high, `Graph around ${nameOf(entry.item)}: ${nodes.length - 1} nodes, listed below`);
  const heaviest = Math.max(...edges.map(edge => edge[2]), 1e-9), isOwn = ([first, second]) => first === own || second === own;
  for (const edge of [...edges].sort((a, b) => isOwn(a) - isOwn(b))) {
    const [a, b] = [nodes[edge[0]], nodes[edge[1]]], bend = a[2] === b[2] ? 26 * Math.sign(a[2] - 49) : 0;
    svg.append(draw("path", {class: isOwn(edge) ? "edge own" : "edge", "stroke-width": (.7 + 2.3 * edge[2] / heaviest).toFixed(2),
      d: `M${x(a)} ${y(a)}Q${(x(a) + x(b)) / 2 + bend} ${(y(a) + y(b)) / 2} ${x(b)} ${y(b)}`}, draw("title", {}, `${named(a)} – ${named(b)}, weight ${edge[2]}`)));
  }
  nodes.forEach((node, place) => {
    const kind = place === own ? "own" : node[0] === "query" || node[0] === "item" ? node[0] : "attribute";
    const shape = mark(SYMBOL[kind], x(node), y(node), kind === "own" ? 1.9 : 1.35, full(node));
    shape.setAttribute("class", `fill ${kind}`);
    svg.append(shape, label(x(node), y(node) + (kind === "own" ? 23 : 19), shortened(named(node), letters), kind === "own" ? "own-name" : ""));
  });
  svg.setAttribute("width", wide);
  svg.setAttribute("height", high);
  box.replaceChildren(svg);
  const neighbours = kind => nodes.filter((node, place) => node[0] === kind && place !== own);
  const counted = Object.entries(of).filter(([, all]) => all > 0).map(([kind, all]) =>
    `${neighbours(kind).length} of ${count(all)} ${kind === "item" || kind === "query" ? pluralOf(kind) : `${kind} values`}`);
  note.textContent = counted.length ? `The strongest: ${counted.join(", ")}; thicker lines weigh more, dark ones are the item's own. From training days only.` : "The training graph has no edge of this item.";
  for (const kind of Object.keys(of).filter(kind => neighbours(kind).length)) {
    list.append(make("dt", {}, pluralOf(kind)), ...neighbours(kind).map(node => make("dd", {class: "name"}, named(node))));
  }
}
