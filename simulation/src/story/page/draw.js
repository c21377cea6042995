// The diagram: a column for each client and node, time downwards. Only what is in view is drawn.

const canvas = document.getElementById('lanes');
const pen = canvas.getContext('2d');
const HEAD = 30;
const LABELS_MOST = 260;
/** With more than so many in view, single ones cannot be told apart: then it is shown where they are many. */
const DENSE = 1500;
const OVERVIEW_COLUMNS = 18;

const view = { top: 0, scale: 1, width: 0, height: 0, gutter: 84, lane: 100, font: 12 };
const state = { scale: null, shown: [], shownSet: new Set(), selected: null, hovered: null, near: null };

const FAMILIES = [
  [/^replicate|^not replicated/, 'replicate'],
  [/^(read|held|not read)$/, 'read'],
  [/^repair/, 'repair'],
  [/^forward/, 'forward'],
  [/^(known|read page|page held|no page)$/, 'other'],
];
const familyOf = new Map();
function family(kind) {
  if (!familyOf.has(kind)) familyOf.set(kind, FAMILIES.find(([pattern]) => pattern.test(kind))?.[1] ?? 'client');
  return familyOf.get(kind);
}

const colours = {};
let hatch = null;
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['paper', 'raised', 'ink', 'quiet', 'line', 'band', 'done', 'failed', 'unknown', 'open', 'client', 'replicate',
    'read', 'repair', 'forward', 'other', 'lost', 'fault', 'fault-wash', 'down', 'mark', 'halo', 'accent']) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  const tile = document.createElement('canvas');
  tile.width = tile.height = 8;
  const brush = tile.getContext('2d');
  brush.strokeStyle = colours['fault-wash'];
  brush.lineWidth = 1.6;
  brush.beginPath();
  for (const shift of [-8, 0, 8]) {
    brush.moveTo(shift, 8);
    brush.lineTo(shift + 8, 0);
  }
  brush.stroke();
  hatch = pen.createPattern(tile, 'repeat');
}

const fateColour = { done: 'done', failed: 'failed', unknown: 'unknown', 'under-way': 'open' };

const laneX = (lane) => view.gutter + (lane + 0.5) * view.lane;
const timeY = (time) => HEAD + 12 + (state.scale.place(time) - view.top) * view.scale;
const yTime = (y) => state.scale.time(view.top + (y - HEAD - 12) / view.scale);
const bodyHeight = () => view.height - HEAD - 42;

const rulerFont = () => (view.width < 480 ? 10.5 : view.font - 0.5);

function measure() {
  const box = canvas.parentElement.getBoundingClientRect();
  const density = window.devicePixelRatio || 1;
  view.width = Math.max(120, box.width - OVERVIEW_COLUMNS);
  view.height = Math.max(80, box.height);
  for (const [surface, width] of [[canvas, view.width], [overview, OVERVIEW_COLUMNS]]) {
    surface.width = Math.round(width * density);
    surface.height = Math.round(view.height * density);
    surface.style.width = `${width}px`;
    surface.style.height = `${view.height}px`;
    surface.getContext('2d').setTransform(density, 0, 0, density, 0, 0);
  }
  view.font = view.width > 1500 ? 13.5 : 12;
  font(rulerFont());
  view.gutter = Math.ceil(pen.measureText(clock(Math.max(story.lasted, 1e6))).width) + (view.width < 480 ? 16 : 30);
  view.lane = (view.width - view.gutter - 26) / Math.max(1, story.lanes.length);
}

/** Places that labels have taken in this frame, so that none is written over another. */
class Taken {
  rows = new Map();

  claim(left, right, y) {
    const row = Math.round(y / 7);
    for (const near of [row - 1, row, row + 1]) {
      for (const [from, to] of this.rows.get(near) ?? none) if (left < to && from < right) return false;
    }
    if (!this.rows.has(row)) this.rows.set(row, []);
    this.rows.get(row).push([left, right]);
    return true;
  }
}

const widths = new Map();
function textWidth(text) {
  const known = `${pen.font}|${text}`;
  if (!widths.has(known)) widths.set(known, pen.measureText(text).width);
  return widths.get(known);
}

function clipped(text, width) {
  if (textWidth(text) <= width) return text;
  if (width < 14) return '';
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : '';
}

