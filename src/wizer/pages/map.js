// The map of a memory: tracks along its addresses, to zoom into. All that is drawn is found by bisection, and what
// falls on one pixel is drawn once, so neither gigabytes nor a hundred thousand segments make it slow.

const REGION_COLORS = ["--r0", "--r1", "--r2", "--r3", "--r4", "--r5"];

// Ranges with ascending starts: arrays of starts and ends, and what belongs to each.
class Ranges {
  constructor(starts, ends, items) {
    const order = Array.from(starts.keys());
    if (starts.some((start, at) => at && start < starts[at - 1])) order.sort((a, b) => starts[a] - starts[b]);
    this.starts = Float64Array.from(order, (at) => starts[at]);
    this.ends = Float64Array.from(order, (at) => ends[at]);
    this.items = order.map((at) => items(at));
    this.length = this.starts.length;
    this.reach = new Float64Array(this.length); // the highest end up to here: ranges may lie in others
    let highest = 0;
    for (let at = 0; at < this.length; at++) this.reach[at] = highest = Math.max(highest, this.ends[at]);
  }

  // The number of ranges that start before an address.
  before(address) {
    return bisect(this.starts, address, (start, wanted) => start < wanted);
  }

  // The first range that may reach beyond an address.
  reaching(address) {
    return bisect(this.reach, address, (end, wanted) => end <= wanted);
  }

  // The innermost range around an address, or -1.
  at(address) {
    for (let at = this.before(address + 1) - 1; at >= 0 && this.reach[at] > address; at--) {
      if (this.ends[at] > address) return at;
    }
    return -1;
  }
}

function bisect(values, wanted, isBefore) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(values[middle], wanted)) low = middle + 1;
    else high = middle;
  }
  return low;
}

