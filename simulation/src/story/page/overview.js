// The strip on the right: the whole run, where it is dense, what of it is in view.

const overview = document.getElementById('overview');
let density = null;

function readDensity() {
  density = { rows: new Float64Array(Math.max(1, Math.round(view.height))), lost: new Float64Array(Math.max(1, Math.round(view.height))), most: 1 };
  const row = (time) => Math.min(density.rows.length - 1, Math.floor((state.scale.place(time) / state.scale.total) * (density.rows.length - 1)));
  for (const item of state.shown) {
    if (item.list === 'faults' || item.list === 'lives') continue;
    const at = row(item.from);
    density.rows[at] += 1;
    density.most = Math.max(density.most, density.rows[at]);
    if (item.bad) density.lost[at] += 1;
  }
  density.row = row;
}

function drawOverview() {
  const brush = overview.getContext('2d');
  if (!density) readDensity();
  brush.fillStyle = colours.raised;
  brush.fillRect(0, 0, OVERVIEW_COLUMNS, view.height);
  for (const item of state.shown) {
    if (item.list !== 'faults') continue;
    const [from, until] = [density.row(item.from), density.row(item.until)];
    brush.fillStyle = colours['fault-wash'];
    brush.fillRect(0, from, OVERVIEW_COLUMNS, Math.max(2, until - from));
  }
  density.rows.forEach((count, row) => {
    if (!count) return;
    const long = 3 + (OVERVIEW_COLUMNS - 5) * Math.sqrt(count / density.most);
    const lost = density.lost[row] ? Math.max(2, (long * density.lost[row]) / count) : 0;
    brush.fillStyle = colours.other;
    brush.fillRect(1, row, long - lost, 1.2);
    brush.fillStyle = colours.lost;
    brush.fillRect(1 + long - lost, row, lost, 1.2);
  });
  if (story.failure) {
    brush.fillStyle = colours.failed;
    brush.fillRect(0, density.row(story.failure.at) - 1, OVERVIEW_COLUMNS, 3);
  }
  const [from, until] = [density.row(yTime(HEAD)), density.row(yTime(view.height))];
  brush.strokeStyle = colours.accent;
  brush.lineWidth = 2;
  brush.strokeRect(1, Math.max(1, from), OVERVIEW_COLUMNS - 2, Math.max(6, until - from - 2));
}
