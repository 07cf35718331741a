// The page: one WebSocket in, everything drawn from its messages. No library but three.js, and that only in view3d.js.
const COLOURS = ["#fab450", "#5aa0fa", "#78e678", "#e678dc", "#5ae6e6", "#e6e66e", "#ff8a70", "#b39dff"];
const colour = id => id < 0 ? "#9aa5b1" : COLOURS[((id % COLOURS.length) + COLOURS.length) % COLOURS.length];
const $ = id => document.getElementById(id);
const HISTORY = 120, RETRY_MS = 1000;
let about = null, view = null, cameras = new Map(), scene = null, heard = 0;
const latency = new Map();
window.kinecast = { pictures: {}, scenes: 0, people: 0 };  // for tests and the curious

function make(tag, text = "", name = "") {
  const e = document.createElement(tag);
  e.textContent = text;
  if (name) e.className = name;
  return e;
}

async function begin(message) {
  const first = about === null;
  about = message;
  $("session").textContent = `Kinecast – ${about.session}`;
  if (!first) return;
  for (const c of about.cameras) {
    const figure = make("figure"), canvas = make("canvas"), caption = make("figcaption");
    canvas.width = 480;
    canvas.height = Math.round(480 * c.size_px[1] / c.size_px[0]);
    canvas.setAttribute("aria-label", `what ${c.camera} sees`);
    const lamps = {};
    caption.append(make("strong", c.node));
    for (const what of ["alive", "rate", "dropping", "moved", "clock"]) caption.append(lamps[what] = make("span", what, "lamp"));
    figure.append(canvas, caption);
    $("cameras").append(figure);
    cameras.set(c.camera, { canvas, lamps, info: c, image: null, lost: null });
  }
  try {
    const { open } = await import("/view3d.js");
    view = open($("view"), about);
  } catch (e) {
    $("view").hidden = true;
    $("view-note").textContent = "No 3D view: this browser has no WebGL, or three.js is not in the cache " +
      "(run `kinecast models pull`). Pictures and tables work.";
  }
}

function draw(camera) {
  const c = cameras.get(camera), g = c.canvas.getContext("2d");
  const sx = c.canvas.width / c.info.size_px[0], sy = c.canvas.height / c.info.size_px[1];
  if (c.image) g.drawImage(c.image, 0, 0, c.canvas.width, c.canvas.height);
  const seen = c.marks;
  if (!seen) return;
  g.lineWidth = 2;
  g.font = "14px sans-serif";
  seen.px.forEach((joints, p) => {
    g.strokeStyle = g.fillStyle = colour(seen.ids[p]);
    g.beginPath();
    for (const [a, b] of about.bones[seen.skeleton]) {
      if (joints[2 * a] === about.missing || joints[2 * b] === about.missing) continue;
      g.moveTo(joints[2 * a] * sx, joints[2 * a + 1] * sy);
      g.lineTo(joints[2 * b] * sx, joints[2 * b + 1] * sy);
    }
    g.stroke();
    let top = -1;
    for (let k = 0; k < joints.length; k += 2) if (joints[k] !== about.missing && (top < 0 || joints[k + 1] < joints[top + 1])) top = k;
    if (top >= 0) g.fillText(seen.ids[p] < 0 ? "?" : `#${seen.ids[p]}`, joints[top] * sx + 4, Math.max(14, joints[top + 1] * sy - 4));
  });
}

function showScene(message) {
  scene = message;
  window.kinecast.scenes++;
  window.kinecast.people = scene.people.length;
  if (view) view.show(scene.people, colour);
  $("people").replaceChildren(...scene.people.map(p => {
    const at = p.mm.findIndex((v, k) => k % 3 === 0 && v !== about.missing);
    const li = make("li", `person ${p.id}` + (at < 0 ? "" : `, at ${(p.mm[at] / 1000).toFixed(1)}, ${(p.mm[at + 1] / 1000).toFixed(1)} m`) +
      (p.skeleton === "smpl24" ? ", body" : ", joints"));
    li.style.setProperty("color", colour(p.id));
    return li;
  }));
}

function lamp(e, good, text) {
  e.className = good === null ? "lamp" : good ? "lamp good" : "lamp bad";
  e.textContent = text;
}

