"use strict";
// Charts take their colors from the page, and are drawn anew when it turns dark or light.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function colors() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const [ink, faint, line] = [color("--ink"), color("--faint"), color("--line")];
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: line },
    axis: { labelColor: faint, titleColor: faint, titleFontWeight: "normal", gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: ink, titleColor: faint, titleFontWeight: "normal" },
  };
}
async function draw() {
  const narrow = document.documentElement.clientWidth < 640;
  for (const chart of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(chart.querySelector("script").textContent);
    const plot = chart.querySelector(".plot");
    const config = colors();
    if (narrow) config.axis.labelLimit = 90;
    await vegaEmbed(plot, spec, {
      config, actions: false, renderer: "svg", ast: true, tooltip: { theme: dark.matches ? "dark" : "light" },
    });
  }
  document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
}
function play() {
  const sounds = JSON.parse(document.getElementById("sounds")?.textContent ?? "{}");
  for (const audio of document.querySelectorAll("audio[data-sound]")) audio.src = sounds[audio.dataset.sound];
}
play();
draw();
dark.addEventListener("change", draw);
