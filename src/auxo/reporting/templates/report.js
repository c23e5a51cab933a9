"use strict";
(() => {
  const root = document.documentElement;
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const isCoarse = matchMedia("(pointer: coarse)").matches;
  const darkOf = JSON.parse(document.getElementById("dark-colours").textContent);
  const drawn = new Set();
  let printing = false;

  const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);

  // A copy of a figure with the colours of the theme.
  function themed(value) {
    if (typeof value === "string") return isDark() && Object.hasOwn(darkOf, value) ? darkOf[value] : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, themed(part)]));
    }
    return value;
  }

  function draw(chart) {
    const figure = themed(JSON.parse(document.getElementById(chart.id + "-figure").textContent));
    figure.layout.dragmode = isCoarse ? false : "zoom"; // a finger scrolls the page
    drawn.add(chart);
    return Plotly.react(chart, figure.data, figure.layout, {responsive: true, displayModeBar: false, doubleClick: "reset"});
  }

  function redraw() {
    return Promise.all([...drawn].map(draw));
  }

  // The button for the theme.
  const button = document.getElementById("theme");
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("auxo-report-theme", root.dataset.theme); } catch { /* no memory here */ }
    name();
    redraw();
  });
  wantsDark.addEventListener("change", () => { name(); redraw(); });

  // Charts are drawn when they come near.
  const charts = [...document.querySelectorAll(".chart")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      watcher.unobserve(entry.target);
      draw(entry.target).then(() => connect(entry.target));
    }
  }, {rootMargin: "800px"});
  charts.forEach((chart) => watcher.observe(chart));

  // Paper is white, and nothing on it can be opened.
  addEventListener("beforeprint", () => {
    printing = true;
    charts.forEach(draw);
    document.querySelectorAll("details:not(.long):not([open])").forEach((each) => {
      each.open = true;
      each.dataset.printed = "yes";
    });
  });
  addEventListener("afterprint", () => {
    printing = false;
    redraw();
    document.querySelectorAll("details[data-printed]").forEach((each) => {
      each.open = false;
      delete each.dataset.printed;
    });
  });

  // A map shows the image of the point that is pointed at, tapped, or reached by the arrow keys.
  function connect(chart) {
    const figure = chart.closest(".points");
    if (!figure || figure.dataset.connected) return;
    figure.dataset.connected = "yes";
    const texts = JSON.parse(figure.querySelector(".texts").textContent);
    const peek = figure.querySelector(".peek");
    const thumb = peek.querySelector(".thumb");
    const what = peek.querySelector(".what");
    const columns = Number(getComputedStyle(figure).getPropertyValue("--columns"));
    const places = [];
    chart.data.forEach((trace, curve) => (trace.customdata || []).forEach((number, point) => {
      places[number] = {curve, point};
    }));
    let current = -1;

    function show(number) {
      current = number;
      const {curve, point} = places[number];
      const layout = chart._fullLayout;
      const trace = chart.data[curve];
      const left = layout._size.l + layout.xaxis.l2p(trace.x[point]) + chart.offsetLeft;
      const top = layout._size.t + layout.yaxis.l2p(trace.y[point]) + chart.offsetTop;
      thumb.style.setProperty("--place-x", number % columns);
      thumb.style.setProperty("--place-y", Math.floor(number / columns));
      what.textContent = texts[number];
      peek.hidden = false;
      const width = peek.offsetWidth;
      peek.style.left = Math.max(0, Math.min(left - width / 2, figure.clientWidth - width)) + "px";
      peek.style.top = (top > peek.offsetHeight + 14 ? top - peek.offsetHeight - 14 : top + 14) + "px";
    }

    const hide = () => { peek.hidden = true; };
    chart.on("plotly_hover", (event) => show(event.points[0].customdata));
    chart.on("plotly_click", (event) => show(event.points[0].customdata));
    chart.on("plotly_unhover", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show((current + step + texts.length) % texts.length);
    });
  }
})();
