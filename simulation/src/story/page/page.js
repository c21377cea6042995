// What the reader does: filters, moving through time, pointing and choosing.

const filters = { key: '', kind: '', text: '' };
const ROOM_READABLE = 24;
const ROOM_MOST = 400;

let due = false;
function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

// Filters.

function passes(item) {
  if (item.list === 'faults' || item.list === 'lives') return !filters.text || item.haystack.includes(filters.text);
  if (filters.key !== '' && !item.keys.includes(Number(filters.key))) return false;
  if (item.list === 'messages' && !ofKind(item)) return false;
  return !filters.text || item.haystack.includes(filters.text);
}

function ofKind(item) {
  switch (filters.kind) {
    case '': return true;
    case '-': return false;
    case '!': return item.bad;
    case '*nodes': return isNode(item.lane) && isNode(item.to);
    case '*clients': return !isNode(item.lane) || !isNode(item.to);
    default: return item.data.kind === filters.kind;
  }
}

function filter({ keep = true } = {}) {
  const range = state.scale && keep ? [yTime(HEAD + 12), yTime(view.height - 12)] : null;
  state.shown = items.filter(passes);
  state.shownSet = new Set(state.shown);
  const times = state.shown.flatMap((item) => [item.from, item.until]);
  times.push(...story.phases.map((phase) => phase.at), ...(story.failure ? [story.failure.at] : []));
  state.scale = new Scale(times, byId('true-time').checked);
  density = null;
  byId('count').textContent = `${state.shown.length} of ${items.length}`;
  byId('empty').hidden = state.shown.some((item) => item.list !== 'lives' && item.list !== 'faults');
  if (range) {
    // What was in view stays in view, however much room it now takes.
    const [first, last] = range.map((time) => state.scale.place(time));
    view.scale = Math.max(scaleLeast(), Math.min(readable(), bodyHeight() / Math.max(1e-9, last - first)));
    view.top = (first + last) / 2 - bodyHeight() / 2 / view.scale;
    clamp();
  }
  if (openedTab() === 'list') showList();
  redraw();
}

function fillFilters() {
  const option = (value, text) => element('option', { value }, text);
  byId('key').append(option('', 'all keys'), ...story.keys.map((name, key) => option(key, `${keyName(key)}  ${name}`)));
  const kinds = [...new Set(story.messages.map((message) => message.kind))].sort();
  byId('kind').append(option('', 'all messages'), option('*nodes', 'between nodes'), option('*clients', 'with clients'), option('!', 'lost ones'), option('-', 'none'),
    element('optgroup', { label: 'of a kind' }, ...kinds.map((kind) => option(kind, kind))));
  byId('key').addEventListener('change', (event) => { filters.key = event.target.value; graphKey = null; filter(); if (openedTab() === 'siblings') showSiblings(); });
  byId('kind').addEventListener('change', (event) => { filters.kind = event.target.value; filter(); });
  byId('search').addEventListener('input', (event) => { filters.text = event.target.value.trim().toLowerCase(); filter(); });
  byId('search').addEventListener('keydown', (event) => {
    if (event.key === 'Enter') step(event.shiftKey ? -1 : 1);
    if (event.key === 'Escape') canvas.focus();
  });
  byId('true-time').addEventListener('change', () => filter());
  byId('show-all').addEventListener('click', () => {
    [filters.key, filters.kind, filters.text] = ['', '', ''];
    [byId('key').value, byId('kind').value, byId('search').value] = ['', '', ''];
    filter();
  });
}

// Moving through time.

/** How large a message must be for its label to have room. */
function readable() {
  if (!state.scale.isTrue) return Math.max(scaleLeast(), ROOM_READABLE);
  const lengths = state.shown.filter((item) => item.list === 'messages').map((item) => item.until - item.from).sort((one, other) => one - other);
  return Math.max(scaleLeast(), (40 * state.scale.unit) / Math.max(1, lengths[lengths.length >> 1] ?? 1));
}

const scaleLeast = () => bodyHeight() / state.scale.total;

function clamp() {
  const room = bodyHeight() / view.scale;
  view.top = Math.max(-0.1 * room, Math.min(state.scale.total - 0.9 * room, view.top));
  if (state.scale.total <= room) view.top = (state.scale.total - room) / 2;
}

function fit() {
  view.scale = scaleLeast();
  view.top = 0;
  redraw();
}