class MemoryMap {
  // memory: {name, size, bucket, density, tracks: [{name, color, ranges, height, label}], describe(address)}
  constructor(place, memory, onSelect) {
    this.memory = memory;
    this.onSelect = onSelect;
    this.size = Math.max(memory.size, 1);
    this.from = 0;
    this.to = this.size;
    this.cursor = null;
    this.whole = element("canvas", { className: "whole", "aria-hidden": "true" });
    this.view = element("canvas", {
      className: "view",
      tabIndex: 0,
      role: "application",
      "aria-label": `Map of ${memory.name}. Arrow keys move, plus and minus zoom, N and P go from item to item.`,
      "aria-describedby": "details",
    });
    this.tip = element("div", { className: "tip", hidden: true });
    place.replaceChildren(element("div", { className: "map" }, this.whole, this.view, this.tip));
    this.listen();
    this.show(0, this.size);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.view);
  }

  close() {
    this.observer.disconnect();
  }

  listen() {
    this.view.addEventListener(
      "wheel",
      (event) => {
        // Whoever scrolls past the map scrolls the page; the map is zoomed once it has been chosen.
        if (document.activeElement !== this.view && !event.ctrlKey && !event.metaKey) return;
        if (Math.abs(event.deltaX) > Math.abs(event.deltaY))
          this.pan((event.deltaX / this.width) * this.span);
        else
          this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 180), this.address(event.offsetX));
        event.preventDefault();
      },
      { passive: false },
    );
    let held = null;
    this.view.addEventListener("pointerdown", (event) => {
      held = { x: event.offsetX, from: this.from, moved: false };
      this.view.setPointerCapture(event.pointerId);
    });
    this.view.addEventListener("pointermove", (event) => {
      if (held && Math.abs(event.offsetX - held.x) > 3) held.moved = true;
      if (held?.moved) this.show(held.from - ((event.offsetX - held.x) / this.width) * this.span, this.span);
      this.hover(event);
    });
    this.view.addEventListener("pointerup", (event) => {
      if (held && !held.moved) this.select(this.address(event.offsetX));
      held = null;
    });
    this.view.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    this.view.addEventListener("dblclick", (event) => this.zoom(0.25, this.address(event.offsetX)));
    this.view.addEventListener("keydown", (event) => this.key(event));
    const jump = (event) => {
      const middle = (event.offsetX / this.whole.clientWidth) * this.size;
      this.show(middle - this.span / 2, this.span);
    };
    this.whole.addEventListener("pointerdown", (event) => {
      this.whole.setPointerCapture(event.pointerId);
      jump(event);
    });
    this.whole.addEventListener("pointermove", (event) => {
      if (event.buttons) jump(event);
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = this.span / (event.shiftKey ? 200 : 25);
    const cursor = this.cursor ?? (this.from + this.to) / 2;
    const actions = {
      ArrowLeft: () => this.select(cursor - step),
      ArrowRight: () => this.select(cursor + step),
      PageUp: () => this.select(cursor - this.span),
      PageDown: () => this.select(cursor + this.span),
      Home: () => this.select(0),
      End: () => this.select(this.size - 1),
      "+": () => this.zoom(0.5, cursor),
      "=": () => this.zoom(0.5, cursor),
      "-": () => this.zoom(2, cursor),
      0: () => this.show(0, this.size),
      Escape: () => this.show(0, this.size),
      n: () => this.step(1),
      p: () => this.step(-1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // Go to the next or previous range of the most telling track there is.
  step(direction) {
    const track = [...this.memory.tracks].reverse().find((one) => one.steps && one.ranges.length);
    if (!track) return;
    const at =
      direction > 0
        ? track.ranges.before(Math.floor(this.cursor ?? -1) + 1)
        : track.ranges.before(Math.floor(this.cursor ?? this.size)) - 1;
    if (at >= 0 && at < track.ranges.length) this.select(track.ranges.starts[at]);
  }

  get span() {
    return this.to - this.from;
  }

  get width() {
    return Math.max(this.view.clientWidth, 1);
  }

  address(x) {
    return Math.min(this.size - 1, Math.max(0, this.from + (x / this.width) * this.span));
  }

  zoom(factor, around) {
    const span = Math.min(this.size, Math.max(Math.min(64, this.size), this.span * factor));
    this.show(around - ((around - this.from) / this.span) * span, span);
  }

  pan(by) {
    this.show(this.from + by, this.span);
  }

  show(from, span) {
    this.from = Math.max(0, Math.min(from, this.size - span));
    this.to = this.from + span;
    this.view.setAttribute(
      "aria-description",
      `shows ${hexadecimal(Math.floor(this.from))} to ${hexadecimal(Math.ceil(this.to))}`,
    );
    this.draw();
  }

  // Show a range, with room around it.
  reveal(start, end) {
    const span = Math.min(this.size, Math.max((end - start) * 3, Math.min(this.size, 4096)));
    this.cursor = start;
    this.show(start - (span - (end - start)) / 2, span);
    this.onSelect(start);
  }

  select(address) {
    this.cursor = Math.max(0, Math.min(this.size - 1, Math.floor(address)));
    if (this.cursor < this.from || this.cursor >= this.to) this.show(this.cursor - this.span / 2, this.span);
    this.draw();
    this.onSelect(this.cursor);
  }

  hover(event) {
    const lines = this.memory.describe(Math.floor(this.address(event.offsetX)), this.span / this.width);
    this.tip.replaceChildren(facts(lines.slice(0, 6)));
    this.tip.hidden = false;
    const left = Math.min(event.offsetX + 14, this.width - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${this.view.offsetTop + event.offsetY + 16}px`;
  }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      const colors = getComputedStyle(document.documentElement);
      this.color = (name) => colors.getPropertyValue(name).trim();
      this.drawView();
      this.drawWhole();
    });
  }

  context(canvas, height) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(canvas.clientWidth, 1);
    canvas.style.height = `${height}px`;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.color("--card");
    context.fillRect(0, 0, width, height);
    context.font = `11px ${this.color("--mono")}`;
    context.textBaseline = "middle";
    return context;
  }

  drawWhole() {
    const context = this.context(this.whole, 30);
    const width = this.whole.clientWidth;
    this.bars(context, 0, this.size, width, 0, 30);
    context.fillStyle = this.color("--accent");
    context.globalAlpha = 0.18;
    const x = (this.from / this.size) * width;
    const shown = Math.max(3, (this.span / this.size) * width);
    context.fillRect(x, 0, shown, 30);
    context.globalAlpha = 1;
    context.strokeStyle = this.color("--accent");
    context.lineWidth = 1.5;
    context.strokeRect(Math.min(x + 0.75, width - 2.5), 0.75, Math.max(1.5, shown - 1.5), 28.5);
  }

  drawView() {
    const tracks = this.memory.tracks.filter((track) => track.ranges.length);
    const bars = this.memory.bucket ? 92 : 0;
    const height = 22 + bars + tracks.reduce((sum, track) => sum + track.height + 16, 0);
    const context = this.context(this.view, height);
    this.ruler(context);
    let y = 22;
    for (const track of tracks.filter((one) => one.above)) y = this.track(context, track, y);
    if (bars) {
      const most = this.bars(context, this.from, this.to, this.width, y + 15, 74);
      const scale = most ? `: the highest bar is ${bytes(most)} of ${bytes(this.memory.bucket)}` : "";
      this.title(context, `bytes that are not zero${scale}`, y + 7);
    }
    y += bars;
    for (const track of tracks.filter((one) => !one.above)) y = this.track(context, track, y);
    if (this.cursor !== null && this.cursor >= this.from && this.cursor < this.to) {
      context.fillStyle = this.color("--text");
      context.fillRect(Math.round(this.x(this.cursor)), 18, 1, height - 18);
    }
  }

  x(address) {
    return ((address - this.from) / this.span) * this.width;
  }

  title(context, text, y) {
    context.fillStyle = this.color("--dim");
    context.fillText(text, 6, y);
  }

  ruler(context) {
    const step = 2 ** Math.ceil(Math.log2((this.span * 110) / this.width));
    context.fillStyle = this.color("--dim");
    for (let at = Math.ceil(this.from / step) * step; at < this.to; at += step) {
      const x = Math.round(this.x(at));
      context.fillRect(x, 14, 1, 6);
      context.textAlign = x < 30 ? "left" : x > this.width - 40 ? "right" : "center";
      context.fillText(hexadecimal(at), Math.max(4, Math.min(x, this.width - 4)), 7);
    }
    context.textAlign = "left";
  }

  // How full memory is, pixel by pixel: the fullest bucket that falls on it, and all of them together. The fullest
  // one of all that are shown is as high as there is room; it is returned.
  bars(context, from, to, width, top, height) {
    const { bucket, density } = this.memory;
    context.fillStyle = this.color("--line");
    context.fillRect(0, top + height - 1, width, 1);
    if (!bucket) return 0;
    const per = (to - from) / width;
    let scale = 0;
    for (let at = Math.floor(from / bucket); at < Math.min(density.length, Math.ceil(to / bucket)); at++) {
      if (density[at] > scale) scale = density[at];
    }
    for (let x = 0; x < width; x++) {
      const first = Math.floor((from + x * per) / bucket);
      if (first >= density.length) break;
      const last = Math.max(first, Math.ceil((from + (x + 1) * per) / bucket) - 1);
      let highest = 0;
      let sum = 0;
      for (let at = first; at <= last && at < density.length; at++) {
        sum += density[at];
        if (density[at] > highest) highest = density[at];
      }
      if (!highest) continue;
      const most = Math.max(1, (highest / scale) * (height - 2));
      const mean = Math.max(1, (sum / (last - first + 1) / scale) * (height - 2));
      context.fillStyle = this.color("--fill-low");
      context.fillRect(x, top + height - 1 - most, 1, most);
      context.fillStyle = this.color("--fill");
      context.fillRect(x, top + height - 1 - mean, 1, mean);
    }
    return scale;
  }

  track(context, track, y) {
    this.title(context, track.name, y + 7);
    const { ranges } = track;
    const top = y + 15;
    let drawn = -1;
    let next = 0;
    for (let at = ranges.reaching(this.from); at < ranges.length && ranges.starts[at] < this.to; at = next) {
      next = at + 1;
      if (ranges.ends[at] <= this.from) continue;
      const left = Math.max(0, Math.floor(this.x(ranges.starts[at])));
      const right = Math.min(this.width, Math.max(left + 1, Math.round(this.x(ranges.ends[at]))));
      if (right <= drawn && !track.nested) continue; // the pixel is taken
      context.fillStyle = this.color(track.colorOf ? track.colorOf(at) : track.color);
      const start = track.nested ? left : Math.max(left, drawn);
      context.fillRect(start, top, right - start, track.height - 4);
      drawn = Math.max(drawn, right);
      if (!track.nested) next = Math.max(next, ranges.reaching(this.from + (drawn / this.width) * this.span)); // skip what is on it
      if (right - left > 3) {
        context.fillStyle = this.color("--card");
        context.fillRect(right - 1, top, 1, track.height - 4);
      }
      if (track.label && right - left > 34)
        this.label(context, track.label(at), left, right, top + (track.height - 4) / 2);
    }
    return y + track.height + 16;
  }

  label(context, text, left, right, y) {
    context.save();
    context.beginPath();
    context.rect(left, y - 10, right - left - 4, 20);
    context.clip();
    context.fillStyle = this.color("--text");
    context.fillText(harmless(text), left + 5, y + 0.5);
    context.restore();
  }
}