function label(text, x, y, colour, taken, { width = Infinity, centred = false, force = false } = {}) {
  const short = clipped(text, width);
  if (!short) return true;
  const long = textWidth(short);
  const left = Math.max(view.gutter + 2, Math.min(view.width - long - 2, centred ? x - long / 2 : x));
  if (!taken.claim(left - 2, left + long + 2, y) && !force) return false;
  pen.fillStyle = colours.halo;
  pen.fillRect(left - 2, y - view.font * 0.62, long + 4, view.font * 1.24);
  pen.fillStyle = colour;
  pen.fillText(short, left, y);
  return true;
}

function font(size, weight = 400) {
  pen.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif`;
}

/** How strongly an item is drawn beside what is selected. */
function strength(item) {
  if (!state.selected) return 1;
  return [0.13, 0.4, 1][relation(item, state.selected)];
}

function draw() {
  const began = performance.now();
  pen.clearRect(0, 0, view.width, view.height);
  pen.textBaseline = 'middle';
  font(view.font);
  const [first, last] = [yTime(HEAD), yTime(view.height)];
  const inView = state.shown.filter((item) => item.from <= last && first <= item.until);
  const of = (list) => inView.filter((item) => item.list === list);
  const taken = new Taken();
  drawFaults(of('faults'));
  drawLanes(of('lives'));
  if (inView.length < DENSE) drawFaultNames(of('faults'), taken);
  drawPhases(first, last, taken);
  drawFailure(taken);
  drawOperations(of('operations'), taken);
  drawMessages(of('messages'));
  drawStores(of('stores'), taken);
  drawNotes(of('notes'), taken);
  nameMessages(of('messages'), taken);
  if (DENSE <= inView.length) drawFaultNames(of('faults'), taken);
  drawRuler();
  drawHeads();
  drawOverview();
  canvas.dataset.frameMillis = (performance.now() - began).toFixed(2);
}

const faultInset = (item) => 2 + (item.index % 3) * 3;

/** Lanes that lie beside each other, as first and last. */
function neighbours(lanes) {
  const runs = [];
  for (const lane of [...lanes].sort((one, other) => one - other)) {
    const run = runs.at(-1);
    if (run && lane <= run[1] + 1) run[1] = lane;
    else runs.push([lane, lane]);
  }
  return runs;
}

function drawFaults(faults) {
  for (const item of faults) {
    const from = timeY(item.from);
    const until = Math.max(from + 3, timeY(item.until));
    pen.globalAlpha = state.selected && item !== state.selected && item !== state.hovered ? 0.5 : 1;
    const inset = faultInset(item);
    pen.strokeStyle = colours.fault;
    pen.lineWidth = item === state.selected ? 2.5 : 1;
    for (const [first, last] of neighbours(item.data.lanes)) {
      const left = laneX(first) - view.lane / 2 + inset;
      const width = Math.max(6, (last - first + 1) * view.lane - 2 * inset);
      pen.fillStyle = colours['fault-wash'];
      pen.fillRect(left, from, width, until - from);
      pen.fillStyle = hatch;
      pen.fillRect(left, from, width, until - from);
      pen.beginPath();
      pen.moveTo(left, from);
      pen.lineTo(left + width, from);
      if (item.data.until !== undefined) {
        pen.moveTo(left, until);
        pen.lineTo(left + width, until);
      }
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
}

/** A fault's name stands at its top, or at the top of what is in view of it. */
function drawFaultNames(faults, taken) {
  font(view.font, 600);
  for (const item of faults) {
    const [run] = neighbours(item.data.lanes);
    const [from, until] = [timeY(item.from), timeY(item.until)];
    if (!run || (until - from < view.font && faults.length > 30)) continue;
    const width = (run[1] - run[0] + 1) * view.lane - 8 - faultInset(item);
    const text = textWidth(item.title) <= width || width > 90 ? item.title : item.data.id;
    const left = laneX(run[0]) - view.lane / 2 + faultInset(item) + 3;
    let y = Math.max(from, HEAD) + view.font * 0.8;
    // Names of faults that begin together stand under each other.
    for (let tries = 0; tries < 4 && !label(text, left, y, colours.fault, taken, { width }); tries++) y += view.font * 1.3;
  }
  font(view.font);
}

function drawLanes(lives) {
  story.lanes.forEach((lane, index) => {
    const x = laneX(index);
    pen.strokeStyle = lane.kind === 'node' ? colours.quiet : colours.line;
    pen.lineWidth = 1;
    pen.setLineDash(lane.kind === 'node' ? [2, 5] : []);
    pen.beginPath();
    pen.moveTo(x, HEAD);
    pen.lineTo(x, view.height);
    pen.stroke();
  });
  pen.setLineDash([]);
  const wide = Math.min(10, Math.max(4, view.lane * 0.16));
  for (const item of lives) {
    const [x, from, until] = [laneX(item.lane), timeY(item.from), timeY(item.until)];
    pen.fillStyle = item === state.selected || item === state.hovered ? colours.quiet : colours.band;
    pen.fillRect(x - wide / 2, from, wide, Math.max(2, until - from));
    if (item.data.until !== undefined) cross(x, until, wide * 0.8, colours.lost, 2.5);
    if (item.from > 0) {
      pen.fillStyle = colours.done;
      pen.fillRect(x - wide, from - 1, 2 * wide, 2.5);
    }
  }
}

function cross(x, y, size, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x - size, y + size);
  pen.lineTo(x + size, y - size);
  pen.stroke();
}

function rule(y, colour, dash, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.beginPath();
  pen.moveTo(0, y);
  pen.lineTo(view.width, y);
  pen.stroke();
  pen.setLineDash([]);
}

function drawPhases(first, last, taken) {
  font(view.font, 600);
  for (const phase of story.phases) {
    if (phase.at < first || last < phase.at) continue;
    const y = timeY(phase.at);
    rule(y, colours.quiet, [6, 4], 1);
    const beside = y < HEAD + 20 ? y + view.font * 0.8 : y - view.font * 0.7;
    label(phase.text, view.width - textWidth(phase.text) - 6, beside, colours.quiet, taken);
  }
  font(view.font);
}

function drawFailure(taken) {
  if (!story.failure) return;
  const y = timeY(story.failure.at);
  if (y < HEAD || view.height < y) return;
  rule(y, colours.failed, [], 2);
  font(view.font, 600);
  label(`${story.failure.oracle} fails: ${story.failure.name}`, view.gutter + 6, y + view.font, colours.failed, taken, { width: view.width - view.gutter - 12, force: true });
  font(view.font);
}

function drawOperations(operations, taken) {
  const wide = Math.min(11, Math.max(5, view.lane * 0.3));
  for (const item of operations) {
    const [x, from] = [laneX(item.lane), timeY(item.from)];
    const tall = Math.max(3, timeY(item.until) - from);
    const colour = colours[fateColour[item.data.fate]];
    pen.globalAlpha = strength(item);
    pen.fillStyle = colour;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    if (item.data.fate === 'done') {
      pen.fillRect(x - wide / 2, from, wide, tall);
    } else {
      pen.setLineDash(item.data.fate === 'failed' ? [] : [3, 3]);
      pen.strokeRect(x - wide / 2, from, wide, tall);
      pen.setLineDash([]);
      pen.globalAlpha *= 0.35;
      pen.fillRect(x - wide / 2, from, wide, tall);
      pen.globalAlpha = strength(item);
    }
    if (item.data.fate === 'failed' && tall > 8) cross(x, from + tall, 4, colour, 2);
    if (item === state.selected || item === state.hovered) outline(x - wide / 2 - 3, from - 3, wide + 6, tall + 6);
    if (operations.length < LABELS_MOST) nameOperation(item, x - wide / 2 - 4, Math.max(from, HEAD + 2), from + tall, taken);
  }
  pen.globalAlpha = 1;
}

/** To the left of its bar, away from what the client sends; along the bar if there is no room beside it. */
function nameOperation(item, right, top, bottom, taken) {
  const text = brief(item);
  const long = textWidth(text);
  if (long < view.lane / 2 - 8) {
    label(text, right - long, top + view.font * 0.6, colours.ink, taken);
    return;
  }
  const short = clipped(text, bottom - top);
  if (!short || view.lane < 26) return;
  pen.save();
  pen.translate(right - view.font * 0.45, top);
  pen.rotate(Math.PI / 2);
  pen.fillStyle = colours.ink;
  pen.fillText(short, 0, 0);
  pen.restore();
}

/** An item's name, without the key if only that key is shown. */
function brief(item) {
  return filters.key === '' || item.keys.length > 1 ? item.title : item.title.replace(` k${filters.key}`, '');
}

/** The longest way to name a message that fits: all of it, of what kind it is, which writes it is about. */
function fitting(item, width) {
  const writes = item.writes.length && item.writes.length < 4 ? writeNames(item.writes) : '';
  const tells = /^(held|found)$/.test(item.data.kind) ? [writes, item.data.kind] : [item.data.kind, writes];
  return [brief(item), ...tells].find((text) => text && textWidth(text) <= width) ?? '';
}

function outline(left, top, width, height) {
  pen.strokeStyle = colours.mark;
  pen.lineWidth = 3;
  pen.strokeRect(left, top, width, height);
}

/** Where a message's line begins and ends: from lane to lane, a lost one to where it was lost. */
function line(item) {
  const [x0, y0, y1] = [laneX(item.lane), timeY(item.from), timeY(item.until)];
  let x1 = laneX(item.to);
  const aside = Math.sign(x1 - x0) * Math.min(7, view.lane * 0.2);
  if (item.data.lost) x1 = item.until === item.from ? x0 + (x1 - x0) * 0.4 : x0 + (x1 - x0) * 0.88;
  else x1 -= aside;
  return [x0 + aside, y0, x1, y1];
}

function drawMessages(messages) {
  const groups = new Map();
  for (const item of messages) {
    const marked = item === state.selected || item === state.hovered;
    const colour = item.data.lost ? 'lost' : family(item.data.kind);
    const group = `${strength(item)}|${colour}|${marked}|${Boolean(item.data.lost)}`;
    if (!groups.has(group)) groups.set(group, { items: [], alpha: strength(item), colour: colours[colour], marked, lost: Boolean(item.data.lost) });
    groups.get(group).items.push(item);
  }
  const few = messages.length < DENSE;
  for (const group of [...groups.values()].sort((one, other) => one.alpha - other.alpha || one.marked - other.marked)) drawArrows(group, few);
  pen.globalAlpha = 1;
}

function nameMessages(messages, taken) {
  if (LABELS_MOST < messages.length) return;
  for (const item of messages) {
    const [x0, y0, x1, y1] = line(item);
    pen.globalAlpha = strength(item);
    const marked = item === state.selected || item === state.hovered;
    const colour = item.data.lost ? colours.lost : colours[family(item.data.kind)];
    const y = (y0 + y1) / 2 - view.font * 0.55;
    const width = marked ? 400 : Math.max(Math.abs(x1 - x0), item.data.lost ? view.lane * 0.8 : 0) - 8;
    if (HEAD < y) label(marked ? item.title : fitting(item, width), (x0 + x1) / 2, y, colour, taken, { width, centred: true, force: marked });
  }
  pen.globalAlpha = 1;
}

function drawArrows({ items: group, alpha, colour, marked, lost }, few) {
  const lines = group.map(line);
  // Where single ones cannot be told apart, those that were lost must still be seen.
  pen.globalAlpha = few || marked ? alpha : alpha * (lost ? 0.55 : Math.max(0.07, DENSE / 4 / lines.length));
  if (marked) strokeLines(lines, colours.mark, 6, []);
  strokeLines(lines, colour, few ? 1.5 : 0.8, lost ? [4, 3] : []);
  if (!few) return;
  if (lost) {
    for (const [, , x, y] of lines) cross(x, y, 4.5, colour, 2);
    return;
  }
  pen.fillStyle = colour;
  pen.beginPath();
  lines.forEach(([x0, y0, x1, y1], index) => {
    if (group[index].data.arrived === undefined) return;
    const angle = Math.atan2(y1 - y0, x1 - x0);
    pen.moveTo(x1, y1);
    pen.lineTo(x1 - 8 * Math.cos(angle - 0.4), y1 - 8 * Math.sin(angle - 0.4));
    pen.lineTo(x1 - 8 * Math.cos(angle + 0.4), y1 - 8 * Math.sin(angle + 0.4));
  });
  pen.fill();
}

function strokeLines(lines, colour, width, dash) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.beginPath();
  for (const [x0, y0, x1, y1] of lines) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();
  pen.setLineDash([]);
}

function dot(x, y, radius, colour, filled) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = filled ? colour : colours.paper;
  pen.fill();
  pen.strokeStyle = colour;
  pen.lineWidth = 1.8;
  pen.stroke();
}

const storeX = (item) => laneX(item.lane) + Math.min(11, view.lane * 0.3);

function drawStores(stores, taken) {
  if (DENSE <= stores.length) {
    pen.fillStyle = colours.ink;
    pen.globalAlpha = 0.3;
    for (const item of stores) pen.fillRect(storeX(item) - 3, timeY(item.from), item.data.kind === 'synced' ? 6 : 3, 1);
    pen.globalAlpha = 1;
    return;
  }
  for (const item of stores) {
    const [x, y] = [storeX(item), timeY(item.from)];
    pen.globalAlpha = strength(item);
    if (item === state.selected || item === state.hovered) dot(x, y, 8, colours.mark, true);
    dot(x, y, view.lane < 40 ? 2.8 : 4, colours.ink, item.data.kind === 'synced');
    if (stores.length < LABELS_MOST) label(writeNames(item.writes, 'del'), x + 8, y, colours.ink, taken, { width: view.lane * 0.55 });
  }
  pen.globalAlpha = 1;
}

const noteX = (item) => laneX(item.lane) - Math.min(11, view.lane * 0.3);

function drawNotes(notes, taken) {
  for (const item of notes) {
    const [x, y] = [noteX(item), timeY(item.from)];
    pen.globalAlpha = strength(item);
    pen.fillStyle = item === state.selected || item === state.hovered ? colours.mark : colours.fault;
    pen.beginPath();
    pen.moveTo(x, y - 6);
    pen.lineTo(x + 6, y);
    pen.lineTo(x, y + 6);
    pen.lineTo(x - 6, y);
    pen.fill();
    if (notes.length < 80) nameNote(item, x, y, taken);
  }
  pen.globalAlpha = 1;
}

/** Beside the note, on the side where there is more room for it. */
function nameNote(item, x, y, taken) {
  const long = Math.min(textWidth(item.title), Math.max(150, view.width * 0.4));
  const [right, left] = [laneX(item.lane) + 12, x - 10];
  const room = view.width - right;
  const onLeft = room < long && room < left - view.gutter;
  const width = Math.min(long, onLeft ? left - view.gutter : room);
  const start = onLeft ? left - Math.min(textWidth(clipped(item.title, width)), width) : right;
  label(item.title, start, y + (onLeft ? 0 : view.font), colours.fault, taken, { width });
}

function drawRuler() {
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, view.gutter - 4, view.height);
  font(rulerFont());
  const { times } = state.scale;
  let free = HEAD + 4;
  const first = lastUpTo(times, yTime(HEAD));
  for (let index = first; index < times.length && free < view.height; index++) {
    const y = timeY(times[index]);
    if (view.height < y) break;
    if (free <= y) {
      pen.fillStyle = colours.quiet;
      pen.textAlign = 'right';
      pen.fillText(clock(times[index]), view.gutter - 12, y);
      pen.textAlign = 'left';
      pen.fillRect(view.gutter - 9, y - 0.5, 5, 1);
      free = y + 24;
    }
    if (state.scale.isShortened(index)) {
      const middle = (y + timeY(times[index + 1])) / 2;
      if (free <= middle + 8 && middle < view.height) {
        pen.fillStyle = colours.quiet;
        pen.globalAlpha = 0.75;
        pen.textAlign = 'right';
        pen.fillText(`⋮ ${span(times[index + 1] - times[index])}`, view.gutter - 12, middle);
        pen.textAlign = 'left';
        pen.globalAlpha = 1;
        free = middle + 15;
      }
    }
  }
  font(view.font);
}

function drawHeads() {
  pen.fillStyle = colours.raised;
  pen.fillRect(0, 0, view.width, HEAD);
  rule(HEAD - 0.5, colours.line, [], 1);
  pen.fillStyle = colours.quiet;
  font(10.5);
  pen.textAlign = 'right';
  pen.fillText('ms', view.gutter - 12, HEAD / 2);
  pen.textAlign = 'center';
  // With very many lanes, only every so many has its name.
  const every = Math.ceil(26 / view.lane);
  story.lanes.forEach((lane, index) => {
    if (index % every) return;
    font(view.font, lane.kind === 'node' ? 650 : 450);
    pen.fillStyle = colours.ink;
    const name = textWidth(lane.name) < view.lane - 4 ? lane.name : clipped(shortLane(index), view.lane * every);
    pen.fillText(name, laneX(index), HEAD / 2);
  });
  pen.textAlign = 'left';
  font(view.font);
}
