"use strict";
// Values of a chart at the pointer, or at the left and right keys; the page is whole without this.
for (const figure of document.querySelectorAll(".chart")) {
  const { x, lines, bytes } = JSON.parse(figure.dataset.chart);
  const [plot, cursor, readout] = [".plot", ".cursor", ".readout"].map((name) => figure.querySelector(name));
  const [low, high, log] = x;
  const share = (v) => (high <= low ? 0.5 : log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
  const stops = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  let at = -1;

  const nearest = (xs, place) =>
    xs.reduce((best, v, i) => (Math.abs(share(v) - place) < Math.abs(share(xs[best]) - place) ? i : best), 0);
  const digits = (v) => (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(2) : String(+v.toPrecision(4)));
  const counted = (v) => {
    const step = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(v, 1)) / 3)));
    return `${+(v / 1000 ** step).toPrecision(3)} ${["B", "kB", "MB", "GB", "TB"][step]}`;
  };
  const element = (name, text, kind) => Object.assign(document.createElement(name), { textContent: text, className: kind || "" });

  const show = (index) => {
    at = Math.min(stops.length - 1, Math.max(0, index));
    const place = share(stops[at]);
    cursor.style.left = `${100 * place}%`;
    const rows = lines.map((line) => {
      const i = nearest(line.x, place);
      const row = element("div", "");
      const range = line.low && line.low[i] !== line.high[i] ? ` (${digits(line.low[i])}–${digits(line.high[i])})` : "";
      row.append(element("span", "", `key c${line.colour}`), element("span", line.name), element("b", digits(line.y[i]) + range));
      return row;
    });
    readout.replaceChildren(element("div", bytes ? counted(stops[at]) : `iteration ${digits(stops[at])}`), ...rows);
    readout.style.right = place > 0.5 ? "auto" : "";
    readout.style.left = place > 0.5 ? "12px" : "auto";
    cursor.hidden = readout.hidden = false;
  };
  const hide = () => { at = -1; cursor.hidden = readout.hidden = true; };

  const point = (event) => {
    const box = plot.getBoundingClientRect();
    show(nearest(stops, (event.clientX - box.left) / box.width));
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", hide);
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", (event) => {
    const next = { ArrowLeft: at < 0 ? stops.length - 1 : at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (event.key === "Escape") hide();
    if (next === undefined) return;
    event.preventDefault();
    show(next);
  });
}
