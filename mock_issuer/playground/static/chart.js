// A line chart of one metric, as SVG.

import { element } from "./dom.js";

const WIDTH = 320;
const HEIGHT = 90;
const NAMESPACE = "http://www.w3.org/2000/svg";

// `readings` are those of one metric, newest first, as the API lists them.
export function chart(metric, readings) {
  const points = readings.map(({ time, value }) => [Date.parse(time), value]).reverse();
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [start, end] = [points[0][0], points.at(-1)[0]];
  const x = (time) => ((time - start) / (end - start || 1)) * WIDTH;
  const y = (value) => HEIGHT - 4 - ((value - low) / (high - low || 1)) * (HEIGHT - 8);
  const { unit } = readings[0];
  const name = metric.replaceAll("_", " ");
  // A number and its unit stay on one line.
  const latest = `${round(values.at(-1))}\u00a0${unit}`;
  const span = days.formatRange(start, end);
  const svg = document.createElementNS(NAMESPACE, "svg");
  for (const [key, value] of Object.entries({
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: "img",
    preserveAspectRatio: "none",
    "aria-label": `${name}, ${span}: from ${round(low)} to ${round(high)} ${unit}, latest ${latest}`,
  })) svg.setAttribute(key, value);
  const line = document.createElementNS(NAMESPACE, "polyline");
  line.setAttribute("points", points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
  svg.append(line);
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, element("b", {}, name), ` ${latest}`),
    svg,
    element("p", { class: "quiet" }, `${round(low)} to ${round(high)}\u00a0${unit} · ${span}`),
  );
}

const round = (value) => Number(value.toFixed(1));
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
