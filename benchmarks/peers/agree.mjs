// Does ONNX Runtime compute what ounce computed? node agree.mjs MODEL.onnx FOLDER [boxes|pixels]
//
// FOLDER holds pairs <i>.input.npy, <i>.output.npy from peer_cases. Prints how often the largest
// output is the same one; with `boxes`, treats the output as [1, anchors, 4 + 1 + classes] in the
// YOLOX convention and prints the smallest overlap of the boxes that score at least 0.3; with
// `pixels`, how many values in 0..1 round to the same of 256 levels. `ounce` compares our outputs
// with ONNX Runtime's, `unoptimised` those of ONNX Runtime with its graph optimisations off: what two
// correct runs of the file may differ by; `simulated`, where there are <i>.simulated.npy, the engine's
// with those of the reference operators.
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

// How near two lists of outputs are: of ours and theirs, or of two runs of theirs.
class Agreement {
  cases = 0;
  sameTop1 = 0;
  sameClass = 0;
  overlaps = [];
  pixels = 0;
  samePixels = 0;
  largest = 0;

  add(a, b, columns) {
    this.cases += 1;
    const most = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    a.forEach((value, k) => { this.largest = Math.max(this.largest, Math.abs(value - b[k]) / most); });
    if (kind === 'boxes') this.addBoxes(a, b, columns);
    else if (kind === 'pixels') this.addPixels(a, b);
    else if (argmax(a) === argmax(b)) this.sameTop1 += 1;
  }

  addBoxes(all, others, columns) {
    for (let start = 0; start < all.length; start += columns) {
      const a = all.subarray(start, start + columns);
      const b = others.subarray(start, start + columns);
      const best = argmax(a.subarray(5));
      if (a[4] * a[5 + best] < 0.3) continue;
      if (argmax(b.subarray(5)) === best) this.sameClass += 1;
      this.overlaps.push(overlap(box(a), box(b)));
    }
  }

  addPixels(a, b) {
    const level = (value) => Math.round(255 * Math.min(Math.max(value, 0), 1));
    this.pixels += a.length;
    a.forEach((value, k) => { this.samePixels += level(value) === level(b[k]); });
  }

  report() {
    const common = { cases: this.cases, largest_difference: this.largest };
    if (kind === 'pixels') return { ...common, pixels: this.pixels, same_pixels: this.samePixels };
    if (kind !== 'boxes') return { ...common, same_top1: this.sameTop1 };
    return {
      ...common, boxes: this.overlaps.length, same_class: this.sameClass,
      smallest_overlap: Math.min(...this.overlaps),
      median_overlap: [...this.overlaps].sort((a, b) => a - b)[this.overlaps.length >> 1],
      above_0_99: this.overlaps.filter((o) => o > 0.99).length,
    };
  }
}

const open = (level) => ort.InferenceSession.create(model, { intraOpNumThreads: 2, graphOptimizationLevel: level });
const optimised = await open('all');
const asWritten = await open('disabled');
const withOurs = new Agreement();
const withItself = new Agreement();
const withSimulation = new Agreement();
for (let i = 0; existsSync(join(folder, `${i}.input.npy`)); ++i) {
  const input = readNpy(join(folder, `${i}.input.npy`));
  const ours = readNpy(join(folder, `${i}.output.npy`));
  const run = async (session) => {
    const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', input.data, input.shape) };
    return (await session.run(feeds))[session.outputNames[0]].data;
  };
  const theirs = await run(optimised);
  withOurs.add(ours.data, theirs, ours.shape.at(-1));
  withItself.add(await run(asWritten), theirs, ours.shape.at(-1));
  const simulated = join(folder, `${i}.simulated.npy`);
  if (existsSync(simulated)) withSimulation.add(ours.data, readNpy(simulated).data, ours.shape.at(-1));
}
const reports = { ounce: withOurs.report(), unoptimised: withItself.report() };
if (withSimulation.cases > 0) reports.simulated = withSimulation.report();
console.log(JSON.stringify(reports));
