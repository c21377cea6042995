// What is under a point of the diagram.

/** The item under a point, if one is near enough. */
function itemAtPoint(x, y, reach) {
  let [best, nearest] = [null, reach];
  const offer = (item, distance) => {
    if (distance < nearest) [best, nearest] = [item, distance];
  };
  const [first, last] = [yTime(y - 40), yTime(y + 40)];
  for (const item of state.shown) {
    if (last < item.from || item.until < first) continue;
    if (item.list === 'stores') offer(item, Math.hypot(storeX(item) - x, timeY(item.from) - y) - 5);
    else if (item.list === 'notes') offer(item, Math.hypot(noteX(item) - x, timeY(item.from) - y) - 5);
    else if (item.list === 'messages') offer(item, distanceToLine(x, y, line(item)));
    else if (item.list === 'operations') offer(item, distanceToBar(x, y, item, 6));
    else if (item.list === 'lives') offer(item, Math.max(reach * 0.6, distanceToBar(x, y, item, 5)));
    else if (item.data.lanes.some((lane) => Math.abs(laneX(lane) - x) < view.lane / 2 - 2)) {
      offer(item, timeY(item.from) - 2 <= y && y <= timeY(item.until) + 2 ? reach * 0.9 : Infinity);
    }
  }
  return best;
}

function distanceToBar(x, y, item, half) {
  const down = Math.max(timeY(item.from) - y, y - timeY(item.until), 0);
  return Math.hypot(Math.max(0, Math.abs(laneX(item.lane) - x) - half), down);
}

function distanceToLine(x, y, [x0, y0, x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x0 + along * dx - x, y0 + along * dy - y);
}
