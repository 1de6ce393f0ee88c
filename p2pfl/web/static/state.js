/* What is known, from the snapshots of the stream: the first is whole, later ones say what has changed. */
export const board = { title: "", seconds: 0, nodes: new Map(), edges: new Map(), judged: new Map(), course: new Map(), mean: null, sent: 0, ready: false };

export function take(news) {
  if (news.whole) for (const kind of ["nodes", "edges", "judged", "course"]) board[kind].clear();
  board.title = news.title; board.seconds = news.seconds; board.mean = news.mean_accuracy; board.sent = news.bytes_sent; board.ready = true;
  let fresh = news.whole;
  for (const node of news.nodes) { fresh = fresh || !board.nodes.has(node.name); board.nodes.set(node.name, node); }
  const moved = [];
  for (const [a, b, count, met] of news.edges) {
    const key = a + "\0" + b, before = board.edges.get(key);
    fresh = fresh || !before;
    if (before && count > before.count) moved.push([a, b]);
    board.edges.set(key, { a, b, count, met });
  }
  for (const kind of ["judged", "course"]) {
    for (const [name, points] of Object.entries(news[kind])) {
      const have = (board[kind].get(name) || []).filter(point => point[1] < points[0][1]);
      board[kind].set(name, have.concat(points));
    }
  }
  return { fresh, moved };
}

const collator = new Intl.Collator(undefined, { numeric: true });
export const nodes = () => [...board.nodes.values()].sort((a, b) => collator.compare(a.name, b.name));
export const isAway = node => node.state === "gone" || node.state === "silent";
