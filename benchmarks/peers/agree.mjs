// Does ONNX Runtime compute what ounce computed? node agree.mjs MODEL.onnx FOLDER [boxes]
//
// FOLDER holds pairs <i>.input.npy, <i>.output.npy from peer_cases. Prints how often the largest
// output is the same one; with `boxes`, treats the output as [1, anchors, 4 + 1 + classes] in the
// YOLOX convention and prints the smallest overlap of the boxes that score at least 0.3.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';

const [model, folder, kind] = process.argv.slice(2);

function readNpy(file) {
  const bytes = readFileSync(file);
  const headerLength = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + headerLength);
  if (!header.includes("'<f4'")) throw new Error(`${file}: f32 expected`);
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(',').filter((s) => s.trim()).map(Number);
  const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 10 + headerLength, bytes.byteOffset + bytes.length));
  return { shape, data };
}

const argmax = (list) => list.reduce((best, value, i) => (value > list[best] ? i : best), 0);

// [x, y, log w, log h, objectness, classes..]: overlap does not depend on the anchor's place and stride.
function box(row) {
  const [w, h] = [Math.exp(row[2]), Math.exp(row[3])];
  return [row[0] - w / 2, row[1] - h / 2, row[0] + w / 2, row[1] + h / 2];
}
function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const area = (r) => (r[2] - r[0]) * (r[3] - r[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  return shared / (area(a) + area(b) - shared);
}

const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 2 });
let cases = 0;
let same = 0;
let boxes = 0;
let sameClass = 0;
const overlaps = [];
let worst = 0;
for (let i = 0; existsSync(join(folder, `${i}.input.npy`)); ++i, ++cases) {
  const input = readNpy(join(folder, `${i}.input.npy`));
  const ours = readNpy(join(folder, `${i}.output.npy`));
  const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', input.data, input.shape) };
  const theirs = (await session.run(feeds))[session.outputNames[0]].data;
  const largest = ours.data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  ours.data.forEach((value, k) => { worst = Math.max(worst, Math.abs(value - theirs[k]) / largest); });
  if (kind !== 'boxes') {
    if (argmax(ours.data) === argmax(theirs)) same += 1;
    continue;
  }
  const columns = ours.shape.at(-1);
  for (let start = 0; start < ours.data.length; start += columns) {
    const a = ours.data.subarray(start, start + columns);
    const b = theirs.subarray(start, start + columns);
    const best = argmax(a.subarray(5));
    if (a[4] * a[5 + best] < 0.3) continue;
    boxes += 1;
    if (argmax(b.subarray(5)) === best) sameClass += 1;
    overlaps.push(overlap(box(a), box(b)));
  }
}
overlaps.sort((a, b) => a - b);
const report = { cases, largest_difference: worst };
if (kind === 'boxes') {
  Object.assign(report, {
    boxes, same_class: sameClass, smallest_overlap: overlaps[0],
    above_0_99: overlaps.filter((o) => o > 0.99).length,
  });
} else {
  report.same_top1 = same;
}
console.log(JSON.stringify(report));
