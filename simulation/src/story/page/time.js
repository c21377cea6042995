// From time to places and back. In true time a place is proportional to time. Otherwise idle time is shortened: a gap between two
// neighbouring times takes as much room as the logarithm of its length, up to a bound; so that what happens within microseconds and
// what happens seconds later are on one page.

const GAP_LEAST = 0.3;
const GAP_MOST = 3.2;

class Scale {
  /** `times` need not be sorted. */
  constructor(times, isTrue) {
    const sorted = Float64Array.from([0, ...times, story.lasted]).sort();
    let count = 0;
    for (const time of sorted) if (count === 0 || sorted[count - 1] < time) sorted[count++] = time;
    this.times = sorted.subarray(0, count);
    const gaps = Float64Array.from(this.times.subarray(1), (time, index) => time - this.times[index]).sort();
    this.unit = Math.max(1, gaps[gaps.length >> 1] ?? 1);
    this.places = new Float64Array(count);
    for (let index = 1; index < count; index++) {
      const gap = (this.times[index] - this.times[index - 1]) / this.unit;
      this.places[index] = this.places[index - 1] + (isTrue ? gap : Math.min(GAP_MOST, GAP_LEAST + 0.7 * Math.log2(1 + gap)));
    }
    this.total = this.places[count - 1] || 1;
    this.isTrue = isTrue;
  }

  place(time) {
    return convert(this.times, this.places, time);
  }

  time(place) {
    return convert(this.places, this.times, place);
  }

  /** Whether the gap behind the time at this index is drawn shorter than others of its length would be. */
  isShortened(index) {
    return !this.isTrue && index + 1 < this.times.length && this.places[index + 1] - this.places[index] >= GAP_MOST - 1e-9;
  }
}

/** The index of the last number that is not behind this one. */
function lastUpTo(numbers, number) {
  let [low, high] = [0, numbers.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle] <= number) low = middle;
    else high = middle - 1;
  }
  return low;
}

function convert(source, target, number) {
  if (source.length < 2) return 0;
  const index = Math.min(lastUpTo(source, number), source.length - 2);
  const width = source[index + 1] - source[index];
  const share = width > 0 ? (number - source[index]) / width : 0;
  return target[index] + Math.min(1, Math.max(0, share)) * (target[index + 1] - target[index]);
}
