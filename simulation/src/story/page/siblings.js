// The writes of a key as a graph: a row for each write, in the order they began; a column for each client; a line from each write to
// the latest that its writer had seen. What a primary still held at the end is ringed.

const ROW_TALL = 30;
const SVG = 'http://www.w3.org/2000/svg';
const ROWS_MOST = 1500;

function drawn(tag, properties, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

let graphKey = null;

function showSiblings() {
  const fallback = filters.key !== '' ? Number(filters.key) : (story.failure?.keys?.[0] ?? 0);
  const key = graphKey ?? fallback;
  const all = story.writes.map((write, number) => ({ ...write, number })).filter((write) => write.key === key);
  const writes = all.slice(-ROWS_MOST);
  const select = element('select', { 'aria-label': 'Key', onchange: (event) => { graphKey = Number(event.target.value); showSiblings(); } },
    ...story.keys.map((name, number) => element('option', { value: number, selected: number === key }, `${keyName(number)} ${name}`)));
  const current = writes.filter((write) => write.current).map((write) => write.number);
  const intro = element('p', { className: 'quiet' }, writes.length === 0 ? 'Nobody wrote this key.'
    : `Each line leads from a write to what its writer had seen. At the end primaries hold ${writeNames(current, 'no value')}.`);
  byId('siblings-view').replaceChildren(element('label', {}, 'Writes of ', select), intro, graph(writes));
  byId('siblings-view').querySelector('.chosen')?.scrollIntoView({ block: 'center' });
}

function graph(writes) {
  const clients = [...new Set(writes.map((write) => write.client))].sort((one, other) => one - other);
  const column = (write) => 18 + clients.indexOf(write.client) * 22;
  const rowOf = new Map(writes.map((write, row) => [write.number, row]));
  const middle = (row) => 34 + row * ROW_TALL;
  const textLeft = 18 + clients.length * 22 + 4;
  const wide = Math.max(textLeft + 240, byId('siblings-view').clientWidth - 28);
  const svg = drawn('svg', { width: wide, height: middle(writes.length) + 4, role: 'group', 'aria-label': 'Writes, oldest first' });
  clients.forEach((client, index) => {
    const head = drawn('text', { x: 18 + index * 22, y: 12, 'text-anchor': 'middle', style: 'fill: var(--quiet); font-size: 11px' });
    head.textContent = shortLane(client);
    svg.append(head);
  });
  for (const write of writes) {
    for (const parent of write.parents ?? none) {
      if (!rowOf.has(parent)) continue;
      const [x0, y0] = [column(write), middle(rowOf.get(write.number))];
      const [x1, y1] = [column(writes[rowOf.get(parent)]), middle(rowOf.get(parent))];
      const bow = x0 === x1 ? Math.min(16, 4 + (y0 - y1) / 12) : 0;
      const path = `M${x0} ${y0} C${x0 + bow} ${y0 - ROW_TALL * 0.7}, ${x1 + bow} ${y1 + ROW_TALL * 0.7}, ${x1} ${y1}`;
      svg.append(drawn('path', { d: path, fill: 'none', stroke: 'var(--quiet)', 'stroke-width': 1.4, opacity: 0.75 }));
    }
  }
  for (const write of writes) svg.append(writeRow(write, column(write), middle(rowOf.get(write.number)), textLeft, wide));
  return svg;
}

function writeRow(write, x, y, textLeft, wide) {
  const colour = `var(--${fateColour[write.fate]})`;
  const fate = { done: 'acknowledged', 'under-way': 'under way' }[write.fate] ?? write.fate;
  const chosen = state.selected?.writes.includes(write.number);
  const row = drawn('g', { class: chosen ? 'write chosen' : 'write', tabindex: 0, role: 'button' });
  row.append(drawn('rect', { class: 'hit', x: 0, y: y - ROW_TALL / 2, width: wide, height: ROW_TALL, rx: 5, fill: 'transparent' }));
  if (write.current) row.append(drawn('circle', { cx: x, cy: y, r: 10, fill: 'none', stroke: 'var(--ink)', 'stroke-width': 2 }));
  const shape = write.kind === 'delete'
    ? drawn('path', { d: `M${x - 5} ${y - 5} l10 10 M${x + 5} ${y - 5} l-10 10`, stroke: colour, 'stroke-width': 3 })
    : drawn('circle', { cx: x, cy: y, r: 6, fill: write.fate === 'done' ? colour : 'var(--raised)', stroke: colour, 'stroke-width': 2.5, ...(write.fate === 'unknown' ? { 'stroke-dasharray': '3 2' } : {}) });
  row.append(shape);
  const text = drawn('text', { x: textLeft, y: y + 4 });
  const strong = drawn('tspan', { style: 'font-weight: 600' });
  strong.textContent = `w${write.number}`;
  const rest = drawn('tspan', {});
  rest.textContent = ` ${write.kind}, ${fate}${write.current ? ', held' : ''}`;
  const when = drawn('tspan', { style: 'fill: var(--quiet)' });
  when.textContent = `  ${clock(write.begun)}`;
  text.append(strong, rest, when);
  row.append(text);
  const pick = () => {
    const item = itemAt.operations.find((item) => item.data.writes?.includes(write.number));
    if (item) choose(item, { reveal: true, keepTab: true });
    showSiblings();
  };
  row.addEventListener('click', pick);
  row.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    pick();
  });
  return row;
}
