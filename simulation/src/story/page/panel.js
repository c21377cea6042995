// The panel: the story in words, the details of what is selected, and all that is shown as a list. Everything is set as text.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== 'list') made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
const tabs = ['story', 'details', 'siblings', 'list'];

function openTab(name, focus = false) {
  for (const tab of tabs) {
    const button = byId(`tab-${tab}`);
    button.setAttribute('aria-selected', String(tab === name));
    button.tabIndex = tab === name ? 0 : -1;
    byId(`${tab}-view`).hidden = tab !== name;
  }
  if (focus) byId(`tab-${name}`).focus();
  if (name === 'siblings') showSiblings();
  if (name === 'list') showList();
}

const openedTab = () => tabs.find((tab) => byId(`tab-${tab}`).getAttribute('aria-selected') === 'true');

function entry(item, at, who, what) {
  const button = element('button', { type: 'button', onclick: () => choose(item, { reveal: true, keepTab: true }) },
    element('span', { className: 'at' }, clock(at)),
    element('span', { className: 'who' }, who),
    element('span', { className: item.bad ? 'what bad' : 'what' }, what));
  return element('li', {}, button);
}

function definitions(pairs) {
  return element('dl', {}, ...pairs.flatMap(([name, text]) => [element('dt', {}, name), element('dd', {}, text)]));
}

function showStory() {
  const parts = [];
  const { failure, telling } = story;
  if (failure) {
    parts.push(element('h2', {}, 'What was promised'), element('p', {}, failure.promise));
    parts.push(element('h2', {}, 'What happened'), element('p', {}, `${failure.what}, at ${clock(failure.at)} ms.`));
    for (const { heading, lines } of telling.became) parts.push(element('h2', {}, heading), definitions(lines));
    const entries = telling.events.map((told) => entry(itemAt[told.list][told.index], told.at, told.who, told.what));
    parts.push(element('h2', {}, 'The last events that matter'), element('ol', { className: 'events' }, ...entries));
  } else {
    parts.push(element('h2', {}, 'Every check held'), element('p', {}, `${story.operations.length} operations, ${story.messages.length} messages, ${story.faults.length} faults.`));
  }
  parts.push(element('h2', {}, 'The run'), ...story.plan.map((text) => element('p', {}, text)));
  parts.push(element('p', { className: 'quiet' }, `${clock(story.lasted)} ms of virtual time, ${story.events} events.`));
  parts.push(element('h2', {}, 'How to read the diagram'), legend());
  byId('story-view').replaceChildren(...parts);
}

const LEGEND = [
  ['done', 'an operation that was done; a write was acknowledged'],
  ['failed', 'an operation that definitely failed'],
  ['unknown', 'an operation whose outcome its client does not know'],
  ['client', 'between a client and a node'],
  ['replicate', 'a write on its way to a replica, and the answer'],
  ['read', 'a read of a replica, and the answer'],
  ['repair', 'a repair of a replica that was behind'],
  ['lost', 'a message that was lost, to where it was lost'],
  ['flushed', 'a write is flushed: it survives the process'],
  ['synced', 'a write is synced: it survives the machine'],
  ['fault', 'a fault, for as long as it lasts'],
  ['life', 'a process runs, and ends; dotted: it is down'],
  ['note', 'something worth knowing'],
];

function legend() {
  const rows = LEGEND.map(([what, text]) => [element('canvas', { 'data-swatch': what, 'aria-hidden': 'true' }), element('span', {}, text)]);
  return element('div', { className: 'legend' }, ...rows.flat());
}

function drawSwatches() {
  const density = window.devicePixelRatio || 1;
  for (const swatch of document.querySelectorAll('[data-swatch]')) {
    [swatch.width, swatch.height] = [44 * density, 20 * density];
    const brush = swatch.getContext('2d');
    brush.scale(density, density);
    drawSwatch(brush, swatch.dataset.swatch);
  }
}

function drawSwatch(brush, what) {
  const colour = colours[what] ?? colours.ink;
  [brush.strokeStyle, brush.fillStyle, brush.lineWidth] = [colour, colour, 1.8];
  const stroke = (...points) => {
    brush.beginPath();
    points.forEach(([x, y], index) => (index % 2 ? brush.lineTo(x, y) : brush.moveTo(x, y)));
    brush.stroke();
  };
  if (what === 'done') brush.fillRect(17, 1, 10, 18);
  else if (what === 'failed' || what === 'unknown') {
    if (what === 'unknown') brush.setLineDash([3, 3]);
    brush.strokeRect(17, 2, 10, 16);
    brush.globalAlpha = 0.35;
    brush.fillRect(17, 2, 10, 16);
  } else if (what === 'flushed' || what === 'synced') {
    brush.beginPath();
    brush.arc(22, 10, 4.5, 0, 7);
    if (what === 'synced') brush.fill();
    brush.stroke();
  } else if (what === 'fault') {
    brush.fillStyle = colours['fault-wash'];
    brush.fillRect(6, 1, 32, 18);
    stroke([6, 1], [38, 1], [6, 19], [38, 19]);
  } else if (what === 'life') {
    brush.fillStyle = colours.band;
    brush.fillRect(18, 0, 8, 9);
    [brush.strokeStyle, brush.lineWidth] = [colours.lost, 2.2];
    stroke([18, 5], [26, 13], [26, 5], [18, 13]);
  } else if (what === 'note') {
    brush.fillStyle = colours.fault;
    brush.beginPath();
    for (const [x, y] of [[22, 4], [28, 10], [22, 16], [16, 10]]) brush.lineTo(x, y);
    brush.fill();
  } else if (what === 'lost') {
    brush.setLineDash([4, 3]);
    stroke([2, 7], [26, 11]);
    brush.setLineDash([]);
    stroke([26, 7], [34, 15], [34, 7], [26, 15]);
  } else {
    stroke([2, 6], [36, 13]);
    brush.beginPath();
    for (const [x, y] of [[42, 14], [33, 16], [35, 8]]) brush.lineTo(x, y);
    brush.fill();
  }
}