function zoom(factor, y = view.height / 2) {
  const held = view.top + (y - HEAD - 12) / view.scale;
  view.scale = Math.max(scaleLeast() * 0.9, Math.min(ROOM_MOST, view.scale * factor));
  view.top = held - (y - HEAD - 12) / view.scale;
  clamp();
  redraw();
}

function scroll(pixels) {
  view.top += pixels / view.scale;
  clamp();
  redraw();
}

function goTo(time, share = 0.5) {
  view.top = state.scale.place(time) - (bodyHeight() * share) / view.scale;
  clamp();
  redraw();
}

function goToFailure() {
  view.scale = readable();
  goTo(story.failure.at, 0.86);
}

/** From the first thing that a client did about it to the failure, as far as that can be read. */
function showFailure() {
  const first = story.telling.events.find((told) => told.list === 'operations');
  const room = state.scale.place(story.failure.at) - state.scale.place(first ? first.at : 0);
  view.scale = Math.max(scaleLeast(), Math.min(readable(), Math.max(ROOM_READABLE / 2, (bodyHeight() * 0.9) / Math.max(1, room))));
  goTo(story.failure.at, 0.94);
}

// Choosing.

function choose(item, { reveal = false, keepTab = false } = {}) {
  state.selected = item;
  if (item && !state.shownSet.has(item)) {
    [filters.key, filters.kind, filters.text] = ['', '', ''];
    [byId('key').value, byId('kind').value, byId('search').value] = ['', '', ''];
    filter();
  }
  if (item?.keys.length) graphKey = item.keys.includes(graphKey) ? graphKey : item.keys[0];
  if (item && reveal) {
    view.scale = Math.max(view.scale, readable() / 2);
    const [from, until] = [timeY(item.from), timeY(item.until)];
    if (from < HEAD + 30 || view.height - 40 < Math.min(until, from + 60)) goTo(item.from, 0.4);
  }
  showDetails();
  if (item && !keepTab) openTab('details');
  if (openedTab() === 'list') fillList();
  if (openedTab() === 'siblings') showSiblings();
  markEvents();
  redraw();
}

function markEvents() {
  const buttons = byId('story-view').querySelectorAll('.events button');
  story.telling.events.forEach((told, index) => {
    buttons[index]?.setAttribute('aria-current', String(itemAt[told.list][told.index] === state.selected));
  });
}

function step(direction) {
  if (!state.shown.length) return;
  const at = state.selected ? state.shown.indexOf(state.selected) : -1;
  let next = at + direction;
  if (at < 0) {
    const middle = yTime(view.height / 2);
    next = Math.max(0, state.shown.findIndex((item) => middle <= item.from));
  }
  choose(state.shown[Math.max(0, Math.min(state.shown.length - 1, next))], { reveal: true });
}

// Pointing.

function pointAt(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function hover(event) {
  const [x, y] = pointAt(event);
  const item = y > HEAD ? itemAtPoint(x, y, event.pointerType === 'touch' ? 18 : 8) : null;
  const tip = byId('tip');
  canvas.classList.toggle('pointing', Boolean(item));
  if (item !== state.hovered) {
    state.hovered = item;
    redraw();
  }
  tip.hidden = !item || event.pointerType === 'touch';
  if (tip.hidden) return;
  tip.replaceChildren(element('b', {}, item.title), item.text ? `${item.text} · ` : '', `${clock(item.from)} ms`, item.data.lost ? ` · lost: ${item.data.lost.why}` : '');
  tip.style.left = `${Math.min(x + 14, view.width - tip.offsetWidth - 6)}px`;
  tip.style.top = `${y + 22 + tip.offsetHeight > view.height ? y - tip.offsetHeight - 12 : y + 18}px`;
}

const pointers = new Map();
let moved = 0;

canvas.addEventListener('pointerdown', (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, pointAt(event));
  if (pointers.size === 1) moved = 0;
});

canvas.addEventListener('pointermove', (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return hover(event);
  const now = pointAt(event);
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    zoom(apart(now) / Math.max(1, apart(before)), (now[1] + other[1]) / 2);
  } else {
    moved += Math.abs(now[1] - before[1]) + Math.abs(now[0] - before[0]);
    if (moved > 4) {
      canvas.classList.add('dragging');
      byId('tip').hidden = true;
      scroll(before[1] - now[1]);
    }
  }
  pointers.set(event.pointerId, now);
});

