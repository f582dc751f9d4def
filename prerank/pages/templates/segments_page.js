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
for (const event of ["resize", "beforeprint", "afterprint"]) {
  window.addEventListener(event, () => showPlot(content.systems.filter(system => chosen.systems.has(system))));
}
