// Where the places of a map stand: callers to the left of whom they call. This is a pure function.

/**
 * Lay out places and ways: `{ places, ways, width, height }`.
 *
 * `ways` have `caller` and `called`, each with `kind` and `name`. A place gets `x`, `y` of its middle, and `height`. A way
 * gets `stops`: from its caller to whom it calls, with a stop in each column between, so that it passes no place by chance;
 * and `end`, the height at which it arrives, so that there is room for its label.
 */
export function layOut(ways, { boxWidth, boxHeight, columnGap, rowGap, labelHeight }) {
  const places = new Map();
  const placeOf = ({ kind, name }) => {
    const key = `${kind} ${name}`;
    if (!places.has(key)) places.set(key, { key, kind, name, layer: 0, before: [] });
    return places.get(key);
  };
  const drawn = ways.map((way) => ({ ...way, stops: [placeOf(way.caller), placeOf(way.called)] }));
  setLayers([...places.values()], drawn);

  const layers = [];
  for (const place of places.values()) (layers[place.layer] ??= []).push(place);
  for (const way of drawn) {
    const [from, to] = way.stops;
    const between = [];
    for (let layer = from.layer + 1; layer < to.layer; layer++) {
      const stop = { key: `${from.key} ${to.key}`, layer, before: [], isStop: true };
      layers[layer].push(stop);
      between.push(stop);
    }
    way.stops = [from, ...between, to];
    way.stops.slice(1).forEach((stop, index) => stop.layer > way.stops[index].layer && stop.before.push(way.stops[index]));
  }

  const arriving = new Map([...places.values()].map((place) => [place, drawn.filter((way) => way.stops.at(-1) === place)]));
  const tall = (place) => (place.isStop ? labelHeight : Math.max(boxHeight, labelHeight * (arriving.get(place).length + 0.5)));
  const heights = layers.map((layer) => layer.reduce((sum, place) => sum + tall(place) + rowGap, -rowGap));
  const height = Math.max(...heights);
  layers.forEach((layer, index) => {
    layer.sort((one, other) => middle(one) - middle(other) || (one.key < other.key ? -1 : 1));
    let y = (height - heights[index]) / 2;
    for (const place of layer) {
      place.height = tall(place);
      place.x = index * (boxWidth + columnGap);
      place.y = y + place.height / 2;
      y += place.height + rowGap;
    }
  });
  for (const [place, all] of arriving) {
    all.sort((one, other) => one.stops.at(-2).y - other.stops.at(-2).y);
    all.forEach((way, index) => {
      way.end = place.y + (index - (all.length - 1) / 2) * labelHeight;
    });
  }
  return { places: [...places.values()], ways: drawn, width: layers.length * (boxWidth + columnGap) - columnGap, height };
}

/** Give each place the length of the longest way to it. Places that call each other in a circle stop at some length. */
function setLayers(places, ways) {
  const forward = ways.filter(({ stops: [from, to] }) => !leadsTo(to, from, ways));
  for (let round = 0; round < places.length; round++) {
    for (const { stops: [from, to] } of forward) to.layer = Math.max(to.layer, from.layer + 1);
  }
}

/** Whether one place calls another, directly or through others. */
function leadsTo(place, target, ways) {
  const reached = new Set([place]);
  for (const each of reached) {
    if (each === target) return true;
    for (const { stops: [from, to] } of ways) if (from === each) reached.add(to);
  }
  return false;
}

/** The mean height of the places from which ways lead to this one. */
function middle(place) {
  return place.before.reduce((sum, each) => sum + each.y, 0) / (place.before.length || 1);
}