function release(event) {
  if (!pointers.delete(event.pointerId)) return;
  canvas.classList.remove('dragging');
  if (event.type !== 'pointerup' || moved > 4 || pointers.size) return;
  const [x, y] = pointAt(event);
  choose(itemAtPoint(x, y, event.pointerType === 'touch' ? 18 : 8));
}
canvas.addEventListener('pointerup', release);
canvas.addEventListener('pointercancel', release);
canvas.addEventListener('pointerleave', () => {
  byId('tip').hidden = true;
  state.hovered = null;
  redraw();
});
canvas.addEventListener('dblclick', (event) => zoom(2.5, pointAt(event)[1]));
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  const pixels = event.deltaMode === 1 ? event.deltaY * 20 : event.deltaY;
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(-pixels / 260), pointAt(event)[1]);
  else scroll(pixels);
}, { passive: false });

function overviewTo(event) {
  const box = overview.getBoundingClientRect();
  const place = ((event.clientY - box.top) / box.height) * state.scale.total;
  view.top = place - bodyHeight() / 2 / view.scale;
  clamp();
  redraw();
}
overview.addEventListener('pointerdown', (event) => { overview.setPointerCapture(event.pointerId); overviewTo(event); });
overview.addEventListener('pointermove', (event) => { if (event.buttons) overviewTo(event); });

// Keys.

const KEYS = {
  ArrowUp: () => scroll(-60),
  ArrowDown: () => scroll(60),
  PageUp: () => scroll(-bodyHeight() * 0.9),
  PageDown: () => scroll(bodyHeight() * 0.9),
  Home: () => goTo(0, 0.05),
  End: () => goTo(story.lasted, 0.9),
  '+': () => zoom(1.4),
  '=': () => zoom(1.4),
  '-': () => zoom(1 / 1.4),
  0: fit,
  f: () => story.failure && goToFailure(),
  n: () => step(1),
  p: () => step(-1),
  Escape: () => choose(null),
  '/': () => byId('search').focus(),
  '?': () => byId('keys').showModal(),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('keys').open) return;
  if (event.target.matches('input, select, textarea')) return;
  // In the panel, keys that scroll scroll the panel.
  const scrolls = /^(Arrow|Page|Home|End)/.test(event.key);
  if (scrolls && event.target !== canvas && event.target !== document.body) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

byId('tabs').addEventListener('keydown', (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  openTab(tabs[(tabs.indexOf(openedTab()) + by + tabs.length) % tabs.length], true);
});
for (const tab of tabs) byId(`tab-${tab}`).addEventListener('click', () => openTab(tab));
byId('list-view').addEventListener('scroll', fillList);

byId('fit').addEventListener('click', fit);
byId('in').addEventListener('click', () => zoom(1.5));
byId('out').addEventListener('click', () => zoom(1 / 1.5));
byId('to-failure').hidden = !story.failure;
byId('to-failure').addEventListener('click', goToFailure);
byId('help').addEventListener('click', () => byId('keys').showModal());
byId('hide').addEventListener('click', () => {
  byId('panel').hidden = !byId('panel').hidden;
  byId('hide').setAttribute('aria-expanded', String(!byId('panel').hidden));
});
byId('copy').addEventListener('click', () => {
  // Without a secure origin there is no clipboard; then the command is selected instead.
  const selectCommand = () => getSelection().selectAllChildren(byId('repeat'));
  if (navigator.clipboard) navigator.clipboard.writeText(story.repeat).then(() => { byId('copy').textContent = 'Copied'; }, selectCommand);
  else selectCommand();
});

// The beginning.

function resized() {
  const centre = view.height && state.scale ? yTime(view.height / 2) : null;
  measure();
  density = null;
  if (centre !== null) {
    view.scale = Math.max(view.scale, scaleLeast() * 0.9);
    goTo(centre);
  }
  redraw();
}

byId('title').textContent = story.title;
byId('repeat').textContent = story.repeat;
canvas.setAttribute('aria-label', `Diagram of ${items.length} events; n and p step through them, what is chosen is told in the panel`);
readColours();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); drawSwatches(); redraw(); });
fillFilters();
measure();
if (story.failure?.keys?.length) {
  filters.key = String(story.failure.keys[0]);
  byId('key').value = filters.key;
}
filter({ keep: false });
showStory();
drawSwatches();
showDetails();
if (story.failure) showFailure();
else {
  view.scale = readable();
  goTo(0, 0.05);
}
new ResizeObserver(resized).observe(byId('diagram'));