function showState(s) {
  const by = new Map(s.nodes.map(n => [n.node, n]));
  $("nodes").tBodies[0].replaceChildren(...s.nodes.map(n => {
    const row = make("tr"), lost = Object.entries(n.drops || {}).filter(d => d[1]).map(d => `${d[0]} ${d[1]}`).join(", ");
    for (const t of [n.node, n.alive ? n.state : `${n.state}, silent`, n.rate_hz ?? "", lost, n.note ?? ""]) row.append(make("td", String(t)));
    return row;
  }));
  for (const c of cameras.values()) {
    const n = by.get(c.info.node), rig = s.rig[c.info.camera], l = c.lamps;
    if (!n) continue;
    lamp(l.alive, n.alive && n.state !== "stalled", n.alive ? n.state : "silent");
    const asked = c.info.rate_hz;
    lamp(l.rate, asked ? n.rate_hz > 0.9 * asked : null, `${n.rate_hz ?? 0} Hz`);
    const lost = Object.values(n.drops || {}).reduce((a, b) => a + b, 0);
    lamp(l.dropping, c.lost === null ? null : lost <= c.lost, lost > c.lost && c.lost !== null ? "dropping" : "no loss");
    c.lost = lost;
    lamp(l.moved, rig ? !rig.moved : null, rig && rig.moved ? "moved!" : "in place");
    lamp(l.clock, rig && rig.offset_ms !== null ? Math.abs(rig.offset_ms) < 5 : null,
      rig && rig.offset_ms !== null ? `clock ${rig.offset_ms.toFixed(1)} ms` : "clock");
  }
  if (s.recording === null) $("disk").textContent = "not recording";
  else {
    const now = performance.now(), gone = showState.first ? (now - showState.first.t) / 60000 : 0;
    if (!showState.first && s.written_bytes) showState.first = { t: now, bytes: s.written_bytes };
    const pace = gone > 0.05 ? (s.written_bytes - showState.first.bytes) / gone : 0;
    $("disk").textContent = `recording ${s.recording}` + (s.free_bytes === null ? "" : pace > 0
      ? `, disk lasts ${Math.round(s.free_bytes / pace)} min` : `, ${(s.free_bytes / 1e9).toFixed(0)} GB free`);
  }
  const log = $("log"), text = s.log.join("\n");
  if (log.textContent !== text) { log.textContent = text; log.scrollTop = log.scrollHeight; }
  plot(s.nodes);
}

function plot(nodes) {
  for (const n of nodes) for (const [step, ms] of Object.entries(n.latency_ms || {})) {
    if (n.kind !== "fusion") continue;
    const line = latency.get(step) || [];
    line.push(ms[1]);
    if (line.length > HISTORY) line.shift();
    latency.set(step, line);
  }
  const g = $("latency").getContext("2d"), { width: w, height: h } = g.canvas;
  g.clearRect(0, 0, w, h);
  const most = Math.max(10, ...[...latency.values()].flat());
  $("latency-legend").replaceChildren();
  [...latency.entries()].forEach(([step, line], k) => {
    g.strokeStyle = COLOURS[k % COLOURS.length];
    g.beginPath();
    line.forEach((v, i) => g.lineTo(w * i / (HISTORY - 1), h - 4 - (h - 8) * v / most));
    g.stroke();
    const e = make("span", `${step} ${line.at(-1)} ms  `);
    e.style.setProperty("color", COLOURS[k % COLOURS.length]);
    $("latency-legend").append(e);
  });
}

async function showPicture(data) {
  const length = new DataView(data).getUint32(0, true);
  const marks = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const camera = marks.camera, c = cameras.get(camera);
  c.image = await createImageBitmap(new Blob([data.slice(4 + length)], { type: "image/jpeg" }));
  c.marks = marks;
  window.kinecast.pictures[camera] = (window.kinecast.pictures[camera] || 0) + 1;
  draw(camera);
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { $("link").textContent = "connected"; $("link").className = ""; };
  socket.onclose = () => {
    $("link").textContent = "the connection is gone: what you see is old; trying again";
    $("link").className = "lost";
    setTimeout(connect, RETRY_MS);
  };
  socket.onmessage = e => {
    heard = performance.now();
    if (typeof e.data !== "string") { if (about) showPicture(e.data); return; }
    const message = JSON.parse(e.data);
    if (message.type === "about") begin(message);
    else if (message.type === "scene") showScene(message);
    else if (message.type === "state") showState(message);
  };
}
setInterval(() => {
  if (heard && performance.now() - heard > 3000 && $("link").className !== "lost") {
    $("link").textContent = "nothing has come for three seconds: what you see is old";
    $("link").className = "lost";
  } else if (heard && performance.now() - heard < 1000 && $("link").className === "lost") {
    $("link").textContent = "connected";
    $("link").className = "";
  }
}, 500);
connect();
