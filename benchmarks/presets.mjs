// `--preset good` over networks of several kinds, no flags of their own: metric, size, latency.
//   node presets.mjs FOLDER DATA CIFAR [MODELS]
//
// FOLDER holds ounce and ounce-train; CIFAR the folders train and test. MODELS are keys of the table
// below, with commas between them (default: all). What calibrates never judges.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [programs, data, cifar, chosen = ''] = process.argv.slice(2);
if (!cifar) {
  console.error('node presets.mjs FOLDER DATA CIFAR [MODELS]');
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'ounce-presets-'));
const head = join(folder, 'yolox.toml');
writeFileSync(head, 'style = "yolox"\nclasses = 80\n');

const coco = (part) => join(data, 'coco_tiny', 'annotations', `instances_${part}2017.json`);
const photos = join(data, 'sr_images');
const enlarging = (checkpoint, architecture) => ({
  checkpoint: join(data, 'sr_models', checkpoint), architecture, metric: 'psnr',
  words: [
    '--task', 'super-resolution', '--data', join(photos, 'CSet14'),
    '--eval-data', join(photos, 'CSet5'),
  ],
});
const models = {
  'resnet56': {
    model: join(data, 'resnet_cifar10', 'resnet56.onnx'), metric: 'top1',
    words: [
      '--data', join(cifar, 'train'), '--eval-data', join(cifar, 'test'), '--resize', 32,
      '--crop', 32, '--mean', '0.485,0.456,0.406', '--std', '0.229,0.224,0.225',
    ],
  },
  'yolox-nano': {
    model: join(data, 'yolox_nano', 'yolox_nano.onnx'), metric: 'ap',
    words: ['--head', head, '--data', coco('train'), '--eval-data', coco('val')],
  },
  'imdn': enlarging('imdn_baseline.pth', 'imdn'),
  'mobilesr': enlarging('team20_mobilesr.pth', 'mobilesr'),
  'imdtn': enlarging('team09_imdtn.pth', 'imdtn'),
};

const quiet = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 };
const names = chosen ? chosen.split(',') : Object.keys(models);
try {
  console.log('| network | bits | metric | f32 | quantized | size | latency | in float |');
  console.log(`|${' --- |'.repeat(8)}`);
  for (const name of names) {
    const { model, checkpoint, architecture, metric, words } = models[name];
    const network = model ?? join(folder, `${name}.ounce`);
    if (!model) {
      const convert = ['convert', checkpoint, '-o', network, '--architecture', architecture];
      execFileSync(join(programs, 'ounce'), convert, quiet);
    }
    for (const [weights, activations] of [[8, 8], [6, 6], [4, 8], [4, 4]]) {
      const result = JSON.parse(execFileSync(join(programs, 'ounce-train'), [
        'quantize', network, '-o', join(folder, 'out'), ...words, '--weights', weights,
        '--activations', activations, '--preset', 'good', '--compare', 0, '--json',
      ], quiet));
      const judged = result.metrics.find((one) => one.name === metric);
      const text = (value) =>
        (metric === 'psnr' ? `${value.toFixed(2)} dB` : `${(100 * value).toFixed(2)} %`);
      console.log(`| ${[
        name, `W${weights}A${activations}`, metric, text(judged.before), text(judged.after),
        `${(result.float_bytes / result.bytes).toFixed(2)}x smaller`,
        `${(result.before.median_ms / result.after.median_ms).toFixed(2)}x`,
        result.kept_float.length,
      ].join(' | ')} |`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
