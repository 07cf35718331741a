// The people, cameras and floor in 3D. World: metres, z up.
import * as THREE from "/three/three.module.js";

const TRAIL = 60;

export function open(canvas, about) {
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(0x14171c);
  const eye = new THREE.PerspectiveCamera(50, 1, 0.1, 200);
  eye.up.set(0, 0, 1);
  const grid = new THREE.GridHelper(10, 10, 0x55606e, 0x2f3740);
  grid.rotation.x = Math.PI / 2;
  scene.add(grid);
  for (const c of about.cameras) scene.add(frustum(c));
  const people = new Map();
  const orbit = { turn: 0.8, tilt: 0.45, away: 8, at: new THREE.Vector3(0, 0, 0.9) };
  control(canvas, orbit);

  function frame() {
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (w && h) {
      renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
      renderer.setSize(w, h, false);
      eye.aspect = w / h;
      eye.updateProjectionMatrix();
      const flat = Math.cos(orbit.tilt) * orbit.away;
      eye.position.set(orbit.at.x + flat * Math.cos(orbit.turn), orbit.at.y + flat * Math.sin(orbit.turn),
        orbit.at.z + Math.sin(orbit.tilt) * orbit.away);
      eye.lookAt(orbit.at);
      renderer.render(scene, eye);
    }
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);

  return {
    show(list, colour) {
      const seen = new Set();
      for (const p of list) {
        seen.add(p.id);
        let drawn = people.get(p.id);
        if (!drawn) {
          drawn = person(colour(p.id));
          people.set(p.id, drawn);
          scene.add(drawn.group);
        }
        drawn.lines.geometry.setAttribute("position",
          new THREE.Float32BufferAttribute(ends(p.mm, about.bones[p.skeleton], about.missing), 3));
        const at = p.mm.findIndex((v, k) => k % 3 === 0 && v !== about.missing);
        if (at >= 0) {
          drawn.path.push(p.mm[at] / 1000, p.mm[at + 1] / 1000, 0.01);
          if (drawn.path.length > 3 * TRAIL) drawn.path.splice(0, 3);
          drawn.trail.geometry.setAttribute("position", new THREE.Float32BufferAttribute(drawn.path, 3));
        }
      }
      for (const [id, drawn] of people) if (!seen.has(id)) { scene.remove(drawn.group); people.delete(id); }
    },
  };
}

function ends(mm, bones, missing) {
  const out = [];
  for (const [a, b] of bones) {
    if (mm[3 * a] === missing || mm[3 * b] === missing) continue;
    for (const j of [a, b]) for (let k = 0; k < 3; k++) out.push(mm[3 * j + k] / 1000);
  }
  return out;
}

function person(colour) {
  const group = new THREE.Group();
  const lines = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial({ color: colour }));
  const trail = new THREE.Line(new THREE.BufferGeometry(),
    new THREE.LineBasicMaterial({ color: colour, transparent: true, opacity: 0.5 }));
  lines.frustumCulled = trail.frustumCulled = false;
  group.add(lines, trail);
  return { group, lines, trail, path: [] };
}

function frustum(c) {
  const depth = 0.4, x = depth * c.size_px[0] / 2 / c.focal_px[0], y = depth * c.size_px[1] / 2 / c.focal_px[1];
  const at = (u, v, w) => c.axes.map((row, i) => c.centre_m[i] + row[0] * u + row[1] * v + row[2] * w);
  const o = at(0, 0, 0), k = [at(-x, -y, depth), at(x, -y, depth), at(x, y, depth), at(-x, y, depth)];
  const points = [];
  for (let i = 0; i < 4; i++) points.push(...o, ...k[i], ...k[i], ...k[(i + 1) % 4]);
  const g = new THREE.BufferGeometry();
  g.setAttribute("position", new THREE.Float32BufferAttribute(points, 3));
  return new THREE.LineSegments(g, new THREE.LineBasicMaterial({ color: 0x7fb4ff }));
}

function control(canvas, orbit) {
  const limit = () => {
    orbit.tilt = Math.min(1.5, Math.max(-0.2, orbit.tilt));
    orbit.away = Math.min(60, Math.max(1, orbit.away));
  };
  canvas.addEventListener("pointerdown", e => canvas.setPointerCapture(e.pointerId));
  canvas.addEventListener("pointermove", e => {
    if (!e.buttons) return;
    orbit.turn -= e.movementX * 0.008;
    orbit.tilt += e.movementY * 0.008;
    limit();
  });
  canvas.addEventListener("wheel", e => { orbit.away *= Math.exp(e.deltaY * 0.001); limit(); e.preventDefault(); },
    { passive: false });
  canvas.addEventListener("keydown", e => {
    const keys = { ArrowLeft: [0.1, 0, 1], ArrowRight: [-0.1, 0, 1], ArrowUp: [0, 0.1, 1], ArrowDown: [0, -0.1, 1],
      "+": [0, 0, 0.9], "-": [0, 0, 1.1] };
    const step = keys[e.key];
    if (!step) return;
    orbit.turn += step[0]; orbit.tilt += step[1]; orbit.away *= step[2];
    limit();
    e.preventDefault();
  });
}
