// The story as read from the page, and all that can be pointed at in it as items of one shape:
// { list, index, data, from, until, lane, to, keys, writes, talk, title, text }.

const story = JSON.parse(document.getElementById('story').textContent);
const LISTS = ['faults', 'lives', 'operations', 'messages', 'stores', 'notes'];
const none = [];

const laneName = (lane) => story.lanes[lane]?.name ?? '?';
const shortLane = (lane) => laneName(lane).replace(/^client /, 'c');
const keyName = (key) => `k${key}`;
const writeNames = (writes, otherwise = 'nothing') => (writes.length ? writes.map((write) => `w${write}`).join(', ') : otherwise);
const isNode = (lane) => story.lanes[lane]?.kind === 'node';

/** `1 204.310 ms`: milliseconds, down to the microsecond. */
function clock(micros) {
  const [whole, rest] = [Math.floor(micros / 1000), micros % 1000];
  return `${String(whole).replace(/\B(?=(\d{3})+$)/g, '\u202f')}.${String(Math.round(rest)).padStart(3, '0')}`;
}

function span(micros) {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1e6) return `${(micros / 1000).toPrecision(3)} ms`;
  return `${(micros / 1e6).toPrecision(3)} s`;
}

const readers = {
  messages: (data) => ({
    from: data.sent,
    until: data.arrived ?? data.lost?.at ?? story.lasted,
    lane: data.from,
    to: data.to,
    title: data.label,
    text: `${laneName(data.from)} → ${laneName(data.to)}`,
    bad: Boolean(data.lost),
  }),
  operations: (data) => ({
    from: data.begun,
    until: data.ended ?? story.lasted,
    lane: data.client,
    title: data.text,
    text: data.outcome,
    bad: data.fate === 'failed',
    writes: [...(data.writes ?? none), ...(data.shown ?? none)],
  }),
  stores: (data) => ({
    from: data.at,
    until: data.at,
    lane: data.node,
    title: `${data.kind} ${writeNames(data.writes ?? none, 'a delete')}`,
    text: data.kind === 'synced' ? 'survives the loss of power from now on' : 'survives the process from now on, not the loss of power',
  }),
  notes: (data) => ({ from: data.at, until: data.at, lane: data.lane, title: data.text, text: '' }),
  faults: (data) => ({
    from: data.from,
    until: data.until ?? story.lasted,
    lane: data.lanes[0] ?? 0,
    title: `${data.id} ${data.text}`,
    text: data.lanes.map(laneName).join(', '),
  }),
  lives: (data) => ({
    from: data.from,
    until: data.until ?? story.lasted,
    lane: data.node,
    title: `${laneName(data.node)} runs on ${data.start}`,
    text: data.end ? `until it ${data.end}` : '',
  }),
};

const items = [];
const itemAt = {};
for (const list of LISTS) {
  itemAt[list] = story[list].map((data, index) => {
    const item = { list, index, data, keys: data.keys ?? none, writes: data.writes ?? none, talk: data.talk, ...readers[list](data) };
    item.haystack = `${item.title} ${item.text} ${laneName(item.lane)} ${data.detail ?? ''} ${data.kind ?? ''}`.toLowerCase();
    items.push(item);
    return item;
  });
}
items.sort((one, other) => one.from - other.from || one.until - other.until);

const meets = (some, others) => some.some((one) => others.includes(one));

/** How much an item has to do with another: 2 the same write or conversation, 1 the same key, 0 nothing. */
function relation(item, other) {
  if (item === other) return 2;
  if (item.talk !== undefined && item.talk === other.talk) return 2;
  if (meets(item.writes, other.writes)) return 2;
  return meets(item.keys, other.keys) ? 1 : 0;
}
