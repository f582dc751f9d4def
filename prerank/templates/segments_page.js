// The page as a whole: everything is drawn again at each choice, and at a new width.
function show() {
  const systems = content.systems.filter(system => chosen.systems.has(system));
  offerMetrics();
  document.getElementById("definition").textContent = at(described(), "definition") ?? "";
  showVerdict(systems);
  showLegends(systems);
  showPlot(systems);
  showTable(systems);
  showGains(systems);
  showCalibration(systems);
  showRequests();
  showProtocol();
}

fillControls();
fillCurveControls();
fillRequestControls();
show();
window.addEventListener("resize", () => showPlot(content.systems.filter(system => chosen.systems.has(system))));
// Closed details would be missing on paper.
window.addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("details")) each.open = true; });
