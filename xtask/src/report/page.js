"use strict";
// Read-outs of plots and animations of trajectories. Without this script the page still shows
// every plot, and still frames instead of the animation.
(() => {
  const parse = (node) => JSON.parse(node.textContent);
  const text = (tag, words, className) => {
    const node = document.createElement(tag);
    node.textContent = words;
    if (className) node.className = className;
    return node;
  };

  // Index of the entry of the sorted array xs that lies closest to x.
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] <= x) low = middle; else high = middle;
    }
    return x - xs[low] < xs[high] - x ? low : high;
  };

  const preparePlot = (figure) => {
    const holder = figure.querySelector(":scope > script");
    const svg = figure.querySelector("svg");
    const cursor = svg && svg.querySelector(".cursor");
    if (!holder || !cursor) return null;
    const data = parse(holder);
    const [x0, x1] = data.range, [p0, p1] = data.pixels;
    const mark = (x) => {
      const visible = x !== null && x >= x0 && x <= x1;
      cursor.style.visibility = visible ? "visible" : "hidden";
      if (!visible) return;
      const at = p0 + (x - x0) / (x1 - x0) * (p1 - p0);
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
    };
    let tip = null;
    const leave = () => {
      if (tip) tip.remove();
      tip = null;
      mark(figure.playing === undefined ? null : figure.playing);
    };
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const pixel = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      if (pixel < p0 || pixel > p1) return leave();
      const x = x0 + (pixel - p0) / (p1 - p0) * (x1 - x0);
      mark(x);
      if (!tip) figure.append(tip = text("div", "", "tip"));
      const shown = x.toLocaleString("en", { maximumFractionDigits: data.decimals });
      tip.replaceChildren(text("b", shown + " " + data.unit));
      for (const series of data.series) {
        const first = series.x[0], last = series.x[series.x.length - 1];
        if (x < first || x > last) continue;
        const row = text("div", "", series.class);
        const dot = text("span", "", "swatch");
        const value = text("span", series.name + "  " + series.text[nearest(series.x, x)]);
        value.style.color = "var(--ink)";
        row.append(dot, value);
        tip.append(row);
      }
      const outer = figure.getBoundingClientRect();
      const left = event.clientX - outer.left;
      const flip = left + tip.offsetWidth + 24 > outer.width;
      tip.style.left = (flip ? left - tip.offsetWidth - 16 : left + 16) + "px";
      tip.style.top = (event.clientY - outer.top + 12) + "px";
    });
    return mark;
  };

  const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

  // How each known task is moved: a state between two samples, and the read-out's words.
  const drawings = {
    cartpole: (svg, data) => {
      const cart = svg.querySelector(".cart-group");
      const pole = svg.querySelector(".pole-group");
      const force = svg.querySelector(".force-group");
      return (a, b, share, u) => {
        const p = a[0] + share * (b[0] - a[0]);
        // The angle is wrapped: go the short way round.
        const turn = ((b[1] - a[1] + 3 * Math.PI) % (2 * Math.PI)) - Math.PI;
        const angle = a[1] + share * turn;
        const x = data.x0 + p * data.scale;
        cart.setAttribute("transform", "translate(" + x + " " + data.ground + ")");
        pole.setAttribute("transform", "rotate(" + (-angle * 180 / Math.PI) + ")");
        force.setAttribute("transform", "translate(" + (u[0] < 0 ? -data.half : data.half) +
          " " + data.lift + ") scale(" + (u[0] / data.force) + " 1)");
        return "p = " + signed(p, 2) + " m   force = " + signed(u[0], 1) + " N";
      };
    },
  };

  // Masses on springs below a handle; the state is (x, x before, v, v before, p, …).
  drawings.chain = (svg, data) => {
    const { dimension: d, n, scale, x0, y0 } = data;
    const springs = svg.querySelectorAll(".spring-group");
    const masses = svg.querySelectorAll(".bob");
    const handle = svg.querySelector(".handle-group");
    return (a, b, share, u) => {
      const at = (i) => a[i] + share * (b[i] - a[i]);
      const place = (i) => [x0 + scale * at(i), y0 - scale * at(i + d - 1)];
      let [x, y] = place(4 * n);
      handle.setAttribute("transform", "translate(" + x + " " + y + ")");
      masses.forEach((mass, k) => {
        const [nextX, nextY] = place(k * d);
        const turn = Math.atan2(x - nextX, nextY - y) * 180 / Math.PI;
        const length = Math.hypot(nextX - x, nextY - y);
        springs[k].setAttribute("transform", "translate(" + x + " " + y + ") rotate(" + turn +
          ") scale(1 " + length / 100 + ")");
        mass.setAttribute("cx", nextX);
        mass.setAttribute("cy", nextY);
        [x, y] = [nextX, nextY];
      });
      const speed = Math.hypot(...u);
      return "handle's speed = " + signed(speed, 2) + " m/s";
    };
  };

  // A robot on a track, seen from above; the state begins with x, y, v, heading.
  drawings.lap = (svg, data) => {
    const { scale, x0, y0 } = data;
    const robot = svg.querySelector(".robot-group");
    return (a, b, share) => {
      const at = (i) => a[i] + share * (b[i] - a[i]);
      robot.setAttribute("transform", "translate(" + (x0 + scale * at(0)) + " " + (y0 - scale * at(1)) +
        ") rotate(" + (-at(3) * 180 / Math.PI) + ")");
      return "speed = " + signed(at(2), 2) + " m/s";
    };
  };

  const prepareRollout = (root) => {
    const marks = [];
    for (const figure of root.querySelectorAll("figure.plot")) {
      const mark = preparePlot(figure);
      if (mark) marks.push([figure, mark]);
    }
    const scene = root.querySelector(".scene");
    if (!scene) return;
    const data = parse(scene.querySelector(".trajectory"));
    const draw = drawings[data.drawing](scene.querySelector("svg"), data);
    const [button, scrub, readout] =
      [".play", ".scrub", ".readout"].map((name) => scene.querySelector(name));
    const end = (data.xs.length - 1) * data.dt;
    const sums = [0];
    for (const r of data.rewards) sums.push(sums[sums.length - 1] + r);
    let time = 0, before = null;
    const show = () => {
      const k = Math.min(Math.floor(time / data.dt + 1e-9), data.xs.length - 2);
      const u = data.us[Math.min(k, data.us.length - 1)];
      const words = draw(data.xs[k], data.xs[k + 1], time / data.dt - k, u);
      const reward = data.rewards[Math.min(k, data.rewards.length - 1)];
      const total = sums[Math.min(k + 1, sums.length - 1)];
      readout.textContent = "t = " + time.toFixed(2) + " s   " + words +
        (reward === undefined ? "" : "   reward = " + signed(reward, 2) + "   return = " + signed(total, 1));
      scrub.value = time;
      for (const [figure, mark] of marks) { figure.playing = time; mark(time); }
    };
    const stop = () => { before = null; button.textContent = "Play"; };
    const tick = (now) => {
      if (before === null) return;
      time = Math.min(time + Math.max(now - before, 0) / 1000, end);
      before = now;
      show();
      if (time < end) requestAnimationFrame(tick); else stop();
    };
    const start = () => {
      if (time >= end) time = 0;
      before = performance.now();
      button.textContent = "Pause";
      requestAnimationFrame(tick);
    };
    button.addEventListener("click", () => (before === null ? start() : stop()));
    scrub.addEventListener("input", () => { stop(); time = Number(scrub.value); show(); });
    show();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (root.dataset.autoplay === "true" && !calm) start();
  };

  for (const root of document.querySelectorAll(".rollout")) prepareRollout(root);
  for (const figure of document.querySelectorAll("figure.plot")) {
    if (!figure.closest(".rollout")) preparePlot(figure);
  }
})();
