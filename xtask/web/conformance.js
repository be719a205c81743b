// Gives the golden cases to the program, and the program to whoever drives the page.

import init, { Device, Goldens, faults, losses } from './deeploss_web.js';

await init();
const names = await (await fetch('files.json')).json();
const goldens = new Goldens();
for (const name of names) goldens.add(name, new Uint8Array(await (await fetch(name)).arrayBuffer()));
const device = await Device.open(false);

globalThis.conformance = {
  gpu: device.gpu,
  name: device.gpu ? device.name : device.whyCpu,
  ops: JSON.parse(losses()).map(({ name }) => name),
  faults: async () => (await faults()).split('\n').filter(Boolean),
  run: async (op, step) => JSON.parse(await goldens.run(device, op, step)),
};