const FATES = { done: 'done', failed: 'definitely failed', unknown: 'unknown to its client', 'under-way': 'under way at the end' };

function properties(item) {
  const { data } = item;
  const when = item.from === item.until ? [['at', `${clock(item.from)} ms`]] : [['from', `${clock(item.from)} ms`], ['to', `${clock(item.until)} ms, ${span(item.until - item.from)} later`]];
  const about = [];
  if (item.keys.length) about.push(['key', item.keys.map((key) => `${keyName(key)} (${story.keys[key] ?? '?'})`).join(', ')]);
  if (item.writes.length) about.push([item.writes.length === 1 ? 'write' : 'writes', writeNames(item.writes)]);
  switch (item.list) {
    case 'messages': {
      const fate = data.lost ? `lost: ${data.lost.why}` : data.arrived === undefined ? 'still on its way when the run ended' : 'arrived';
      return [['from', laneName(item.lane)], ['to', laneName(item.to)], ['sent', `${clock(item.from)} ms`],
        [data.lost ? 'lost' : 'arrived', `${clock(item.until)} ms, ${span(item.until - item.from)} later`], ['fate', data.copy ? `${fate}, a duplicate` : fate], ...about, ...(data.detail ? [['says', data.detail]] : [])];
    }
    case 'operations':
      return [['client', laneName(item.lane)], ...when, ['outcome', data.outcome], ...about, ...(data.shown ? [['showed', writeNames(data.shown)]] : [])];
    case 'stores':
      return [['node', laneName(item.lane)], ...when, ['durability', `${data.kind}: ${item.text}`], ...about];
    case 'lives':
      return [['node', laneName(item.lane)], ...when, ['incarnation', data.incarnation], ['starts on', data.start], ['ends', data.end || 'not within the run']];
    case 'faults':
      return [['fault', data.id], ['what', data.text], ['meets', item.text], ...when];
    default:
      return [['where', laneName(item.lane)], ...when, ...about];
  }
}

function describeWrite(number) {
  const write = story.writes[number];
  if (!write) return null;
  const stores = itemAt.stores.filter((item) => item.data.writes?.includes(number));
  const held = story.held.filter((held) => held.writes.includes(number)).map((held) => laneName(held.node));
  const where = (kind) => stores.filter((item) => item.data.kind === kind).map((item) => `${laneName(item.lane)} at ${clock(item.from)}`).join(', ') || 'nowhere';
  return definitions([
    ['write', `w${number}, a ${write.kind} of ${keyName(write.key)} by ${laneName(write.client)}`],
    ['fate', write.kind && write.fate === 'done' ? 'acknowledged' : FATES[write.fate]],
    ['asked', `W = ${write.w}, ${write.durability.toLowerCase()}`],
    ['had seen', writeNames(write.parents ?? none)],
    ['flushed', where('flushed')],
    ['synced', where('synced')],
    ['held at the end', held.join(', ') || 'by nobody that was looked at'],
  ]);
}

const RELATED_MOST = 80;
const between = (item) => (item.to === undefined ? shortLane(item.lane) : `${shortLane(item.lane)} → ${shortLane(item.to)}`);

function showDetails() {
  const item = state.selected;
  if (!item) {
    byId('details-view').replaceChildren(element('p', { className: 'quiet' }, 'Click on anything in the diagram, or press n for the next event.'));
    return;
  }
  const parts = [element('h2', {}, item.title), definitions(properties(item))];
  for (const write of item.writes.slice(0, 3)) parts.push(element('h2', {}, `w${write}`), describeWrite(write));
  const related = items.filter((other) => other !== item && relation(item, other) === 2);
  if (related.length) {
    const shown = related.slice(0, RELATED_MOST).map((other) => entry(other, other.from, between(other), other.title));
    parts.push(element('h2', {}, 'The same write or conversation'), element('ol', { className: 'events' }, ...shown));
    if (RELATED_MOST < related.length) parts.push(element('p', { className: 'quiet' }, `and ${related.length - RELATED_MOST} more`));
  }
  byId('details-view').replaceChildren(...parts.filter(Boolean));
  byId('details-view').scrollTop = 0;
}

// The list is as long as it needs to be, and holds only the rows in sight.

const ROW = 26;
let listed = [];

function showList() {
  const box = byId('list-view');
  listed = state.shown;
  const sheet = element('div', { style: `height:${listed.length * ROW + 8}px` });
  box.replaceChildren(sheet);
  fillList();
}

function fillList() {
  const box = byId('list-view');
  const sheet = box.firstElementChild;
  if (box.hidden || !sheet) return;
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 10);
  const rows = listed.slice(first, first + Math.ceil(box.clientHeight / ROW) + 20).map((item, offset) => {
    const row = element('button', { type: 'button', className: 'row', style: `top:${(first + offset) * ROW + 4}px`, onclick: () => choose(item, { reveal: true, keepTab: true }) },
      element('span', { className: 'at' }, clock(item.from)),
      element('span', { className: 'who' }, between(item)),
      element('span', { className: item.bad ? 'what bad' : 'what' }, item.title));
    if (item === state.selected) row.setAttribute('aria-current', 'true');
    return row;
  });
  sheet.replaceChildren(...rows);
}
